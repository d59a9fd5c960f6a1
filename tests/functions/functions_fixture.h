// A session of a general token, in which the user is logged in, and short names for what the tests do in it. Runs
// inside `cmkctl sandbox --profile general`; the ctest entries run it once for each back end.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/module/loaded_module.h"

namespace cmkd::tests {

inline const Bytes kText = ToBytes(AsBytes("what is said once and heard by two"));

class CallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"P11_MODULE", "P11_TOKEN", "P11_PIN"}) {
      ASSERT_NE(std::getenv(name), nullptr) << "run it in cmkctl sandbox";
    }
    ASSERT_TRUE(p11_.loaded());
    f_ = p11_.newest();
    ASSERT_NE(f_, nullptr);
    ASSERT_EQ(f_->C_Initialize(nullptr), CKR_OK);
    const auto slot = p11_.FindToken(std::getenv("P11_TOKEN"));
    ASSERT_TRUE(slot.has_value());
    slot_ = *slot;
    ASSERT_EQ(p11_.Open(slot_, s_), CKR_OK);
    ASSERT_EQ(p11_.Login(s_, std::getenv("P11_PIN")), CKR_OK);
  }

  // Whether the token's device runs inside the daemon; SoftHSM does less.
  static bool software() {
    const char* hsm = std::getenv("CMKD_TEST_HSM");
    return hsm == nullptr || std::string(hsm) == "software";
  }
  CK_FLAGS FlagsOf(CK_MECHANISM_TYPE type) {
    CK_MECHANISM_INFO info{};
    return f_->C_GetMechanismInfo(slot_, type, &info) == CKR_OK ? info.flags : 0;
  }

  CK_OBJECT_HANDLE Aes(Template more = {}) {
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(p11_.GenerateAes(s_, more.Bool(CKA_TOKEN, false), key), CKR_OK);
    return key;
  }
  // A key of known value that may be read.
  CK_OBJECT_HANDLE Open(const Bytes& value, CK_KEY_TYPE type = CKK_GENERIC_SECRET) {
    Template t;
    t.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, type).Bool(CKA_TOKEN, false).Raw(CKA_VALUE, value);
    t.Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
    CK_OBJECT_HANDLE key = 0;
    EXPECT_EQ(f_->C_CreateObject(s_, t.data(), t.size(), &key), CKR_OK);
    return key;
  }
  struct Pair {
    CK_OBJECT_HANDLE public_key = 0;
    CK_OBJECT_HANDLE private_key = 0;
  };
  Pair MakePair(CK_MECHANISM_TYPE type, Template public_more, Template private_more = {}) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    public_more.Bool(CKA_TOKEN, false);
    private_more.Bool(CKA_TOKEN, false);
    Pair pair;
    EXPECT_EQ(f_->C_GenerateKeyPair(s_, &mechanism, public_more.data(), public_more.size(), private_more.data(),
                                    private_more.size(), &pair.public_key, &pair.private_key),
              CKR_OK);
    return pair;
  }
  Pair Rsa(Template private_more = {}) {
    return MakePair(CKM_RSA_PKCS_KEY_PAIR_GEN,
                    Template().Ulong(CKA_MODULUS_BITS, 2048).Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1}),
                    std::move(private_more));
  }
  static Bytes P256() { return {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}; }
  Pair Ec() { return MakePair(CKM_EC_KEY_PAIR_GEN, Template().Raw(CKA_EC_PARAMS, P256())); }

  static CK_MECHANISM M(CK_MECHANISM_TYPE type) { return {type, nullptr, 0}; }

  Bytes Digest(const Bytes& data, CK_MECHANISM_TYPE type = CKM_SHA256) {
    CK_MECHANISM m = M(type);
    Bytes out(64);
    CK_ULONG length = out.size();
    EXPECT_EQ(f_->C_DigestInit(s_, &m), CKR_OK);
    EXPECT_EQ(f_->C_Digest(s_, BytePtr(data), data.size(), out.data(), &length), CKR_OK);
    out.resize(length);
    return out;
  }
  Bytes Sign(CK_MECHANISM m, CK_OBJECT_HANDLE key, const Bytes& data) {
    Bytes out(512);
    CK_ULONG length = out.size();
    EXPECT_EQ(f_->C_SignInit(s_, &m, key), CKR_OK);
    EXPECT_EQ(f_->C_Sign(s_, BytePtr(data), data.size(), out.data(), &length), CKR_OK);
    out.resize(length);
    return out;
  }
  CK_RV Verify(CK_MECHANISM m, CK_OBJECT_HANDLE key, const Bytes& data, const Bytes& signature) {
    if (const CK_RV rv = f_->C_VerifyInit(s_, &m, key); rv != CKR_OK) return rv;
    return f_->C_Verify(s_, BytePtr(data), data.size(), BytePtr(signature), signature.size());
  }
  Bytes Value(CK_OBJECT_HANDLE key) {
    Bytes value(256);
    CK_ATTRIBUTE wanted{CKA_VALUE, value.data(), value.size()};
    EXPECT_EQ(f_->C_GetAttributeValue(s_, key, &wanted, 1), CKR_OK);
    value.resize(wanted.ulValueLen == CK_UNAVAILABLE_INFORMATION ? 0 : wanted.ulValueLen);
    return value;
  }
  bool Is(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
    CK_BBOOL value = 2;
    CK_ATTRIBUTE wanted{type, &value, sizeof value};
    EXPECT_EQ(f_->C_GetAttributeValue(s_, object, &wanted, 1), CKR_OK);
    return value == CK_TRUE;
  }
  // How many objects there are, up to 256.
  std::size_t Objects() {
    CK_OBJECT_HANDLE found[256];
    CK_ULONG n = 0;
    EXPECT_EQ(f_->C_FindObjectsInit(s_, nullptr, 0), CKR_OK);
    EXPECT_EQ(f_->C_FindObjects(s_, found, std::size(found), &n), CKR_OK);
    EXPECT_EQ(f_->C_FindObjectsFinal(s_), CKR_OK);
    return n;
  }

  LoadedModule p11_;
  CK_FUNCTION_LIST_3_2* f_ = nullptr;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE s_ = 0;
};

}  // namespace cmkd::tests

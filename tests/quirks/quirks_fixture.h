// A daemon with a general token, and an application that has logged in: where each quirk is tried.
#pragma once

#include <gmock/gmock.h>

#include <optional>
#include <string>

#include "tests/module/own_daemon_test.h"

namespace cmkd::tests {

class Quirk : public OwnDaemonTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(OwnDaemonTest::SetUp());
    Begin();
  }

  CK_OBJECT_HANDLE Create(Template wanted) {
    CK_OBJECT_HANDLE made = 0;
    EXPECT_EQ(p11_->C_CreateObject(session_, wanted.data(), wanted.size(), &made), CKR_OK);
    return made;
  }
  struct Pair {
    CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  };
  Pair Generate(CK_MECHANISM_TYPE type, Template first, Template second) {
    Pair pair;
    CK_MECHANISM mechanism{type, nullptr, 0};
    EXPECT_EQ(p11_->C_GenerateKeyPair(session_, &mechanism, first.data(), first.size(), second.data(), second.size(),
                                      &pair.public_key, &pair.private_key),
              CKR_OK);
    return pair;
  }
  Pair GenerateRsa(bool token, const std::string& label, Bytes id = {1}) {
    return Generate(CKM_RSA_PKCS_KEY_PAIR_GEN,
                    Template()
                        .Bool(CKA_TOKEN, token)
                        .Text(CKA_LABEL, label)
                        .Raw(CKA_ID, id)
                        .Ulong(CKA_MODULUS_BITS, 2048)
                        .Raw(CKA_PUBLIC_EXPONENT, {1, 0, 1}),
                    Template().Bool(CKA_TOKEN, token).Text(CKA_LABEL, label).Raw(CKA_ID, id));
  }
  Pair GenerateP256(bool token, const std::string& label, Bytes id = {1}) {
    return Generate(CKM_EC_KEY_PAIR_GEN,
                    Template().Bool(CKA_TOKEN, token).Text(CKA_LABEL, label).Raw(CKA_ID, id).Raw(CKA_EC_PARAMS, kP256),
                    Template().Bool(CKA_TOKEN, token).Text(CKA_LABEL, label).Raw(CKA_ID, id));
  }
  // The attribute's bytes, or nothing.
  std::optional<Bytes> Read(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
    CK_ATTRIBUTE one{type, nullptr, 0};
    if (p11_->C_GetAttributeValue(session_, object, &one, 1) != CKR_OK) return std::nullopt;
    Bytes value(one.ulValueLen + 1);
    one.pValue = value.data();
    if (p11_->C_GetAttributeValue(session_, object, &one, 1) != CKR_OK) return std::nullopt;
    value.resize(one.ulValueLen);
    return value;
  }
  // What a session in this state says of itself.
  CK_STATE StateOf(CK_SESSION_HANDLE session) {
    CK_SESSION_INFO info{};
    EXPECT_EQ(p11_->C_GetSessionInfo(session, &info), CKR_OK);
    return info.state;
  }
  CK_RV Sign(CK_MECHANISM mechanism, CK_OBJECT_HANDLE key, ByteView data, Bytes& signature) {
    const CK_RV rv = p11_->C_SignInit(session_, &mechanism, key);
    if (rv != CKR_OK) return rv;
    signature.assign(4096, 0);
    CK_ULONG length = signature.size();
    const CK_RV done =
        p11_->C_Sign(session_, const_cast<CK_BYTE_PTR>(data.data()), data.size(), signature.data(), &length);
    signature.resize(done == CKR_OK ? length : 0);
    return done;
  }
  CK_RV Verify(CK_MECHANISM mechanism, CK_OBJECT_HANDLE key, ByteView data, ByteView signature) {
    const CK_RV rv = p11_->C_VerifyInit(session_, &mechanism, key);
    if (rv != CKR_OK) return rv;
    return p11_->C_Verify(session_, const_cast<CK_BYTE_PTR>(data.data()), data.size(),
                          const_cast<CK_BYTE_PTR>(signature.data()), signature.size());
  }
  CK_RV Encrypt(CK_MECHANISM mechanism, CK_OBJECT_HANDLE key, ByteView data, Bytes& out) {
    const CK_RV rv = p11_->C_EncryptInit(session_, &mechanism, key);
    if (rv != CKR_OK) return rv;
    out.assign(data.size() + 1024, 0);
    CK_ULONG length = out.size();
    const CK_RV done =
        p11_->C_Encrypt(session_, const_cast<CK_BYTE_PTR>(data.data()), data.size(), out.data(), &length);
    out.resize(done == CKR_OK ? length : 0);
    return done;
  }
  CK_RV Decrypt(CK_MECHANISM mechanism, CK_OBJECT_HANDLE key, ByteView data, Bytes& out) {
    const CK_RV rv = p11_->C_DecryptInit(session_, &mechanism, key);
    if (rv != CKR_OK) return rv;
    out.assign(data.size() + 1024, 0);
    CK_ULONG length = out.size();
    const CK_RV done =
        p11_->C_Decrypt(session_, const_cast<CK_BYTE_PTR>(data.data()), data.size(), out.data(), &length);
    out.resize(done == CKR_OK ? length : 0);
    return done;
  }

  static inline const Bytes kP256 = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  static inline const Bytes kHash = Bytes(32, 0x42);
};

}  // namespace cmkd::tests

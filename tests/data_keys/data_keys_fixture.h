// An application's session, keys that an operator made, and short names for the managed mechanism. Runs inside
// `cmkctl sandbox`, whatever the profile and the back end.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pkcs11/spec/managed_ciphertext.h"
#include "pkcs11/spec/vendor.h"
#include "tests/module/loaded_module.h"

namespace cmkd::tests {

// The mechanism with a context, which must outlive it.
struct Managed {
  explicit Managed(Bytes with = {}) : context(std::move(with)) {
    parameters = {context.data(), context.size()};
    if (context.empty()) mechanism = {CKM_CMKD_AES_MANAGED, nullptr, 0};
  }
  Managed(const Managed&) = delete;
  Managed& operator=(const Managed&) = delete;

  Bytes context;
  CK_CMKD_MANAGED_PARAMS parameters{};
  CK_MECHANISM mechanism{CKM_CMKD_AES_MANAGED, &parameters, sizeof parameters};
};

class DataKeysTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"P11_MODULE", "P11_TOKEN", "P11_PIN"}) {
      ASSERT_NE(std::getenv(name), nullptr) << "run it in cmkctl sandbox";
    }
    ASSERT_TRUE(p11_.loaded());
    ASSERT_EQ(p11_->C_Initialize(nullptr), CKR_OK);
    const auto slot = p11_.FindToken(std::getenv("P11_TOKEN"));
    ASSERT_TRUE(slot.has_value());
    slot_ = *slot;
    ASSERT_EQ(p11_.Open(slot_, session_), CKR_OK);
    ASSERT_EQ(p11_.Login(session_, std::getenv("P11_PIN")), CKR_OK);
    // Tests share the token, so each names its keys for itself.
    name_ = ::testing::UnitTest::GetInstance()->current_test_info()->name();
  }

  void Operator(const std::string& command) {
    std::string output;
    EXPECT_EQ(Cmkctl(command, &output), 0) << command << '\n' << output;
  }
  CK_OBJECT_HANDLE Named(const std::string& name) {
    const auto found = p11_.Find(session_, Template().Text(CKA_LABEL, name).Ulong(CKA_CLASS, CKO_SECRET_KEY));
    EXPECT_FALSE(found.empty()) << name;
    return found.empty() ? CK_INVALID_HANDLE : found.front();
  }
  // A key made by the operator and found by the application.
  CK_OBJECT_HANDLE Make(const std::string& name, const std::string& spec = "AES-256") {
    Operator("key create --name " + name + " --spec " + spec + " --usage encrypt");
    return Named(name);
  }
  CK_ULONG DetailOfLastRefusal() {
    CK_SESSION_INFO info{};
    EXPECT_EQ(p11_->C_GetSessionInfo(session_, &info), CKR_OK);
    return info.ulDeviceError;
  }

  CK_RV Encrypt(CK_OBJECT_HANDLE key, const Bytes& plain, Bytes& sealed, const Bytes& context = {}) {
    Managed managed(context);
    if (const CK_RV rv = p11_->C_EncryptInit(session_, &managed.mechanism, key); rv != CKR_OK) return rv;
    CK_ULONG length = 8192;
    sealed.resize(length);
    const CK_RV rv = p11_->C_Encrypt(session_, BytePtr(plain), plain.size(), sealed.data(), &length);
    sealed.resize(rv == CKR_OK ? length : 0);
    return rv;
  }
  CK_RV Decrypt(CK_OBJECT_HANDLE key, const Bytes& sealed, Bytes& opened, const Bytes& context = {}) {
    Managed managed(context);
    if (const CK_RV rv = p11_->C_DecryptInit(session_, &managed.mechanism, key); rv != CKR_OK) return rv;
    CK_ULONG length = 8192;
    opened.resize(length);
    const CK_RV rv = p11_->C_Decrypt(session_, BytePtr(sealed), sealed.size(), opened.data(), &length);
    opened.resize(rv == CKR_OK ? length : 0);
    return rv;
  }

  LoadedModule p11_;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
  std::string name_;
};

}  // namespace cmkd::tests

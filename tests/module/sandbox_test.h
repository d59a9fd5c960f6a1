// What the tests that run inside `cmkctl sandbox` stand on: an application's session on the sandbox's token, and an
// operator with cmkctl beside it.
#pragma once

#include <gtest/gtest.h>

#include "tests/module/loaded_module.h"

namespace cmkd::tests {

class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"P11_MODULE", "P11_TOKEN", "P11_PIN", "P11_SO_PIN", "CMKD_SANDBOX_DIR"}) {
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
  std::string Shown(const std::string& command) {
    std::string output;
    EXPECT_EQ(Cmkctl(command, &output), 0) << command << '\n' << output;
    return output;
  }
  // What cmkctl says when it refuses.
  std::string Refused(const std::string& command) {
    std::string output;
    EXPECT_EQ(Cmkctl(command, &output), 1) << command << '\n' << output;
    return output;
  }
  CK_OBJECT_HANDLE Named(const std::string& name) {
    const auto found = p11_.Find(session_, Template().Text(CKA_LABEL, name));
    EXPECT_FALSE(found.empty()) << name;
    return found.empty() ? CK_INVALID_HANDLE : found.front();
  }
  // A key made by the operator and found by the application.
  CK_OBJECT_HANDLE Make(const std::string& name, const std::string& spec = "AES-256",
                        const std::string& usage = "encrypt") {
    Operator("key create --name " + name + " --spec " + spec + " --usage " + usage);
    return Named(name);
  }
  CK_ULONG DetailOfLastRefusal() {
    CK_SESSION_INFO info{};
    EXPECT_EQ(p11_->C_GetSessionInfo(session_, &info), CKR_OK);
    return info.ulDeviceError;
  }
  std::string State(CK_OBJECT_HANDLE key) {
    char text[32] = {};
    CK_ATTRIBUTE wanted{CKA_CMKD_STATE, text, sizeof text};
    EXPECT_EQ(p11_->C_GetAttributeValue(session_, key, &wanted, 1), CKR_OK);
    return text;
  }

  // At once; `out` is empty when it failed.
  CK_RV Encrypt(CK_MECHANISM mechanism, CK_OBJECT_HANDLE key, const Bytes& plain, Bytes& out) {
    return Transform(p11_->C_EncryptInit, p11_->C_Encrypt, mechanism, key, plain, out);
  }
  CK_RV Decrypt(CK_MECHANISM mechanism, CK_OBJECT_HANDLE key, const Bytes& sealed, Bytes& out) {
    return Transform(p11_->C_DecryptInit, p11_->C_Decrypt, mechanism, key, sealed, out);
  }
  CK_RV Transform(CK_C_EncryptInit init, CK_C_Encrypt once, CK_MECHANISM mechanism, CK_OBJECT_HANDLE key,
                  const Bytes& in, Bytes& out) {
    out.clear();
    if (const CK_RV rv = init(session_, &mechanism, key); rv != CKR_OK) return rv;
    CK_ULONG length = in.size() + 256;
    out.resize(length);
    const CK_RV rv = once(session_, BytePtr(in), in.size(), out.data(), &length);
    out.resize(rv == CKR_OK ? length : 0);
    return rv;
  }

  LoadedModule p11_;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
  std::string name_;
};

}  // namespace cmkd::tests

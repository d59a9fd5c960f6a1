// A CMK's life as two sides see it: an application that stays open, and an operator with cmkctl beside it. Runs inside
// `cmkctl sandbox --profile managed`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pkcs11/spec/vendor.h"
#include "tests/module/loaded_module.h"

namespace cmkd::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Bytes kMessage = ToBytes(AsBytes("the same message before and after"));

class LifecycleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"P11_MODULE", "P11_TOKEN", "P11_PIN", "P11_SO_PIN"}) {
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
    EXPECT_EQ(Cmkctl(command, &output), 0) << output;
    return output;
  }
  // A key made by the operator and found by the application.
  CK_OBJECT_HANDLE Make(const std::string& name, const std::string& spec, const std::string& usage) {
    Operator("key create --name " + name + " --spec " + spec + " --usage " + usage);
    const auto found = p11_.Find(session_, Template().Text(CKA_LABEL, name));
    EXPECT_FALSE(found.empty());
    return found.empty() ? CK_INVALID_HANDLE : found.front();
  }

  CK_RV Encrypt(CK_OBJECT_HANDLE key, Bytes& sealed) {
    Gcm gcm;
    if (const CK_RV rv = p11_->C_EncryptInit(session_, &gcm.mechanism, key); rv != CKR_OK) return rv;
    CK_ULONG length = 256;
    sealed.resize(length);
    const CK_RV rv = p11_->C_Encrypt(session_, BytePtr(kMessage), kMessage.size(), sealed.data(), &length);
    sealed.resize(rv == CKR_OK ? length : 0);
    return rv;
  }
  CK_RV Decrypt(CK_OBJECT_HANDLE key, const Bytes& sealed, Bytes& opened) {
    Gcm gcm;
    if (const CK_RV rv = p11_->C_DecryptInit(session_, &gcm.mechanism, key); rv != CKR_OK) return rv;
    CK_ULONG length = 256;
    opened.resize(length);
    const CK_RV rv = p11_->C_Decrypt(session_, BytePtr(sealed), sealed.size(), opened.data(), &length);
    opened.resize(rv == CKR_OK ? length : 0);
    return rv;
  }
  void ExpectOpens(CK_OBJECT_HANDLE key, const Bytes& sealed) {
    Bytes opened;
    EXPECT_EQ(Decrypt(key, sealed, opened), CKR_OK);
    EXPECT_EQ(opened, kMessage);
  }
  CK_RV Sign(CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type, Bytes& mac) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    if (const CK_RV rv = p11_->C_SignInit(session_, &mechanism, key); rv != CKR_OK) return rv;
    CK_ULONG length = 512;
    mac.resize(length);
    const CK_RV rv = p11_->C_Sign(session_, BytePtr(kMessage), kMessage.size(), mac.data(), &length);
    mac.resize(rv == CKR_OK ? length : 0);
    return rv;
  }
  CK_RV Verify(CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type, const Bytes& mac) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    if (const CK_RV rv = p11_->C_VerifyInit(session_, &mechanism, key); rv != CKR_OK) return rv;
    return p11_->C_Verify(session_, BytePtr(kMessage), kMessage.size(), BytePtr(mac), mac.size());
  }
  std::string State(CK_OBJECT_HANDLE key) {
    char text[32] = {};
    CK_ATTRIBUTE wanted{CKA_CMKD_STATE, text, sizeof text};
    EXPECT_EQ(p11_->C_GetAttributeValue(session_, key, &wanted, 1), CKR_OK);
    return text;
  }

  LoadedModule p11_;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
  std::string name_;
};

TEST_F(LifecycleTest, CiphertextOpensAfterRotationsThroughTheSameHandle) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  std::vector<Bytes> sealed(4);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    ASSERT_EQ(Encrypt(key, sealed[i]), CKR_OK);
    for (std::size_t earlier = 0; earlier <= i; ++earlier) ExpectOpens(key, sealed[earlier]);
    Operator("key rotate " + name_);
  }
  for (const Bytes& each : sealed) ExpectOpens(key, each);
  // The same nonce and message: only other key material explains another ciphertext.
  EXPECT_NE(sealed[0], sealed[1]);
  EXPECT_THAT(p11_.Find(session_, Template().Text(CKA_LABEL, name_)), ::testing::ElementsAre(key));
  EXPECT_THAT(Shown("key show " + name_), HasSubstr("5 of 5"));
  Bytes broken = sealed[0];
  broken.back() = static_cast<std::uint8_t>(broken.back() ^ 1);
  Bytes opened;
  EXPECT_EQ(Decrypt(key, broken, opened), CKR_ENCRYPTED_DATA_INVALID);
}

TEST_F(LifecycleTest, CiphertextOpensInPartsAfterARotation) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  Bytes sealed;
  ASSERT_EQ(Encrypt(key, sealed), CKR_OK);
  Operator("key rotate " + name_);
  Gcm gcm;
  ASSERT_EQ(p11_->C_DecryptInit(session_, &gcm.mechanism, key), CKR_OK);
  Bytes opened(256);
  CK_ULONG at = 0;
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    CK_ULONG length = opened.size() - at;
    ASSERT_EQ(p11_->C_DecryptUpdate(session_, &sealed[i], 1, opened.data() + at, &length), CKR_OK);
    at += length;
  }
  CK_ULONG length = opened.size() - at;
  ASSERT_EQ(p11_->C_DecryptFinal(session_, opened.data() + at, &length), CKR_OK);
  opened.resize(at + length);
  EXPECT_EQ(opened, kMessage);
}

TEST_F(LifecycleTest, WrappedKeysOpenAfterARotation) {
  const CK_OBJECT_HANDLE master = Make(name_, "AES-256", "wrap");
  CK_OBJECT_HANDLE data_key = 0;
  ASSERT_EQ(
      p11_.GenerateAes(
          session_,
          Template().Bool(CKA_TOKEN, false).Bool(CKA_EXTRACTABLE, true).Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true),
          data_key),
      CKR_OK);
  Bytes sealed;
  ASSERT_EQ(Encrypt(data_key, sealed), CKR_OK);
  CK_MECHANISM mechanism{CKM_AES_KEY_WRAP, nullptr, 0};
  Bytes wrapped(64);
  CK_ULONG length = wrapped.size();
  ASSERT_EQ(p11_->C_WrapKey(session_, &mechanism, master, data_key, wrapped.data(), &length), CKR_OK);
  EXPECT_EQ(length, 40u);
  ASSERT_EQ(p11_->C_DestroyObject(session_, data_key), CKR_OK);
  Operator("key rotate " + name_);
  Template shape;
  shape.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false).Bool(CKA_DECRYPT, true);
  CK_OBJECT_HANDLE again = 0;
  ASSERT_EQ(p11_->C_UnwrapKey(session_, &mechanism, master, wrapped.data(), length, shape.data(), shape.size(), &again),
            CKR_OK);
  ExpectOpens(again, sealed);
}

TEST_F(LifecycleTest, MacsVerifyAfterARotation) {
  const CK_OBJECT_HANDLE key = Make(name_, "HMAC-256", "sign");
  Bytes before, after;
  ASSERT_EQ(Sign(key, CKM_SHA256_HMAC, before), CKR_OK);
  Operator("key rotate " + name_);
  ASSERT_EQ(Sign(key, CKM_SHA256_HMAC, after), CKR_OK);
  EXPECT_NE(before, after);
  EXPECT_EQ(Verify(key, CKM_SHA256_HMAC, before), CKR_OK);
  EXPECT_EQ(Verify(key, CKM_SHA256_HMAC, after), CKR_OK);
  before[0] = static_cast<std::uint8_t>(before[0] ^ 1);
  EXPECT_EQ(Verify(key, CKM_SHA256_HMAC, before), CKR_SIGNATURE_INVALID);
}

TEST_F(LifecycleTest, ADisabledKeyIsRefusedFromTheNextCallOn) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  Bytes sealed, opened;
  ASSERT_EQ(Encrypt(key, sealed), CKR_OK);
  Operator("key disable " + name_);
  EXPECT_EQ(Encrypt(key, opened), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(Decrypt(key, sealed, opened), CKR_KEY_FUNCTION_NOT_PERMITTED);
  // It is still there to be looked at.
  EXPECT_EQ(State(key), "Disabled");
  EXPECT_THAT(p11_.Find(session_, Template().Text(CKA_LABEL, name_)), SizeIs(1));
  Operator("key enable " + name_);
  ExpectOpens(key, sealed);
}

TEST_F(LifecycleTest, DisablingReachesAnOperationThatHasBegun) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  Gcm gcm;
  Bytes out(256);
  ASSERT_EQ(p11_->C_EncryptInit(session_, &gcm.mechanism, key), CKR_OK);
  CK_ULONG length = out.size();
  ASSERT_EQ(p11_->C_EncryptUpdate(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length), CKR_OK);
  Operator("key disable " + name_);
  length = out.size();
  // Not among the return values of C_EncryptUpdate: CKR_KEY_FUNCTION_NOT_PERMITTED.
  EXPECT_EQ(p11_->C_EncryptUpdate(session_, BytePtr(kMessage), kMessage.size(), out.data(), &length),
            CKR_FUNCTION_FAILED);
  // The refusal ended the operation.
  length = out.size();
  EXPECT_EQ(p11_->C_EncryptFinal(session_, out.data(), &length), CKR_OPERATION_NOT_INITIALIZED);
  Operator("key enable " + name_);
  Bytes sealed;
  EXPECT_EQ(Encrypt(key, sealed), CKR_OK);
}

TEST_F(LifecycleTest, DisablingReachesAnOperationThatHasOnlyBeenInitialised) {
  const CK_OBJECT_HANDLE key = Make(name_, "HMAC-256", "sign");
  CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
  ASSERT_EQ(p11_->C_SignInit(session_, &mechanism, key), CKR_OK);
  Operator("key disable " + name_);
  Bytes mac(32);
  CK_ULONG length = mac.size();
  EXPECT_EQ(p11_->C_Sign(session_, BytePtr(kMessage), kMessage.size(), mac.data(), &length), CKR_FUNCTION_FAILED);
}

TEST_F(LifecycleTest, DestroyHidesAndCancelBringsBackDisabled) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  const std::string id = [&] {
    char text[33] = {};
    CK_ATTRIBUTE wanted{CKA_UNIQUE_ID, text, sizeof text};
    EXPECT_EQ(p11_->C_GetAttributeValue(session_, key, &wanted, 1), CKR_OK);
    return std::string(text, 32);
  }();
  Bytes sealed, opened;
  ASSERT_EQ(Encrypt(key, sealed), CKR_OK);
  ASSERT_EQ(p11_->C_DestroyObject(session_, key), CKR_OK);
  EXPECT_THAT(p11_.Find(session_, Template().Text(CKA_LABEL, name_)), IsEmpty());
  EXPECT_EQ(Decrypt(key, sealed, opened), CKR_KEY_HANDLE_INVALID);
  EXPECT_EQ(p11_->C_DestroyObject(session_, key), CKR_OBJECT_HANDLE_INVALID);
  CK_ATTRIBUTE label{CKA_LABEL, nullptr, 0};
  EXPECT_EQ(p11_->C_GetAttributeValue(session_, key, &label, 1), CKR_OBJECT_HANDLE_INVALID);
  EXPECT_THAT(Shown("key show " + id), HasSubstr("PendingDeletion"));
  Operator("key cancel-deletion " + id);
  EXPECT_EQ(State(key), "Disabled");
  EXPECT_EQ(Decrypt(key, sealed, opened), CKR_KEY_FUNCTION_NOT_PERMITTED);
  Operator("key enable " + name_);
  ExpectOpens(key, sealed);
}

TEST_F(LifecycleTest, TheOperatorSchedulesAndCancelsToo) {
  const CK_OBJECT_HANDLE key = Make(name_, "EC-P256", "sign");
  (void)key;
  Operator("key schedule-deletion " + name_);
  EXPECT_THAT(p11_.Find(session_, Template().Text(CKA_LABEL, name_)), IsEmpty());
  EXPECT_THAT(Shown("key list"), HasSubstr("PendingDeletion"));
  EXPECT_EQ(Cmkctl("key enable " + name_), 1);
  EXPECT_EQ(Cmkctl("key rotate " + name_), 1);
  EXPECT_EQ(Cmkctl("key schedule-deletion " + name_), 1);
  Operator("key cancel-deletion " + name_);
  EXPECT_EQ(Cmkctl("key cancel-deletion " + name_), 1);
  Operator("key enable " + name_);
  EXPECT_THAT(p11_.Find(session_, Template().Text(CKA_LABEL, name_)), SizeIs(2));
}

TEST_F(LifecycleTest, AManagedTokenWithKeysIsNotInitialisedAnew) {
  (void)Make(name_, "AES-256", "encrypt");
  ASSERT_EQ(p11_->C_CloseAllSessions(slot_), CKR_OK);
  std::string label(32, ' ');
  const std::string so_pin = std::getenv("P11_SO_PIN");
  EXPECT_EQ(p11_->C_InitToken(slot_, reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(so_pin.data())), so_pin.size(),
                              reinterpret_cast<CK_UTF8CHAR_PTR>(label.data())),
            CKR_TOKEN_WRITE_PROTECTED);
  ASSERT_EQ(p11_.Open(slot_, session_), CKR_OK);
  ASSERT_EQ(p11_.Login(session_, std::getenv("P11_PIN")), CKR_OK);
  EXPECT_THAT(p11_.Find(session_, Template().Text(CKA_LABEL, name_)), SizeIs(1));
}

TEST_F(LifecycleTest, EveryUseAndChangeIsInTheAudit) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  Bytes sealed;
  ASSERT_EQ(Encrypt(key, sealed), CKR_OK);
  ExpectOpens(key, sealed);
  Operator("key disable " + name_);
  (void)Encrypt(key, sealed);
  Operator("key enable " + name_);
  Operator("key rotate " + name_);
  ASSERT_EQ(p11_->C_DestroyObject(session_, key), CKR_OK);
  const std::string records = Shown("--json audit show --limit 200");
  const auto recorded = [&](const std::string& text) { return records.find('"' + text + '"') != std::string::npos; };
  for (const char* text : {"C_EncryptInit", "C_Encrypt", "C_DecryptInit", "C_Decrypt", "C_DestroyObject", "key.disable",
                           "key.enable", "key.rotate", "CKR_KEY_FUNCTION_NOT_PERMITTED", "KEY_DISABLED"}) {
    EXPECT_TRUE(recorded(text)) << text;
  }
  EXPECT_TRUE(recorded("key.create " + name_)) << "the key's making";
  // Whoever still wants the key after its destruction was scheduled raises an alarm.
  EXPECT_EQ(Encrypt(key, sealed), CKR_KEY_HANDLE_INVALID);
  EXPECT_THAT(p11_.Find(session_, Template().Text(CKA_LABEL, name_)), IsEmpty());
  const std::string alarms = Shown("--json audit show --limit 5 --token \"$P11_TOKEN\"");
  EXPECT_THAT(alarms, HasSubstr("a key that waits for its deletion is wanted"));
  EXPECT_THAT(alarms, HasSubstr("KEY_PENDING_DELETION"));
  EXPECT_THAT(alarms, HasSubstr("\"alarm\""));
  EXPECT_EQ(Cmkctl("audit show --token nowhere"), 1);
  Operator("audit verify --directory \"$CMKD_SANDBOX_DIR/state/audit\"");
}

TEST_F(LifecycleTest, TheOperatorSeesWhatAKeyIsForAndWhenItRotates) {
  Operator("key create --name " + name_ + " --usage wrap --rotation-days 30");
  const std::string shown = Shown("--json key show " + name_);
  EXPECT_THAT(shown, HasSubstr("\"usage\": \"wrap\""));
  EXPECT_THAT(shown, testing::Not(HasSubstr("\"next_rotation\": null")));
  Operator("key create --name " + name_ + "-pair --spec EC-P256 --usage sign");
  EXPECT_THAT(Shown("key show " + name_ + "-pair"), HasSubstr("sign"));
}

}  // namespace
}  // namespace cmkd::tests

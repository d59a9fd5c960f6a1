// A CMK's life as two sides see it: an application that stays open, and an operator with cmkctl beside it. Runs inside
// `cmkctl sandbox --profile managed`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "pkcs11/spec/vendor.h"
#include "tests/module/sandbox_test.h"

namespace cmkd::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Bytes kMessage = ToBytes(AsBytes("the same message before and after"));

class LifecycleTest : public SandboxTest {
 protected:
  CK_RV Encrypt(CK_OBJECT_HANDLE key, Bytes& sealed) {
    Gcm gcm;
    return SandboxTest::Encrypt(gcm.mechanism, key, kMessage, sealed);
  }
  CK_RV Decrypt(CK_OBJECT_HANDLE key, const Bytes& sealed, Bytes& opened) {
    Gcm gcm;
    return SandboxTest::Decrypt(gcm.mechanism, key, sealed, opened);
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

TEST_F(LifecycleTest, ANewEpochIsNotNoticed) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  CK_OBJECT_HANDLE session_key = 0;
  ASSERT_EQ(p11_.GenerateAes(session_, Template().Bool(CKA_TOKEN, false), session_key), CKR_OK);
  Bytes sealed, sealed_in_session, signature;
  ASSERT_EQ(Encrypt(key, sealed), CKR_OK);
  ASSERT_EQ(Encrypt(session_key, sealed_in_session), CKR_OK);
  Gcm gcm;
  ASSERT_EQ(p11_->C_EncryptInit(session_, &gcm.mechanism, key), CKR_OK) << "an operation goes on across the epoch";
  EXPECT_THAT(Shown("token new-epoch"), HasSubstr("has a new wrapping key"));
  Bytes again(256);
  CK_ULONG length = again.size();
  ASSERT_EQ(p11_->C_Encrypt(session_, BytePtr(kMessage), kMessage.size(), again.data(), &length), CKR_OK);
  again.resize(length);
  EXPECT_EQ(again, sealed);
  ExpectOpens(key, sealed);
  ExpectOpens(session_key, sealed_in_session);
  Operator("key rotate " + name_);
  ExpectOpens(key, sealed);
}

TEST_F(LifecycleTest, TheReportSaysWhoUsedWhichVersion) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  Bytes sealed;
  ASSERT_EQ(Encrypt(key, sealed), CKR_OK);
  Operator("key rotate " + name_);
  ExpectOpens(key, sealed);
  const std::string who = "\"uid\": " + std::to_string(::geteuid());
  EXPECT_THAT(Shown("--json key users " + name_ + " --version 1"), HasSubstr(who));
  EXPECT_THAT(Shown("key users " + name_ + " --version 2"), HasSubstr("no use of it"));
}

TEST_F(LifecycleTest, AChangeWithARequestIdIsMadeOnce) {
  Make(name_, "AES-256", "encrypt");
  for (int i = 0; i < 3; ++i) Operator("--request-id turn-" + name_ + " key rotate " + name_);
  EXPECT_THAT(Shown("key show " + name_), HasSubstr("2 of 2"));
  std::string output;
  EXPECT_NE(Cmkctl("--request-id turn-" + name_ + " key disable " + name_, &output), 0) << "one name, two changes";
  for (int i = 0; i < 2; ++i) Operator("--request-id make-" + name_ + " key create --name " + name_ + "-once");
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
  EXPECT_EQ(Cmkctl("key schedule-deletion --days 8 " + name_), 1) << "a deletion is never brought forward";
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

TEST_F(LifecycleTest, AnArchivedKeyOpensAndProtectsNothingNew) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  Bytes sealed, again;
  ASSERT_EQ(Encrypt(key, sealed), CKR_OK);
  Operator("key archive " + name_);
  ExpectOpens(key, sealed);
  EXPECT_EQ(Encrypt(key, again), CKR_KEY_FUNCTION_NOT_PERMITTED);
  EXPECT_EQ(Cmkctl("key rotate " + name_), 1);
  Operator("key unarchive " + name_);
  EXPECT_EQ(Encrypt(key, again), CKR_OK);
}

TEST_F(LifecycleTest, VersionsAreBlockedMovedBackAndDestroyed) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  Bytes first, second, opened;
  ASSERT_EQ(Encrypt(key, first), CKR_OK);
  Operator("key rotate " + name_);
  ASSERT_EQ(Encrypt(key, second), CKR_OK);
  EXPECT_EQ(Cmkctl("key version " + name_ + " 2 block"), 1) << "the current version";
  EXPECT_EQ(Cmkctl("key version " + name_ + " 9 block"), 1);
  Operator("key version " + name_ + " 1 block");
  EXPECT_EQ(Decrypt(key, first, opened), CKR_ENCRYPTED_DATA_INVALID) << "no more is said of a blocked version";
  ExpectOpens(key, second);
  Operator("key version " + name_ + " 1 unblock");
  ExpectOpens(key, first);
  Operator("key version " + name_ + " 1 make-current");
  Bytes third;
  ASSERT_EQ(Encrypt(key, third), CKR_OK);
  EXPECT_EQ(third, first) << "the same nonce, message and version";
  ExpectOpens(key, second);
  std::string output;
  EXPECT_EQ(Cmkctl("key version " + name_ + " 2 destroy", &output), 1) << "it was used a moment ago";
  EXPECT_THAT(output, HasSubstr("VERSION_IN_USE"));
  Operator("key version " + name_ + " 2 compromise");
  EXPECT_NE(Decrypt(key, second, opened), CKR_OK);
  Operator("key set " + name_ + " --compromised-processes on");
  ExpectOpens(key, second);
  // A version that nobody has used is destroyed at once.
  Operator("key rotate " + name_);
  Operator("key rotate " + name_);
  Operator("key version " + name_ + " 3 destroy");
  EXPECT_THAT(Shown("key show " + name_), HasSubstr("Destroyed"));
  ExpectOpens(key, first);
}

TEST_F(LifecycleTest, AFixedVersionKeyRotatesByMovingItsLabel) {
  Operator("key create --name " + name_ + " --fixed-version");
  const auto old = p11_.Find(session_, Template().Text(CKA_LABEL, name_));
  ASSERT_THAT(old, SizeIs(1));
  CK_BYTE iv[16] = {};
  const auto cbc = [&](CK_OBJECT_HANDLE key, bool encrypt, const Bytes& in, Bytes& out) {
    const CK_MECHANISM mechanism{CKM_AES_CBC_PAD, iv, sizeof iv};
    return encrypt ? SandboxTest::Encrypt(mechanism, key, in, out) : SandboxTest::Decrypt(mechanism, key, in, out);
  };
  Bytes before, after, opened;
  ASSERT_EQ(cbc(old.front(), true, kMessage, before), CKR_OK);
  std::string output;
  EXPECT_EQ(Cmkctl("key rotate " + name_, &output), 1);
  EXPECT_THAT(output, HasSubstr("NOT_ROTATABLE"));
  Operator("key rotate " + name_ + " --new-object");
  const auto now = p11_.Find(session_, Template().Text(CKA_LABEL, name_));
  ASSERT_THAT(now, SizeIs(1));
  EXPECT_NE(now.front(), old.front());
  EXPECT_THAT(p11_.Find(session_, Template().Text(CKA_LABEL, name_ + "@v1")), testing::ElementsAre(old.front()));
  ASSERT_EQ(cbc(now.front(), true, kMessage, after), CKR_OK);
  EXPECT_NE(before, after);
  EXPECT_EQ(cbc(old.front(), false, before, opened), CKR_OK);
  EXPECT_EQ(opened, kMessage);
  EXPECT_EQ(cbc(old.front(), true, kMessage, opened), CKR_KEY_FUNCTION_NOT_PERMITTED) << "archived";
}

TEST_F(LifecycleTest, APairRotatesWithObjectsOfItsOwnAndAnOverlap) {
  Operator("key create --name " + name_ + " --spec RSA-2048 --usage sign --id 77");
  const auto private_of = [&](const std::string& label) {
    return p11_.Find(session_, Template().Text(CKA_LABEL, label).Ulong(CKA_CLASS, CKO_PRIVATE_KEY));
  };
  const auto public_of = [&](const std::string& label) {
    return p11_.Find(session_, Template().Text(CKA_LABEL, label).Ulong(CKA_CLASS, CKO_PUBLIC_KEY));
  };
  const auto old = private_of(name_);
  ASSERT_THAT(old, SizeIs(1));
  Operator("key rotate " + name_ + " --overlap-days 1");
  const auto now = private_of(name_);
  ASSERT_THAT(now, SizeIs(1));
  EXPECT_NE(now.front(), old.front());
  EXPECT_THAT(private_of(name_ + "@v1"), testing::ElementsAre(old.front()));
  EXPECT_THAT(p11_.Find(session_, Template().Raw(CKA_ID, Bytes{0x77})), SizeIs(2)) << "the older pair keeps its id";
  Bytes old_signature, new_signature;
  ASSERT_EQ(Sign(old.front(), CKM_SHA256_RSA_PKCS, old_signature), CKR_OK) << "its certificate is still in use";
  ASSERT_EQ(Sign(now.front(), CKM_SHA256_RSA_PKCS, new_signature), CKR_OK);
  EXPECT_EQ(Verify(public_of(name_ + "@v1").front(), CKM_SHA256_RSA_PKCS, old_signature), CKR_OK);
  EXPECT_EQ(Verify(public_of(name_).front(), CKM_SHA256_RSA_PKCS, new_signature), CKR_OK);
  EXPECT_EQ(Verify(public_of(name_).front(), CKM_SHA256_RSA_PKCS, old_signature), CKR_SIGNATURE_INVALID);
  Operator("key rotate " + name_ + " --overlap-days 0");
  Bytes none;
  EXPECT_EQ(Sign(now.front(), CKM_SHA256_RSA_PKCS, none), CKR_KEY_FUNCTION_NOT_PERMITTED) << "no overlap";
}

TEST_F(LifecycleTest, UsesAreCountedAndALimitRotates) {
  const CK_OBJECT_HANDLE key = Make(name_, "AES-256", "encrypt");
  Bytes sealed;
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Encrypt(key, sealed), CKR_OK);
  EXPECT_THAT(Shown("--json key show " + name_), HasSubstr("\"uses\": 3"));
  Operator("key set " + name_ + " --usage-limit 10");
  Operator("key rotate " + name_);
  for (int i = 0; i < 9; ++i) (void)Encrypt(key, sealed);
  // At seven tenths of the limit the daemon makes a version by itself.
  std::string shown;
  for (int i = 0; i < 1200; ++i) {
    shown = Shown("key show " + name_);
    if (shown.find("3 of 3") != std::string::npos) break;
    ::usleep(50'000);
  }
  EXPECT_THAT(shown, HasSubstr("3 of 3"));
  EXPECT_EQ(Encrypt(key, sealed), CKR_OK);
  EXPECT_THAT(Shown("audit show --limit 200 --key " + name_), HasSubstr("usage limit"));
}

TEST_F(LifecycleTest, DatesProtectionAliasesAndTags) {
  Operator("key create --name " + name_ + " --activation 2100-01-01 --deletion-protection");
  const auto key = p11_.Find(session_, Template().Text(CKA_LABEL, name_)).front();
  Bytes sealed;
  EXPECT_EQ(State(key), "PreActive");
  EXPECT_EQ(Encrypt(key, sealed), CKR_KEY_FUNCTION_NOT_PERMITTED);
  Operator("key activate " + name_);
  EXPECT_EQ(Encrypt(key, sealed), CKR_OK);
  EXPECT_EQ(Cmkctl("key schedule-deletion " + name_), 1);
  Operator("key set " + name_ + " --deletion-protection off --tag owner=billing --expiry 2099-01-01");
  EXPECT_EQ(Cmkctl("key set " + name_ + " --expiry 1999-01-01"), 1);
  EXPECT_THAT(Shown("key list --tag owner=billing"), HasSubstr(name_));
  EXPECT_THAT(Shown("key list --tag owner=nobody"), testing::Not(HasSubstr(name_)));
  Operator("key create --name " + name_ + "-2");
  Operator("key alias " + name_ + " the-alias");
  EXPECT_THAT(Shown("key show the-alias"), HasSubstr(name_));
  EXPECT_EQ(Cmkctl("key create --name the-alias"), 1) << "an alias is a name";
  Operator("key alias " + name_ + "-2 the-alias");
  EXPECT_THAT(Shown("key show the-alias"), HasSubstr(name_ + "-2"));
  Operator("key unalias " + name_ + "-2 the-alias");
  EXPECT_EQ(Cmkctl("key show the-alias"), 1);
  EXPECT_EQ(Cmkctl("key create --name " + name_ + "-3 --rotation-days 5000"), 1) << "beyond the bounds";
}

}  // namespace
}  // namespace cmkd::tests

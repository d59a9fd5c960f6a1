// What a key management service must hold to, seen from outside on each back end: versions that are found again and
// those that are not, key specs, classes, names and lists, counters, brown-outs, dry runs and changes of many keys.
#include <gmock/gmock.h>

#include "pkcs11/spec/vendor.h"
#include "tests/module/sandbox_test.h"

namespace cmkd::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

const Bytes kText = ToBytes(AsBytes("kept for later"));

class AcceptanceTest : public SandboxTest {
 protected:
  CK_RV Seal(CK_OBJECT_HANDLE key, Bytes& sealed) { return Encrypt(Gcm().mechanism, key, kText, sealed); }
  CK_RV Open(CK_OBJECT_HANDLE key, const Bytes& sealed) {
    Bytes opened;
    Gcm gcm;
    const CK_RV rv = Decrypt(gcm.mechanism, key, sealed, opened);
    EXPECT_TRUE(rv != CKR_OK || opened == kText);
    return rv;
  }
  bool SoftHsm() { return Shown("token list").find("softhsm2") != std::string::npos; }
  // How often "name": occurs in a list of keys.
  std::size_t Listed(const std::string& filter) {
    const std::string list = Shown("--json key list " + filter);
    std::size_t count = 0;
    for (std::size_t at = list.find("\"current_version\""); at != std::string::npos;
         at = list.find("\"current_version\"", at + 1))
      ++count;
    return count;
  }
};

TEST_F(AcceptanceTest, OldCiphertextOpensAfterOneEightAndNotAfterNineRotations) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Bytes sealed;
  ASSERT_EQ(Seal(key, sealed), CKR_OK);
  for (int rotations = 1; rotations <= 9; ++rotations) {
    Operator("key rotate " + name_);
    if (rotations != 1 && rotations != 8) continue;
    EXPECT_EQ(Open(key, sealed), CKR_OK) << rotations;
  }
  // The ninth goes beyond the trial limit: a clear error, and not that of data which is damaged.
  EXPECT_EQ(Open(key, sealed), CKR_ENCRYPTED_DATA_INVALID);
  EXPECT_EQ(DetailOfLastRefusal(), CK_ULONG{spec::kVersionsNotTried});
  EXPECT_THAT(Shown("explain VERSIONS_NOT_TRIED"), HasSubstr("trial_versions"));
}

TEST_F(AcceptanceTest, TheVersionThatOpenedLastIsTriedFirst) {
  const CK_OBJECT_HANDLE key = Make(name_);
  std::vector<Bytes> sealed(4);
  for (Bytes& each : sealed) {
    ASSERT_EQ(Seal(key, each), CKR_OK);
    Operator("key rotate " + name_);
  }
  // Whatever was opened before, each is found.
  for (const std::size_t which : {0u, 0u, 3u, 1u, 0u, 2u}) EXPECT_EQ(Open(key, sealed[which]), CKR_OK) << which;
}

struct Spec {
  const char* name;
  const char* usage;
  bool softhsm;  // whether SoftHSM2 has keys of this kind
};
constexpr Spec kSpecs[] = {
    {"AES-128", "encrypt", true},  {"AES-192", "wrap", true},  {"AES-256", "encrypt", true},
    {"SM4", "encrypt", false},     {"HMAC-224", "sign", true}, {"HMAC-256", "sign", true},
    {"HMAC-384", "sign", true},    {"HMAC-512", "sign", true}, {"RSA-2048", "sign", true},
    {"RSA-3072", "encrypt", true}, {"RSA-4096", "sign", true}, {"EC-P256", "sign", true},
    {"EC-P384", "derive", true},   {"EC-P521", "sign", true},  {"EC-SECP256K1", "sign", true},
    {"ED25519", "sign", true},     {"ED448", "sign", true},    {"X25519", "derive", false},
    {"X448", "derive", false},     {"SM2", "sign", false},
};

TEST_F(AcceptanceTest, EverySpecIsMadeOrRefusedForWhatItIs) {
  const bool softhsm = SoftHsm();
  for (const Spec& spec : kSpecs) {
    SCOPED_TRACE(spec.name);
    const std::string command =
        std::string("key create --name spec-") + spec.name + " --spec " + spec.name + " --usage " + spec.usage;
    if (softhsm && !spec.softhsm) {
      EXPECT_THAT(Refused(command), HasSubstr("MECH"));
      continue;
    }
    Operator(command);
    const std::string shown = Shown(std::string("--json key show spec-") + spec.name);
    EXPECT_THAT(shown, HasSubstr(std::string("\"spec\": \"") + spec.name + "\""));
    EXPECT_THAT(shown, HasSubstr(std::string("\"usage\": \"") + spec.usage + "\"")) << "one usage";
    EXPECT_EQ(Listed(std::string("--name spec- --spec ") + spec.name), 1u);
  }
  EXPECT_THAT(Refused("key create --name none --spec DES"), HasSubstr("no key spec"));
}

TEST_F(AcceptanceTest, AServicesKeyIsUsedAndRotatedButNotDisabledOrDeleted) {
  EXPECT_THAT(Refused("key create --name plain --class service --owner 4711"), HasSubstr("svc/"));
  EXPECT_THAT(Refused("key create --name svc/plain"), HasSubstr("svc/"));
  EXPECT_THAT(Refused("key create --name kms-plain"), HasSubstr("reserved"));
  // Root is the owner of everything; the test may be root, so the owner is the one who asks.
  const std::string owner = std::to_string(::geteuid());
  Operator("key create --class service --owner " + owner + " --name svc/" + name_);
  const CK_OBJECT_HANDLE key = Named("svc/" + name_);
  Bytes sealed;
  ASSERT_EQ(Seal(key, sealed), CKR_OK);
  Operator("key rotate svc/" + name_);
  EXPECT_EQ(Open(key, sealed), CKR_OK);
  EXPECT_EQ(p11_->C_DestroyObject(session_, key), CKR_ACTION_PROHIBITED) << "an application is not the owner";
  EXPECT_EQ(DetailOfLastRefusal(), 23u) << "SERVICE_OWNED";
  Template renamed;
  renamed.Text(CKA_LABEL, "mine");
  EXPECT_EQ(p11_->C_SetAttributeValue(session_, key, renamed.data(), renamed.size()), CKR_ACTION_PROHIBITED);
  Operator("key register svc/" + name_ + " 'the backup of db1'");
  for (const char* change : {"disable", "archive", "schedule-deletion"})
    EXPECT_THAT(Refused(std::string("key ") + change + " svc/" + name_), HasSubstr("CONSUMERS_REGISTERED"));
  EXPECT_THAT(Shown("key show svc/" + name_), HasSubstr("the backup of db1"));
  Operator("key release svc/" + name_ + " 'the backup of db1'");
  EXPECT_THAT(Refused("key release svc/" + name_ + " nobody"), HasSubstr("no such consumer"));
  Operator("key disable svc/" + name_);
  EXPECT_EQ(Listed("--class service --name " + name_), 1u);
}

TEST_F(AcceptanceTest, TheDefaultKeyIsMadeOnceAndForDataKeysOnly) {
  ::setenv("CMKD_PIN", std::getenv("P11_PIN"), 1);
  const std::string directory = std::getenv("CMKD_SANDBOX_DIR");
  for (const char* file : {"first", "second"})
    Operator("data-key generate --token \"$P11_TOKEN\" --out " + directory + "/" + file);
  EXPECT_EQ(Listed("--class default"), 1u);
  Operator("key create --class default");
  EXPECT_EQ(Listed("--class default"), 1u) << "one for each token";
  const CK_OBJECT_HANDLE key = Named("default");
  Gcm gcm;
  EXPECT_EQ(p11_->C_EncryptInit(session_, &gcm.mechanism, key), CKR_MECHANISM_INVALID);
  Operator("key rotate default");
  Operator("ciphertext decrypt --token \"$P11_TOKEN\" --in " + directory + "/first --out " + directory + "/opened");
  EXPECT_THAT(Shown("--json key show default"), HasSubstr("\"rotation_days\": 365"));
}

TEST_F(AcceptanceTest, ListsAreFilteredAndPaged) {
  for (int i = 0; i < 5; ++i) Operator("key create --name " + name_ + std::to_string(i) + " --usage wrap");
  Operator("key create --name " + name_ + "-mac --spec HMAC-256");
  Operator("key disable " + name_ + "3");
  Operator("key set " + name_ + "4 --tag owner=billing --description 'the fourth'");
  Operator("key alias " + name_ + "4 " + name_ + "-alias");
  EXPECT_EQ(Listed("--name " + name_), 6u);
  EXPECT_EQ(Listed("--name " + name_ + " --spec aes-256"), 5u);
  EXPECT_EQ(Listed("--name " + name_ + " --state disabled"), 1u);
  EXPECT_EQ(Listed("--name " + name_ + "-alias"), 1u);
  EXPECT_EQ(Listed("--name " + name_ + " --tag owner=billing"), 1u);
  EXPECT_EQ(Listed("--name " + name_ + " --class default"), 0u);
  EXPECT_EQ(Listed("--name " + name_ + " --origin local"), 6u);
  EXPECT_EQ(Cmkctl("key list --spec NONE"), 1);
  EXPECT_EQ(Cmkctl("key list --after nowhere"), 1);
  std::size_t seen = 0, pages = 0;
  for (std::string after; pages < 10; ++pages) {
    const std::string page = Shown("--json key list --name " + name_ + " --limit 2" + after);
    for (std::size_t at = page.find("\"spec\""); at != std::string::npos; at = page.find("\"spec\"", at + 1)) ++seen;
    const std::size_t next = page.find("\"next\": \"") + 9;
    if (page[next] == '"') break;
    after = " --after " + page.substr(next, 32);
  }
  EXPECT_EQ(seen, 6u) << "each key on one page";
  EXPECT_GE(pages, 2u);
}

TEST_F(AcceptanceTest, UsesAreCountedByVersionAndClient) {
  const CK_OBJECT_HANDLE key = Make(name_);
  Bytes sealed, other;
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Seal(key, sealed), CKR_OK);
  Operator("key rotate " + name_);
  for (int i = 0; i < 2; ++i) ASSERT_EQ(Open(key, sealed), CKR_OK);
  ASSERT_EQ(Seal(key, other), CKR_OK);
  const std::string first = Shown("--json key users " + name_ + " --version 1");
  EXPECT_THAT(first, HasSubstr("\"protects\": 3"));
  EXPECT_THAT(first, HasSubstr("\"processes\": 2"));
  EXPECT_THAT(first, HasSubstr("\"uid\": " + std::to_string(::geteuid())));
  const std::string second = Shown("--json key users " + name_ + " --version 2");
  EXPECT_THAT(second, HasSubstr("\"protects\": 1"));
  EXPECT_THAT(second, HasSubstr("\"processes\": 0"));
  // The same of one day, from the audit log.
  EXPECT_THAT(Shown("--json key users " + name_ + " --version 1 --days 1"), HasSubstr("\"processes\": 2"));
}

TEST_F(AcceptanceTest, UnwrappingAndVerifyingInPartsCountForTheVersionThatServed) {
  const CK_OBJECT_HANDLE master = Make(name_, "AES-256", "wrap");
  CK_OBJECT_HANDLE data_key = 0;
  ASSERT_EQ(p11_.GenerateAes(session_, Template().Bool(CKA_TOKEN, false).Bool(CKA_EXTRACTABLE, true), data_key),
            CKR_OK);
  CK_MECHANISM mechanism{CKM_AES_KEY_WRAP, nullptr, 0};
  Bytes wrapped(64);
  CK_ULONG length = wrapped.size();
  ASSERT_EQ(p11_->C_WrapKey(session_, &mechanism, master, data_key, wrapped.data(), &length), CKR_OK);
  Operator("key rotate " + name_);
  Template shape;
  shape.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Bool(CKA_TOKEN, false);
  CK_OBJECT_HANDLE again = 0;
  ASSERT_EQ(p11_->C_UnwrapKey(session_, &mechanism, master, wrapped.data(), length, shape.data(), shape.size(), &again),
            CKR_OK);
  EXPECT_THAT(Shown("--json key users " + name_ + " --version 1"), HasSubstr("\"processes\": 1"));

  const CK_OBJECT_HANDLE mac_key = Make(name_ + "-mac", "HMAC-256", "sign");
  CK_MECHANISM hmac{CKM_SHA256_HMAC, nullptr, 0};
  Bytes mac(32);
  length = mac.size();
  ASSERT_EQ(p11_->C_SignInit(session_, &hmac, mac_key), CKR_OK);
  for (const std::size_t part : {std::size_t{5}, kText.size() - 5})
    ASSERT_EQ(p11_->C_SignUpdate(session_, BytePtr(kText) + (part == 5 ? 0 : 5), part), CKR_OK);
  ASSERT_EQ(p11_->C_SignFinal(session_, mac.data(), &length), CKR_OK);
  Operator("key rotate " + name_ + "-mac");
  ASSERT_EQ(p11_->C_VerifyInit(session_, &hmac, mac_key), CKR_OK);
  ASSERT_EQ(p11_->C_VerifyUpdate(session_, BytePtr(kText), kText.size()), CKR_OK);
  ASSERT_EQ(p11_->C_VerifyFinal(session_, mac.data(), mac.size()), CKR_OK);
  const std::string users = Shown("--json key users " + name_ + "-mac --version 1");
  EXPECT_THAT(users, HasSubstr("\"protects\": 1"));
  EXPECT_THAT(users, HasSubstr("\"processes\": 1"));
  EXPECT_THAT(users, HasSubstr("\"bytes\": " + std::to_string(2 * kText.size()))) << "of all parts";
  EXPECT_THAT(Shown("key users " + name_ + "-mac --version 2"), HasSubstr("no use")) << "it was tried, not used";
}

TEST_F(AcceptanceTest, AVersionMustBeQuietForAsLongAsTheTokenSays) {
  EXPECT_THAT(Refused("token set --version-quiet-days 0"), HasSubstr("QUIET_TIME_OUT_OF_BOUNDS"));
  EXPECT_THAT(Refused("token set --version-quiet-days 367"), HasSubstr("QUIET_TIME_OUT_OF_BOUNDS"));
  EXPECT_THAT(Refused("token set --deletion-window-days 6"), HasSubstr("WINDOW_OUT_OF_BOUNDS"));
  Operator("token set --version-quiet-days 1 --deletion-window-days 8 --disable-first on");
  EXPECT_THAT(Shown("--json token list"), HasSubstr("\"version_quiet_days\": 1"));
  const CK_OBJECT_HANDLE key = Make(name_);
  Bytes sealed;
  ASSERT_EQ(Seal(key, sealed), CKR_OK);
  Operator("key rotate " + name_);
  EXPECT_THAT(Refused("key version " + name_ + " 1 destroy"), HasSubstr("VERSION_IN_USE"));
  EXPECT_THAT(Refused("key schedule-deletion " + name_), HasSubstr("DISABLE_FIRST"));
  Operator("token set --version-quiet-days 30 --deletion-window-days 30 --disable-first off");
}

TEST_F(AcceptanceTest, AnAnnouncedDeletionCanBeTakenBackAndEndsWhenAConsumerShowsUp) {
  const CK_OBJECT_HANDLE key = Make(name_);
  EXPECT_THAT(Refused("key schedule-deletion " + name_ + " --brown-out-days 91"), HasSubstr("NOTICE_OUT_OF_BOUNDS"));
  EXPECT_THAT(Shown("key schedule-deletion " + name_ + " --brown-out-days 14 --days 30"), HasSubstr("each day"));
  const std::string shown = Shown("--json key show " + name_);
  EXPECT_THAT(shown, HasSubstr("\"state\": \"Enabled\""));
  EXPECT_THAT(shown, Not(HasSubstr("\"announced_until\": null")));
  EXPECT_THAT(shown, Not(HasSubstr("\"next_brown_out\": null")));
  EXPECT_THAT(shown, HasSubstr("\"deletion_date\": null"));
  // It serves on until the first brown-out, some hours from now.
  Bytes sealed;
  EXPECT_EQ(Seal(key, sealed), CKR_OK);
  Operator("key cancel-deletion " + name_);
  EXPECT_EQ(Seal(key, sealed), CKR_OK);
  EXPECT_THAT(Refused("key cancel-deletion " + name_), HasSubstr("DELETION_NOT_SCHEDULED"));
  Operator("key schedule-deletion " + name_ + " --brown-out-days 14");
  Operator("key register " + name_ + " somebody");
  EXPECT_EQ(Seal(key, sealed), CKR_OK);
  EXPECT_THAT(Refused("key schedule-deletion " + name_), HasSubstr("CONSUMERS_REGISTERED"));
}

TEST_F(AcceptanceTest, ADryRunDecidesAndDoesNothing) {
  const CK_OBJECT_HANDLE key = Make(name_);
  for (const char* change : {"disable", "archive", "rotate", "schedule-deletion"})
    EXPECT_THAT(Shown(std::string("--dry-run key ") + change + " " + name_), HasSubstr("Nothing is done"));
  EXPECT_THAT(Shown("--dry-run key create --name " + name_ + "-new"), HasSubstr("Nothing is done"));
  EXPECT_EQ(Listed("--name " + name_ + "-new"), 0u);
  EXPECT_THAT(Refused("--dry-run key create --name " + name_), HasSubstr("NAME_TAKEN"));
  EXPECT_THAT(Refused("--dry-run key enable " + name_ + "-new"), HasSubstr("NOT_FOUND"));
  EXPECT_THAT(Refused("--dry-run key schedule-deletion --days 1 " + name_), HasSubstr("WINDOW_OUT_OF_BOUNDS"));
  Operator("--dry-run key set " + name_ + " --tag a=b --description other");
  Operator("--dry-run key alias " + name_ + " " + name_ + "-alias");
  EXPECT_EQ(State(key), "Enabled");
  const std::string shown = Shown("--json key show " + name_);
  EXPECT_THAT(shown, HasSubstr("\"current_version\": 1"));
  EXPECT_THAT(shown, HasSubstr("\"tags\": {}"));
  EXPECT_THAT(shown, HasSubstr("\"aliases\": []"));
  EXPECT_THAT(Shown("--json --dry-run key disable " + name_), HasSubstr("\"dry_run\": true"));
  EXPECT_THAT(Refused("--dry-run token new-epoch"), HasSubstr("no dry run"));
}

TEST_F(AcceptanceTest, ManyKeysAreChangedAtOnceAndEachHasAResult) {
  for (int i = 0; i < 3; ++i) Operator("key create --name " + name_ + std::to_string(i));
  Operator("key create --name " + name_ + "-pair --spec EC-P256");
  Operator("key disable " + name_ + "1");
  EXPECT_EQ(Cmkctl("key bulk rotate"), 2) << "no filter, and not meant for every key";
  EXPECT_THAT(Shown("--dry-run key bulk disable --name " + name_), HasSubstr("would be done"));
  EXPECT_EQ(Listed("--state disabled --name " + name_), 1u);
  const std::string rotated = Refused("key bulk rotate --name " + name_ + " --spec AES-256");
  EXPECT_THAT(rotated, HasSubstr("KEY_DISABLED")) << "one of them";
  EXPECT_THAT(Shown("--json key show " + name_ + "0"), HasSubstr("\"current_version\": 2"));
  EXPECT_THAT(Shown("--json key show " + name_ + "2"), HasSubstr("\"current_version\": 2"));
  Operator("key bulk disable --name " + name_);
  EXPECT_EQ(Listed("--state disabled --name " + name_), 4u);
}

}  // namespace
}  // namespace cmkd::tests

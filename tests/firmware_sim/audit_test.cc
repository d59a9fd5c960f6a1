// The device's own audit: what is in it, who reads it, and that it survives what befalls the device.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "firmware_sim/device.h"
#include "firmware_sim/signing.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kAuditorPin = "the auditor's pin";

class AuditTest : public DeviceTest {
 protected:
  Device& D() { return *Device::Current(); }
  void SetUp() override {
    ASSERT_EQ(f->C_Logout(session), CKR_OK);
    ASSERT_TRUE(D().Login(Role::kSecurityOfficer, AsBytes(kSoPin)).ok());
    ASSERT_TRUE(D().SetAuditorPin(AsBytes(kAuditorPin)).ok());
    ASSERT_TRUE(D().Logout().ok());
    ASSERT_TRUE(D().Login(Role::kUser, AsBytes(kUserPin)).ok());
  }
  // As the auditor reads it; nobody is logged in afterwards.
  Maintenance::Quote Read() {
    (void)D().Logout();
    EXPECT_TRUE(D().Login(Role::kAuditor, AsBytes(kAuditorPin)).ok());
    auto audit = D().ReadAudit();
    EXPECT_TRUE(audit.ok());
    EXPECT_TRUE(D().Logout().ok());
    return audit.ok() ? *audit : Maintenance::Quote();
  }
  // Without the line of the serial number.
  static std::string RecordsOf(const Maintenance::Quote& audit) { return audit.text.substr(audit.text.find('\n') + 1); }
  static bool Has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }
};

TEST_F(AuditTest, HasWhatChangesWhoMayDoWhatAndWhichKeysThereAre) {
  const CK_OBJECT_HANDLE key = GenerateAes(32, T().Bool(CKA_TOKEN, true));
  const Bytes id = Attribute(key, CKA_UNIQUE_ID);
  const std::string name(AsText(id));
  GenerateAes(32, T());  // of a session: not a key of the device
  ASSERT_EQ(f->C_DestroyObject(session, key), CKR_OK);
  EXPECT_FALSE(D().Login(Role::kUser, AsBytes("wrong")).ok());
  ASSERT_TRUE(D().Logout().ok());
  EXPECT_FALSE(D().Login(Role::kUser, AsBytes("wrong")).ok());
  D().WorkingTestFailed("for\na test");
  ASSERT_TRUE(D().SelfTest().ok());
  const Maintenance::Quote audit = Read();
  EXPECT_TRUE(VerifyText(audit.public_key, AsBytes(audit.text), audit.signature).ok());
  EXPECT_TRUE(AuditRing::Check(RecordsOf(audit)).ok());
  for (const char* part :
       {"nobody power on CKR_OK", "nobody initialise token CKR_OK", "so set user PIN CKR_OK",
        "so set auditor PIN CKR_OK", "nobody login CKR_OK user", "nobody login CKR_PIN_INCORRECT user",
        "user logout CKR_OK", "nobody working test failed CKR_DEVICE_ERROR for?a test", "nobody self-test CKR_OK",
        "auditor read audit CKR_OK"}) {
    EXPECT_TRUE(Has(audit.text, part)) << part << "\n" << audit.text;
  }
  EXPECT_TRUE(Has(audit.text, "user make key CKR_OK " + name));
  EXPECT_TRUE(Has(audit.text, "user destroy key CKR_OK " + name));
}

TEST_F(AuditTest, OnlyTheAuditorReadsItAndNobodyErasesIt) {
  const auto refused = [&] { return D().ReadAudit().error().rv == CKR_USER_NOT_LOGGED_IN; };
  EXPECT_TRUE(refused());
  ASSERT_TRUE(D().Logout().ok());
  EXPECT_TRUE(refused());
  ASSERT_TRUE(D().Login(Role::kSecurityOfficer, AsBytes(kSoPin)).ok());
  EXPECT_TRUE(refused());
  ASSERT_TRUE(D().Logout().ok());
  const std::string before = Read().text;
  // The security officer makes a new token of it; the audit and the auditor stay.
  ASSERT_EQ(f->C_CloseAllSessions(0), CKR_OK);
  CK_UTF8CHAR label[32] = {};
  ASSERT_TRUE(D().InitToken(AsBytes(kSoPin), ByteView(label, sizeof label)).ok());
  session = OpenSession();
  const std::string after = Read().text;
  const std::size_t records = before.rfind("\nlast ") - before.find('\n');
  EXPECT_EQ(after.substr(before.find('\n'), records), before.substr(before.find('\n'), records));
}

TEST_F(AuditTest, NoCharacterOfItCanBeChangedAndNoRecordIsMissing) {
  const std::string text = RecordsOf(Read());
  ASSERT_TRUE(AuditRing::Check(text).ok());
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_FALSE(AuditRing::Check(changed).ok()) << i;
  }
  for (std::size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1) {
    std::string shorter = text;
    shorter.erase(begin, text.find('\n', begin) + 1 - begin);
    EXPECT_FALSE(AuditRing::Check(shorter).ok()) << begin;
  }
}

TEST_F(AuditTest, ForgetsTheOldestAndGoesOnAfterARestart) {
  Stop();
  {
    auto flash = Flash::Open(directory);
    ASSERT_TRUE(flash.ok());
    AuditRing ring(**flash);
    ASSERT_TRUE(ring.Load().ok());
    for (std::size_t i = 0; i < AuditRing::kRecordsMax + 100; ++i) ring.Note({"user", "something"});
    ASSERT_TRUE(ring.Record({"user", "the last"}).ok());
    EXPECT_TRUE(AuditRing::Check(ring.Text()).ok());
    AuditRing again(**flash);
    ASSERT_TRUE(again.Load().ok());
    EXPECT_EQ(again.Text(), ring.Text());
    const std::string text = ring.Text();
    const auto lines = std::count(text.begin(), text.end(), '\n') - 3;
    EXPECT_LE(lines, static_cast<long>(AuditRing::kRecordsMax));
    EXPECT_GT(lines, static_cast<long>(AuditRing::kRecordsMax - AuditRing::kSegmentRecords));
  }
  Start();
  EXPECT_EQ(D().state(), DeviceState::kOperational);
  EXPECT_TRUE(Has(Read().text, "the last"));
}

TEST_F(AuditTest, APieceThatIsMissingOrOldIsNoticed) {
  Stop();
  {
    auto flash = Flash::Open(directory);
    AuditRing ring(**flash);
    ASSERT_TRUE(ring.Load().ok());
    for (std::size_t i = 0; i < 3 * AuditRing::kSegmentRecords; ++i) ring.Note({"user", "something"});
    ASSERT_TRUE(ring.Record({"user", "the last"}).ok());
  }
  fs::copy(directory + "/audit-1", directory + ".old");
  fs::remove(directory + "/audit-1");
  ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
  EXPECT_EQ(D().state(), DeviceState::kHardError);
  EXPECT_TRUE(Has(D().trouble(), "audit"));
  Stop();
  // The seal says whose place it has.
  fs::copy(directory + ".old", directory + "/audit-1");
  fs::copy_file(directory + "/audit-2", directory + "/audit-1", fs::copy_options::overwrite_existing);
  ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
  EXPECT_EQ(D().state(), DeviceState::kHardError);
  Stop();
  fs::copy_file(directory + ".old", directory + "/audit-1", fs::copy_options::overwrite_existing);
  fs::remove(directory + ".old");
  Start();
  EXPECT_EQ(D().state(), DeviceState::kOperational);
}

TEST_F(AuditTest, WhatWasAnsweredIsInItWhereverThePowerIsCut) {
  Stop();
  // The login's record, the key, its record; the two writes of the login itself come before.
  for (int write = 2; write < 5; ++write) {
    for (int step = 1; step <= 5; ++step) {
      std::ofstream(directory + ".faults", std::ios::trunc)
          << "on flash skip " << write << " times 1 step " << step << " power-cut\n";
      ConfigureFaults(directory + ".faults");
      const std::string label = std::to_string(write) + '-' + std::to_string(step);
      int fds[2];
      ASSERT_EQ(::pipe(fds), 0);
      const pid_t child = ::fork();
      if (child == 0) {
        if (f->C_Initialize(nullptr) != CKR_OK) ::_exit(1);
        LogIn();
        const CK_OBJECT_HANDLE key = GenerateAes(16, T().Bool(CKA_TOKEN, true));
        if (rv == CKR_OK) {
          const Bytes name = Attribute(key, CKA_UNIQUE_ID);
          if (::write(fds[1], name.data(), name.size()) < 0) ::_exit(2);
        }
        ::_exit(0);
      }
      ::close(fds[1]);
      std::string made;
      for (char c = 0; ::read(fds[0], &c, 1) == 1;) made.push_back(c);
      ::close(fds[0]);
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      ConfigureFaults("");
      Start();
      ASSERT_EQ(D().state(), DeviceState::kOperational) << label << ": " << D().trouble();
      session = OpenSession();
      const std::string text = Read().text;
      EXPECT_TRUE(AuditRing::Check(text.substr(text.find('\n') + 1)).ok()) << label;
      if (!made.empty()) {
        EXPECT_TRUE(Has(text, "make key CKR_OK " + made)) << label;
      }
      Stop();
    }
  }
  fs::remove(directory + ".faults");
  Start();
}

TEST_F(AuditTest, ADeviceAtWorkTestsItselfEachDay) {
  CK_BYTE bytes[8];
  EXPECT_EQ(f->C_GenerateRandom(session, bytes, sizeof bytes), CKR_OK);
  EXPECT_FALSE(Has(Read().text, "self-test"));
  D().TestEvery(std::chrono::seconds(0));
  EXPECT_EQ(f->C_GenerateRandom(session, bytes, sizeof bytes), CKR_OK);
  D().TestEvery(std::chrono::hours(24));
  EXPECT_TRUE(Has(Read().text, "nobody self-test CKR_OK"));
}

TEST_F(AuditTest, TheLastFailureIsKept) {
  EXPECT_EQ(D().last_failure(), "");
  D().WorkingTestFailed("a pair that does not fit");
  EXPECT_TRUE(Has(D().last_failure(), " a pair that does not fit"));
  Stop();
  Start();
  EXPECT_EQ(D().state(), DeviceState::kOperational);
  EXPECT_TRUE(Has(D().last_failure(), " a pair that does not fit"));
}

}  // namespace
}  // namespace cmkd::sim

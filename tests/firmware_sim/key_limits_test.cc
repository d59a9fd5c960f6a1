// Limits of keys: the rules, the counters over power cuts, and what programs see of both.
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "firmware_sim/device.h"
#include "firmware_sim/rehearsal.h"
#include "pkcs11/spec/vendor.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

namespace fs = std::filesystem;

// ---- The rules

TEST(KeyUsage, ALimitIsReachedAndNotPassed) {
  EXPECT_TRUE(CheckSpent({}, {.uses = ~0ull, .bytes = ~0ull}).ok());
  const Limits limits{.uses = 5, .bytes = 100, .seconds = 60};
  EXPECT_TRUE(CheckSpent(limits, {.uses = 5, .bytes = 100, .made = 1000, .seen = 1059}).ok());
  for (const Spent& spent : {Spent{.uses = 6, .made = 1000, .seen = 1000}, Spent{.bytes = 101, .made = 1000},
                             Spent{.made = 1000, .seen = 1060}, Spent{.gcm = kGcmMax + 1, .made = 1000}}) {
    const Status checked = CheckSpent(limits, spent);
    ASSERT_FALSE(checked.ok());
    EXPECT_EQ(checked.error().rv, CKR_KEY_EXHAUSTED);
  }
}

TEST(KeyUsage, CountersStayAtTheirGreatestNumberAndTimeDoesNotGoBack) {
  const Spent spent{.uses = ~0ull - 1, .bytes = ~0ull, .gcm = 3, .made = 10, .seen = 50};
  const Spent after = After(spent, {.uses = 7, .bytes = 7, .gcm = 7}, 20);
  EXPECT_EQ(after, (Spent{.uses = ~0ull, .bytes = ~0ull, .gcm = 10, .made = 10, .seen = 50}));
}

TEST(KeyUsage, WhatIsPutAsideIsNeverMoreThanTheLimits) {
  for (const std::uint64_t limit : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{17}, std::uint64_t{1} << 40}) {
    for (const std::uint64_t used : {std::uint64_t{1}, (limit + 1) / 2, limit}) {
      const Spent reserved = Reserve({.uses = limit, .bytes = limit}, {.uses = used, .bytes = used});
      EXPECT_GE(reserved.uses, used);
      EXPECT_LE(reserved.uses, limit);
      EXPECT_LE(reserved.bytes, limit);
      // A power cut costs no more than a sixteenth of what is left.
      EXPECT_LE(reserved.uses - used, (limit - used) / 16);
    }
  }
  EXPECT_EQ(Reserve({}, {.gcm = kGcmMax - 3}).gcm, kGcmMax);
  EXPECT_EQ(Reserve({}, {.gcm = 1}).gcm, 1 + kGcmBlock);
}

TEST(KeyUsage, OfASessionIsCountedInMemory) {
  KeyUsage usage({.uses = 2}, {}, true);
  const auto now = [] { return std::uint64_t{0}; };
  const auto never = [](const Spent&) -> Status { return Fail(CKR_DEVICE_ERROR, "not for a key of a session"); };
  EXPECT_TRUE(usage.Charge({.uses = 1}, now, never).ok());
  EXPECT_TRUE(usage.Charge({.uses = 1}, now, never).ok());
  EXPECT_EQ(usage.Charge({.uses = 1}, now, never).error().rv, CKR_KEY_EXHAUSTED);
  KeyUsage gcm({}, {.gcm = kGcmMax - 1}, true);
  EXPECT_TRUE(gcm.Charge({.gcm = 1}, now, never).ok());
  EXPECT_EQ(gcm.Charge({.gcm = 1}, now, never).error().rv, CKR_KEY_EXHAUSTED);
}

// Power cuts at any step of the writes to a real flash: as a write that stops there leaves it. So many of them:
// CMKD_POWER_CUTS, 10,000 for a campaign.
TEST(KeyUsage, CountersNeverGoBackHoweverOftenThePowerIsCut) {
  const char* const asked = std::getenv("CMKD_POWER_CUTS");
  const int cuts = asked == nullptr ? 500 : std::atoi(asked);
  char name[] = "/tmp/cmkd-cuts-XXXXXX";
  const std::string directory = ::mkdtemp(name);
  std::ofstream(directory + ".faults") << "seed 5\n"
                                       << "on flash step 1 chance 20% return CKR_DEVICE_ERROR\n"
                                       << "on flash step 3 chance 20% return CKR_DEVICE_ERROR\n"
                                       << "on flash step 4 chance 20% return CKR_DEVICE_ERROR\n"
                                       << "on flash step 5 chance 20% return CKR_DEVICE_ERROR\n";
  const Limits limits{.uses = 1ull << 40, .bytes = 1ull << 50};
  std::mt19937 random(7);
  Spent acknowledged;
  {
    auto flash = Flash::Open(directory);
    ASSERT_TRUE(flash.ok());
    ASSERT_TRUE((*flash)->Write("use", acknowledged.Encode()).ok());
  }
  ASSERT_TRUE(Rehearsal::Start(directory + ".faults", directory).ok());
  ::testing::internal::CaptureStderr();  // each fault says that it happened
  int cut = 0;
  for (int power_on = 0; cut < cuts && power_on < 100 * cuts; ++power_on) {
    auto flash = Flash::Open(directory);
    if (!flash.ok()) continue;
    const auto record = (*flash)->Read("use");
    ASSERT_TRUE(record.ok() && *record);
    const auto durable = Spent::Decode((*record)->view());
    ASSERT_TRUE(durable.ok());
    ASSERT_GE(durable->uses, acknowledged.uses) << power_on;
    ASSERT_GE(durable->bytes, acknowledged.bytes) << power_on;
    ASSERT_GE(durable->gcm, acknowledged.gcm) << power_on;
    KeyUsage usage(limits, *durable, false);
    const auto persist = [&](const Spent& more) { return (*flash)->Write("use", more.Encode()); };
    for (bool powered = true; powered;) {
      const Amount amount{.uses = 1, .bytes = random() % 100000, .gcm = 1};
      powered = usage
                    .Charge(
                        amount, [] { return std::uint64_t{0}; }, persist)
                    .ok();
      if (powered) acknowledged = usage.spent();
      cut += powered ? 0 : 1;
    }
  }
  EXPECT_EQ(cut, cuts);
  ::testing::internal::GetCapturedStderr();
  Rehearsal::Stop();
  fs::remove_all(directory);
  fs::remove(directory + ".faults");
}

// ---- A device

class KeyLimitsTest : public DeviceTest {
 protected:
  CK_FUNCTION_LIST_3_2* const m = reinterpret_cast<CK_FUNCTION_LIST_3_2*>(f);

  CK_ULONG Number(CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE type) {
    const Bytes value = Attribute(key, type);
    CK_ULONG number = 0;
    EXPECT_EQ(value.size(), sizeof number);
    if (value.size() == sizeof number) std::memcpy(&number, value.data(), sizeof number);
    return number;
  }
  CK_RV Use(CK_OBJECT_HANDLE key, std::size_t bytes = 16) {
    Encrypt(M(CKM_AES_ECB), key, Bytes(bytes));
    return rv;
  }
  void Restart() {
    Stop();
    Start();
    LogIn();
  }
  CK_OBJECT_HANDLE Named(std::string_view label) {
    const auto found = Find(T().Text(CKA_LABEL, label));
    return found.size() == 1 ? found.front() : CK_INVALID_HANDLE;
  }
  // An IV that the device makes.
  Bytes Iv(CK_OBJECT_HANDLE key) {
    Bytes iv(12), tag(16);
    CK_GCM_MESSAGE_PARAMS parameter{iv.data(), iv.size(), 0, CKG_GENERATE_RANDOM, tag.data(), tag.size() * 8};
    CK_BYTE text[4] = {}, sealed[4];
    CK_ULONG bytes = sizeof sealed;
    CK_MECHANISM mechanism{CKM_AES_GCM, nullptr, 0};
    rv = m->C_MessageEncryptInit(session, &mechanism, key);
    if (rv != CKR_OK) return {};
    rv = m->C_EncryptMessage(session, &parameter, sizeof parameter, nullptr, 0, text, sizeof text, sealed, &bytes);
    m->C_MessageEncryptFinal(session);
    return rv == CKR_OK ? iv : Bytes();
  }
};

TEST_F(KeyLimitsTest, UsesAndBytesRunOutAndStayOut) {
  const auto key = GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "k").Ulong(CKA_CMKD_LIMIT_USES, 5));
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Number(key, CKA_CMKD_LIMIT_USES), 5u);
  for (CK_ULONG i = 1; i <= 5; ++i) {
    EXPECT_EQ(Use(key), CKR_OK);
    EXPECT_EQ(Number(key, CKA_CMKD_USES), i);
  }
  EXPECT_EQ(Use(key), CKR_KEY_EXHAUSTED);
  Restart();
  EXPECT_EQ(Use(Named("k")), CKR_KEY_EXHAUSTED);
  EXPECT_EQ(Number(Named("k"), CKA_CMKD_USES), 5u);

  const auto bytes = GenerateAes(32, T().Ulong(CKA_CMKD_LIMIT_BYTES, 64));
  EXPECT_EQ(Use(bytes, 48), CKR_OK);
  EXPECT_EQ(Use(bytes, 32), CKR_KEY_EXHAUSTED);
  EXPECT_EQ(Use(bytes, 16), CKR_OK);
  EXPECT_EQ(Use(bytes, 16), CKR_KEY_EXHAUSTED);
  EXPECT_EQ(Number(bytes, CKA_CMKD_BYTES), 64u);
}

TEST_F(KeyLimitsTest, EveryWayOfUsingAKeyCounts) {
  T all;
  all.Ulong(CKA_CMKD_LIMIT_USES, 100).Bool(CKA_WRAP, true).Bool(CKA_UNWRAP, true).Bool(CKA_DERIVE, true);
  all.Bool(CKA_SIGN, true).Bool(CKA_VERIFY, true).Bool(CKA_ENCRYPT, true).Bool(CKA_DECRYPT, true);
  const auto key = GenerateAes(32, all);
  ASSERT_EQ(rv, CKR_OK);
  const auto other = SecretKey(CKK_AES, Bytes(16, 3));
  CK_ULONG uses = 0;
  const auto counted = [&](const char* what) {
    EXPECT_EQ(rv, CKR_OK) << what;
    EXPECT_EQ(Number(key, CKA_CMKD_USES), ++uses) << what;
  };
  const Bytes sealed = Encrypt(M(CKM_AES_ECB), key, Bytes(16));
  counted("encrypt");
  Decrypt(M(CKM_AES_ECB), key, sealed);
  counted("decrypt");
  const Bytes mac = Sign(M(CKM_AES_CMAC), key, Bytes(20));
  counted("sign");
  rv = Verify(M(CKM_AES_CMAC), key, Bytes(20), mac);
  counted("verify");
  const Bytes wrapped = Wrap(M(CKM_AES_KEY_WRAP_KWP), key, other);
  counted("wrap");
  Unwrap(M(CKM_AES_KEY_WRAP_KWP), key, wrapped, T().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES));
  counted("unwrap");
  Iv(key);
  counted("message");
  const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256", T().Ulong(CKA_CMKD_LIMIT_USES, 1));
  ASSERT_EQ(rv, CKR_OK);
  Sign(M(CKM_ECDSA), pair.private_key, Bytes(32));
  EXPECT_EQ(rv, CKR_OK);
  Sign(M(CKM_ECDSA), pair.private_key, Bytes(32));
  EXPECT_EQ(rv, CKR_KEY_EXHAUSTED);
}

TEST_F(KeyLimitsTest, ALimitIsForGoodAndNoCopyOrExportGoesAroundIt) {
  const auto key = GenerateAes(32, T().Ulong(CKA_CMKD_LIMIT_USES, 5));
  T more;
  more.Ulong(CKA_CMKD_LIMIT_USES, 50);
  EXPECT_EQ(f->C_SetAttributeValue(session, key, more.data(), more.size()), CKR_ATTRIBUTE_READ_ONLY);
  CK_OBJECT_HANDLE copy = 0;
  EXPECT_EQ(f->C_CopyObject(session, key, nullptr, 0, &copy), CKR_ACTION_PROHIBITED);
  GenerateAes(32, T().Ulong(CKA_CMKD_LIMIT_USES, 5).Bool(CKA_EXTRACTABLE, true));
  EXPECT_EQ(rv, CKR_TEMPLATE_INCONSISTENT);
  GenerateAes(32, T().Ulong(CKA_CMKD_LIMIT_USES, 5).Bool(CKA_COPYABLE, true));
  EXPECT_EQ(rv, CKR_TEMPLATE_INCONSISTENT);
  GenerateAes(32, T().Ulong(CKA_CMKD_LIMIT_USES, 0));
  EXPECT_EQ(rv, CKR_ATTRIBUTE_VALUE_INVALID);
  GenerateAes(32, T().Raw(CKA_CMKD_LIMIT_USES, Bytes(3)));
  EXPECT_EQ(rv, CKR_ATTRIBUTE_VALUE_INVALID);
  Create(T().Ulong(CKA_CLASS, CKO_DATA).Ulong(CKA_CMKD_LIMIT_USES, 5));
  EXPECT_EQ(rv, CKR_ATTRIBUTE_TYPE_INVALID);
  // The name is changed, the counters stay.
  EXPECT_EQ(Use(key), CKR_OK);
  T label;
  label.Text(CKA_LABEL, "renamed");
  EXPECT_EQ(f->C_SetAttributeValue(session, key, label.data(), label.size()), CKR_OK);
  EXPECT_EQ(Number(key, CKA_CMKD_USES), 1u);
}

TEST_F(KeyLimitsTest, TheUserAuthenticatesAgainAfterSoManyUses) {
  const auto key = GenerateAes(32, T().Ulong(CKA_CMKD_USES_PER_LOGIN, 2));
  const auto confirm = [&] {
    return f->C_Login(session, CKU_CONTEXT_SPECIFIC, reinterpret_cast<CK_UTF8CHAR*>(const_cast<char*>(kUserPin.data())),
                      kUserPin.size());
  };
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(Use(key), CKR_OK);
    EXPECT_EQ(round == 0 ? Use(key) : CKR_OK, CKR_OK);
    ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_OK);
    CK_BYTE text[16] = {}, sealed[16];
    CK_ULONG bytes = sizeof sealed;
    EXPECT_EQ(f->C_Encrypt(session, text, sizeof text, sealed, &bytes), CKR_USER_NOT_LOGGED_IN);
    ASSERT_EQ(f->C_EncryptInit(session, M(CKM_AES_ECB), key), CKR_OK);
    ASSERT_EQ(confirm(), CKR_OK);
    bytes = sizeof sealed;
    EXPECT_EQ(f->C_Encrypt(session, text, sizeof text, sealed, &bytes), CKR_OK);
  }
}

TEST_F(KeyLimitsTest, TimeRunsOutAndAClockThatGoesBackGivesNone) {
  const auto key =
      GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "k").Ulong(CKA_CMKD_LIMIT_SECONDS, 1'000'000));
  EXPECT_EQ(Use(key), CKR_OK);
  const Bytes id = Attribute(key, CKA_UNIQUE_ID);
  const std::string name(AsText(id));
  Stop();
  {
    // The key has seen a time that the clock has not reached.
    auto flash = Flash::Open(directory);
    Spent spent = *Spent::Decode((*(*flash)->Read("use-" + name))->view());
    spent.seen = spent.made + 1'000'000;
    ASSERT_TRUE((*flash)->Write("use-" + name, spent.Encode()).ok());
  }
  Start();
  LogIn();
  EXPECT_EQ(Use(Named("k")), CKR_KEY_EXHAUSTED);
}

TEST_F(KeyLimitsTest, WithoutItsCountersAKeyIsNotServed) {
  const auto key = GenerateAes(32, T().Bool(CKA_TOKEN, true).Ulong(CKA_CMKD_LIMIT_USES, 5));
  const Bytes id = Attribute(key, CKA_UNIQUE_ID);
  Stop();
  fs::remove(directory + "/use-" + std::string(AsText(id)));
  ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
  EXPECT_EQ(Device::Current()->state(), DeviceState::kHardError);
}

TEST_F(KeyLimitsTest, WhatWasAnsweredIsCountedWhereverThePowerIsCut) {
  GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "k").Ulong(CKA_CMKD_LIMIT_USES, 100'000));
  ASSERT_EQ(rv, CKR_OK);
  CK_ULONG answered = 0;
  // Three writes of the login come before: from then on each is a block of the counters.
  for (int write = 3; write < 5; ++write) {
    for (int step = 1; step <= 5; ++step) {
      Stop();
      std::ofstream(directory + ".faults", std::ios::trunc)
          << "on flash skip " << write << " times 1 step " << step << " power-cut\n";
      ConfigureFaults(directory + ".faults");
      int fds[2];
      ASSERT_EQ(::pipe(fds), 0);
      const pid_t child = ::fork();
      if (child == 0) {
        if (f->C_Initialize(nullptr) != CKR_OK) ::_exit(1);
        LogIn();
        const CK_OBJECT_HANDLE key = Named("k");
        for (int i = 0; i < 5000 && Use(key) == CKR_OK; ++i) {
          const CK_ULONG now = Number(key, CKA_CMKD_USES);
          if (::write(fds[1], &now, sizeof now) != sizeof now) ::_exit(2);
        }
        ::_exit(0);
      }
      ::close(fds[1]);
      for (CK_ULONG now = 0; ::read(fds[0], &now, sizeof now) == sizeof now;) {
        EXPECT_GT(now, answered);
        answered = now;
      }
      ::close(fds[0]);
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      EXPECT_TRUE(WIFSIGNALED(status)) << write << ", " << step;
      ConfigureFaults("");
      Start();
      LogIn();
      const CK_ULONG now = Number(Named("k"), CKA_CMKD_USES);
      EXPECT_GE(now, answered) << write << ", " << step;
      answered = now;
    }
  }
  fs::remove(directory + ".faults");
}

// ---- AES-GCM

TEST_F(KeyLimitsTest, GcmWarnsHalfWayAndStopsForGood) {
  const auto key = GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "k"));
  ASSERT_FALSE(Iv(key).empty());
  const std::string name(AsText(Attribute(key, CKA_UNIQUE_ID)));
  const auto set = [&](std::uint64_t gcm) {
    Stop();
    {
      auto flash = Flash::Open(directory);
      ASSERT_TRUE((*flash)->Write("use-" + name, Spent{.gcm = gcm}.Encode()).ok());
    }
    Start();
    LogIn();
  };
  const auto warned = [&] {
    EXPECT_TRUE(Device::Current()->Logout().ok());
    EXPECT_TRUE(Device::Current()->Login(Role::kSecurityOfficer, AsBytes(kSoPin)).ok());
    EXPECT_TRUE(Device::Current()->SetAuditorPin(AsBytes("the auditor's")).ok());
    EXPECT_TRUE(Device::Current()->Logout().ok());
    EXPECT_TRUE(Device::Current()->Login(Role::kAuditor, AsBytes("the auditor's")).ok());
    const bool is = Device::Current()->ReadAudit()->text.find("half spent") != std::string::npos;
    EXPECT_TRUE(Device::Current()->Logout().ok());
    EXPECT_TRUE(Device::Current()->Login(Role::kUser, AsBytes(kUserPin)).ok());
    return is;
  };
  EXPECT_FALSE(warned());
  set(kGcmWarning - 1);
  ASSERT_FALSE(Iv(Named("k")).empty());
  EXPECT_TRUE(warned());
  set(kGcmMax - 2);
  EXPECT_FALSE(Iv(Named("k")).empty());
  Encrypt(M(CKM_AES_GCM, Gcm(Bytes(12))), Named("k"), Bytes(3));
  EXPECT_EQ(rv, CKR_OK) << "whoever chose the IV";
  for (int restart = 0; restart < 2; ++restart) {
    EXPECT_TRUE(Iv(Named("k")).empty());
    EXPECT_EQ(rv, CKR_KEY_EXHAUSTED);
    // What is sealed still opens, and other modes go on.
    EXPECT_EQ(Use(Named("k")), CKR_OK);
    Restart();
  }
}

TEST_F(KeyLimitsTest, AnIvNeverRepeatsAlsoOnClonesAndOldCopies) {
  const auto parts = [] {
    std::vector<SecretBytes> both;
    both.emplace_back(Bytes(kDomainComponentBytes, 1));
    both.emplace_back(Bytes(kDomainComponentBytes, 2));
    return both;
  };
  const auto key = GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "k").Bool(CKA_PRIVATE, false));
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(AttributeError(key, CKA_CMKD_CLONE_OF), CKR_ATTRIBUTE_TYPE_INVALID);
  std::set<Bytes> seen;
  std::size_t made = 0;
  const auto some = [&] {
    for (int i = 0; i < 50; ++i, ++made) seen.insert(Iv(Named("k")));
  };
  some();
  ASSERT_TRUE(Device::Current()->maintenance().SetDomain(parts()).ok());
  const auto backup = Device::Current()->Backup({}, 1);
  ASSERT_TRUE(backup.ok());
  const std::string serial = Device::Current()->token().info().serial;
  Stop();
  const std::string copy = directory + ".copy";
  fs::copy(directory, copy);
  // The device goes on; an old copy of its memory starts; the backup is restored twice.
  for (const std::string& where : {directory, copy}) {
    Configure(where);
    ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
    LogIn();
    some();
    Stop();
  }
  for (int restored = 0; restored < 2; ++restored) {
    const std::string clone = directory + ".clone" + std::to_string(restored);
    Configure(clone);
    ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
    ASSERT_TRUE(Device::Current()->maintenance().SetDomain(parts()).ok());
    ASSERT_EQ(*Device::Current()->Restore(*backup, {}, 1), 1u);
    session = OpenSession();
    EXPECT_EQ(Attribute(Named("k"), CKA_CMKD_CLONE_OF), ToBytes(AsBytes(serial)));
    // Its counter is ahead of all that the original had put aside.
    const ObjectPtr object = Device::Current()->FindObject(Named("k"));
    EXPECT_GE(object->usage()->spent().gcm, 50 + 2 * kGcmBlock - kGcmBlock);
    some();
    Stop();
    fs::remove_all(clone);
  }
  EXPECT_EQ(seen.size(), made);
  EXPECT_FALSE(seen.contains(Bytes()));
  fs::remove_all(copy);
  Start();
}

TEST_F(KeyLimitsTest, ABackupDoesNotBringUsesBack) {
  std::vector<SecretBytes> parts;
  parts.emplace_back(Bytes(kDomainComponentBytes, 1));
  parts.emplace_back(Bytes(kDomainComponentBytes, 2));
  ASSERT_TRUE(Device::Current()->maintenance().SetDomain(parts).ok());
  const auto key = GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "k").Ulong(CKA_CMKD_LIMIT_USES, 5));
  const auto backup = Device::Current()->Backup({}, 1);
  ASSERT_TRUE(backup.ok());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Use(key), CKR_OK);
  ASSERT_EQ(f->C_DestroyObject(session, key), CKR_OK);
  ASSERT_EQ(*Device::Current()->Restore(*backup, {}, 1), 1u);
  EXPECT_EQ(Use(Named("k")), CKR_KEY_EXHAUSTED);
}

}  // namespace
}  // namespace cmkd::sim

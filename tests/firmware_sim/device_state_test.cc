// The device's states: every pair of state and command, and what that means for calls, noise and destruction.
#include "firmware_sim/device_state.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "firmware_sim/noise_source.h"
#include "firmware_sim/target.h"
#include "firmware_sim/zeroize.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

namespace fs = std::filesystem;

std::vector<DeviceState> States() {
  std::vector<DeviceState> states;
  for (std::size_t i = 0; i < kDeviceStateCount; ++i) states.push_back(static_cast<DeviceState>(i));
  return states;
}
std::vector<Command> Commands() {
  std::vector<Command> commands;
  for (std::size_t i = 0; i < kCommandCount; ++i) commands.push_back(static_cast<Command>(i));
  return commands;
}
bool Works(Command command) {
  return command == Command::kInitialise || command == Command::kAuthenticate || command == Command::kUse;
}

// ---- The table

TEST(DeviceState, OnlyAnOperationalDeviceWorks) {
  for (const DeviceState state : States()) {
    for (const Command command : Commands()) {
      if (!Works(command)) continue;
      const Outcome outcome = Decide(state, command);
      EXPECT_EQ(outcome.allowed(), state == DeviceState::kOperational) << NameOf(state) << ", " << NameOf(command);
      EXPECT_EQ(outcome.next, state) << NameOf(state) << ", " << NameOf(command);
    }
  }
}

TEST(DeviceState, StatusIsAlwaysThereAndZeroizeWheneverThereMayBeKeys) {
  for (const DeviceState state : States()) {
    EXPECT_EQ(Decide(state, Command::kStatus).allowed(), state != DeviceState::kOff) << NameOf(state);
    const bool can = state != DeviceState::kOff && state != DeviceState::kTesting;
    EXPECT_EQ(Decide(state, Command::kZeroize).allowed(), can) << NameOf(state);
    EXPECT_EQ(Decide(state, Command::kZeroize).next, can ? DeviceState::kZeroizing : state) << NameOf(state);
  }
}

TEST(DeviceState, NothingLeadsToWorkButTestsThatPass) {
  for (const DeviceState state : States()) {
    for (const Command command : Commands()) {
      const Outcome outcome = Decide(state, command);
      if (outcome.next != DeviceState::kOperational || state == DeviceState::kOperational) continue;
      EXPECT_EQ(command, Command::kTestsPass) << NameOf(state) << ", " << NameOf(command);
      EXPECT_TRUE(state == DeviceState::kTesting || state == DeviceState::kSoftError) << NameOf(state);
    }
  }
}

TEST(DeviceState, FromZeroizingThereIsNoWayBackToTheKeys) {
  std::set<DeviceState> reached = {DeviceState::kZeroizing};
  for (bool grew = true; grew;) {
    grew = false;
    for (const DeviceState state : std::set<DeviceState>(reached)) {
      for (const Command command : Commands()) {
        // Switching off leads anywhere, but through power-on, which looks at the mark.
        if (command != Command::kPowerOff) grew |= reached.insert(Decide(state, command).next).second;
      }
    }
  }
  EXPECT_EQ(reached, (std::set{DeviceState::kZeroizing, DeviceState::kZeroized, DeviceState::kTampered}));
}

TEST(DeviceState, ATamperingIsNoticedInEveryStateThatHasPower) {
  for (const DeviceState state : States()) {
    const DeviceState next = Decide(state, Command::kTamperSensed).next;
    if (state == DeviceState::kOff || state == DeviceState::kTampered)
      EXPECT_EQ(next, state);
    else
      EXPECT_EQ(next, DeviceState::kZeroizing) << NameOf(state);
  }
}

TEST(DeviceState, RefusalsAndNamesAreAllThere) {
  std::set<std::string_view> names;
  for (const DeviceState state : States()) {
    names.insert(NameOf(state));
    for (const Command command : Commands()) {
      const Outcome outcome = Decide(state, command);
      EXPECT_TRUE(outcome.allowed() || outcome.next == state) << "a refusal changes nothing";
    }
  }
  for (const Command command : Commands()) names.insert(NameOf(command));
  EXPECT_EQ(names.size(), kDeviceStateCount + kCommandCount);
}

// ---- The same through the functions

class DeviceStateTest : public DeviceTest {
 protected:
  ~DeviceStateTest() override {
    f->C_Finalize(nullptr);
    ConfigureFaults("");
  }
  void Rehearse(const std::string& script) {
    const std::string path = directory + ".faults";
    std::ofstream(path, std::ios::trunc) << script;
    ConfigureFaults(path);
  }
  CK_FLAGS TokenFlags() {
    CK_TOKEN_INFO info{};
    EXPECT_EQ(f->C_GetTokenInfo(0, &info), CKR_OK);
    return info.flags;
  }
  CK_RV Random() {
    CK_BYTE bytes[8];
    return f->C_GenerateRandom(session, bytes, sizeof bytes);
  }
  std::size_t Records() const {
    std::size_t count = 0;
    for (const auto& file : fs::directory_iterator(directory)) {
      const std::string name = file.path().filename();
      count += name == "device.key" || name == "token" || name.starts_with("object-") ? 1 : 0;
    }
    return count;
  }
};

TEST_F(DeviceStateTest, InAnErrorStateEveryFunctionButInformationIsRefused) {
  GenerateAes(32, T().Bool(CKA_TOKEN, true));
  Device::Current()->WorkingTestFailed("for a test");
  EXPECT_EQ(Device::Current()->state(), DeviceState::kSoftError);
  EXPECT_NE(TokenFlags() & CKF_ERROR_STATE, 0u);
  EXPECT_EQ(Random(), CKR_DEVICE_ERROR);
  CK_SESSION_INFO info{};
  EXPECT_EQ(f->C_GetSessionInfo(session, &info), CKR_DEVICE_ERROR);
  EXPECT_EQ(f->C_FindObjectsInit(session, nullptr, 0), CKR_DEVICE_ERROR);
  CK_SLOT_INFO slot{};
  EXPECT_EQ(f->C_GetSlotInfo(0, &slot), CKR_OK);
  // Who wants to work again has it tested first.
  OpenSession();
  EXPECT_EQ(Device::Current()->state(), DeviceState::kOperational);
  EXPECT_EQ(Random(), CKR_OK);
}

TEST_F(DeviceStateTest, SaysThatItIsASimulationAndHowManySessionsItHas) {
  CK_TOKEN_INFO info{};
  ASSERT_EQ(f->C_GetTokenInfo(0, &info), CKR_OK);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(info.manufacturerID), 32), "cmkd (simulation, not validated)");
  CK_SESSION_HANDLE opened = 0;
  CK_ULONG count = info.ulSessionCount;
  while (f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &opened) == CKR_OK) ++count;
  EXPECT_EQ(count, info.ulMaxSessionCount);
  EXPECT_EQ(f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &opened), CKR_SESSION_COUNT);
  EXPECT_EQ(f->C_CloseSession(session), CKR_OK);
  EXPECT_EQ(f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &opened), CKR_OK);
}

TEST_F(DeviceStateTest, TamperDestroysEverythingAndIsRemembered) {
  GenerateAes(32, T().Bool(CKA_TOKEN, true));
  ASSERT_EQ(Records(), 3u);
  ASSERT_TRUE(Device::Current()->Zeroize(true).ok());
  EXPECT_EQ(Records(), 0u);
  for (int power_cycle = 0; power_cycle < 3; ++power_cycle) {
    EXPECT_EQ(Device::Current()->state(), DeviceState::kTampered);
    EXPECT_NE(TokenFlags() & CKF_ERROR_STATE, 0u);
    CK_SESSION_HANDLE opened = 0;
    EXPECT_EQ(f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &opened), CKR_DEVICE_ERROR);
    CK_UTF8CHAR label[32] = {};
    EXPECT_EQ(f->C_InitToken(0, reinterpret_cast<CK_UTF8CHAR*>(const_cast<char*>(kSoPin.data())), kSoPin.size(), label),
              CKR_DEVICE_ERROR);
    Stop();
    Start();
  }
  ASSERT_TRUE(Device::Current()->Zeroize(false).ok());
  EXPECT_EQ(Device::Current()->state(), DeviceState::kZeroized);
  Stop();
  Start();
  EXPECT_EQ(Device::Current()->state(), DeviceState::kOperational);
  EXPECT_EQ(TokenFlags() & CKF_TOKEN_INITIALIZED, 0u);
}

TEST_F(DeviceStateTest, AMarkThatCannotBeReadDestroysNothing) {
  GenerateAes(32, T().Bool(CKA_TOKEN, true));
  Stop();
  // A loop of links: open() fails with something else than "there is none".
  fs::create_symlink("mark", directory + "/mark");
  Configure(directory);
  ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
  EXPECT_EQ(Device::Current()->state(), DeviceState::kHardError);
  Stop();
  fs::remove(directory + "/mark");
  Start();
  EXPECT_EQ(Records(), 3u);
  EXPECT_EQ(Device::Current()->state(), DeviceState::kOperational);
}

TEST_F(DeviceStateTest, ZeroizeSurvivesAPowerCutAtEveryStep) {
  GenerateAes(32, T().Bool(CKA_TOKEN, true));
  Stop();
  const std::string original = directory + ".original";
  fs::copy(directory, original);
  int cuts = 0;
  for (int step = 0;; ++step) {
    fs::remove_all(directory);
    fs::copy(original, directory);
    Rehearse("on zeroize skip " + std::to_string(step) + " times 1 power-cut\n");
    const pid_t child = ::fork();
    if (child == 0) {
      const bool done = f->C_Initialize(nullptr) == CKR_OK && Device::Current()->Zeroize(false).ok();
      ::_exit(done ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ConfigureFaults("");
    Configure(directory);
    const bool marked = *FindMark(directory) != Mark::kNone;
    ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
    const bool was_cut = WIFSIGNALED(status);
    if (!was_cut) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      EXPECT_EQ(Records(), 2u) << "a new device key and token";
    } else if (marked) {
      // It goes on where it was, and then nothing is left.
      EXPECT_EQ(Device::Current()->state(), DeviceState::kZeroized) << "step " << step;
      EXPECT_EQ(Records(), 0u) << "step " << step;
    } else {
      // Before the mark, or after all was done.
      EXPECT_EQ(Device::Current()->state(), DeviceState::kOperational) << "step " << step;
    }
    // Never something between: a device with some of its keys.
    EXPECT_TRUE(Records() == 0 || Records() == 2 || Records() == 3) << "step " << step << ": " << Records();
    EXPECT_TRUE(Records() != 3 || step < 2) << "after the mark nothing comes back";
    Stop();
    cuts += was_cut ? 1 : 0;
    if (!was_cut) break;
    ASSERT_LT(step, 100);
  }
  EXPECT_GE(cuts, 8);
  fs::remove_all(original);
  fs::remove(directory + ".faults");
  Start();
}

// ---- The noise source

// 1 + CRITBINOM(window, 2^-entropy, 1 - 2^-alarm): the least count whose tail is no more than 2^-alarm (SP 800-90B
// section 4.4.2). Built down from the top, in logarithms.
std::uint32_t ProportionCutoff(std::uint32_t window, long double entropy, long double alarm) {
  const long double equal = std::exp2(-entropy);
  long double tail = 0;
  for (std::uint32_t count = window; count > 0; --count) {
    long double log_term = 0;
    for (std::uint32_t i = 0; i < count; ++i) log_term += std::log2(static_cast<long double>(window - i) / (count - i));
    log_term += std::log2(equal) * count;
    if (count < window) log_term += std::log2(1 - equal) * (window - count);
    if (tail + std::exp2(log_term) > std::exp2(-alarm)) return count + 1;
    tail += std::exp2(log_term);
  }
  return 1;
}
// 1 + ceil(alarm / entropy) (section 4.4.1).
std::uint32_t RepetitionCutoff(long double entropy, long double alarm) {
  return 1 + static_cast<std::uint32_t>(std::ceil(alarm / entropy));
}

TEST(HealthTests, CutoffsAreThoseOfTheFormulas) {
  EXPECT_EQ(kRepetitionCutoff, RepetitionCutoff(4, 40));
  EXPECT_EQ(kProportionCutoff, ProportionCutoff(kProportionWindow, 4, 40));
}

TEST(HealthTests, FormulasGiveTheExamplesOfTheStandard) {
  EXPECT_EQ(RepetitionCutoff(0.5L, 20), 41u);
  EXPECT_EQ(ProportionCutoff(512, 0.5L, 20), 410u);
  EXPECT_EQ(ProportionCutoff(512, 8, 20), 13u);
}

bool Passes(std::size_t samples, const std::function<std::uint8_t(std::size_t)>& source) {
  HealthTests tests;
  for (std::size_t i = 0; i < samples; ++i) {
    if (!tests.Accept(source(i))) return false;
  }
  return true;
}

TEST(HealthTests, TellUnsoundSourcesWithinAWindow) {
  EXPECT_TRUE(Passes(kRepetitionCutoff - 1, [](std::size_t) { return std::uint8_t{7}; }));
  EXPECT_FALSE(Passes(kRepetitionCutoff, [](std::size_t) { return std::uint8_t{7}; }));
  EXPECT_FALSE(Passes(kProportionWindow, [](std::size_t i) { return static_cast<std::uint8_t>(i % 2); }));
  EXPECT_FALSE(Passes(kProportionWindow, [](std::size_t i) { return static_cast<std::uint8_t>(i % 4); }));
  // A source that gives the same 16 samples again and again has less than it claims; one of 4 bits does just not.
  EXPECT_FALSE(Passes(kProportionWindow, [](std::size_t i) { return static_cast<std::uint8_t>(i % 6); }));
}

TEST(HealthTests, ASoundSourceRaisesNoAlarm) {
  // A seeded source, so many samples of it: CMKD_NOISE_SAMPLES, 2^30 for a campaign.
  const char* const asked = std::getenv("CMKD_NOISE_SAMPLES");
  const std::size_t samples = asked == nullptr ? std::size_t{1} << 24 : std::strtoull(asked, nullptr, 10);
  std::uint64_t state = 1;
  EXPECT_TRUE(Passes(samples, [&](std::size_t) {
    state += 0x9e3779b97f4a7c15;
    std::uint64_t x = state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return static_cast<std::uint8_t>(x >> 56);
  }));
}

TEST_F(DeviceStateTest, AnUnsoundNoiseSourceStopsTheDeviceAndTestsHealIt) {
  for (const char* kind : {"stuck", "biased", "dead"}) {
    Stop();
    // Sound at power-on and for a while, unsound for some readings, sound again.
    Rehearse(std::string("on entropy skip 30 times 20 ") + kind + "\n");
    Start();
    LogIn();
    CK_RV refused = CKR_OK;
    for (int i = 0; i < 60 && refused == CKR_OK; ++i) refused = Random();
    EXPECT_EQ(refused, CKR_DEVICE_ERROR) << kind;
    EXPECT_EQ(Device::Current()->state(), DeviceState::kSoftError) << kind;
    EXPECT_EQ(Random(), CKR_DEVICE_ERROR) << kind;
    // The start-up samples are examined again, until the source is sound.
    CK_SESSION_HANDLE opened = 0;
    rv = CKR_DEVICE_ERROR;
    for (int i = 0; i < 40 && rv != CKR_OK; ++i) {
      rv = f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &opened);
    }
    EXPECT_EQ(rv, CKR_OK) << kind;
    EXPECT_EQ(Random(), CKR_OK) << kind;
    fs::remove(directory + "/fault-counts");
  }
  fs::remove(directory + ".faults");
}

// The fault attacks on RSA with CRT and on EdDSA: the wrong signature stays inside, nothing of it is in the caller's
// buffer, and the device does nothing more until it has tested itself.
TEST_F(DeviceStateTest, AWrongSignatureThatTellsItsKeyNeverLeavesTheDevice) {
  struct Row {
    CK_MECHANISM_TYPE mechanism;
    bool edwards;
  };
  for (const Row& row :
       {Row{CKM_SHA256_RSA_PKCS, false}, Row{CKM_RSA_PKCS, false}, Row{CKM_RSA_X_509, false}, Row{CKM_EDDSA, true}}) {
    Stop();
    Rehearse("seed 1\n");
    Start();
    LogIn();
    const Pair pair = row.edwards ? GenerateCurve(CKM_EC_EDWARDS_KEY_PAIR_GEN, "Ed25519") : GenerateRsa();
    const Bytes message(32, 7);
    const Bytes right = Sign(M(row.mechanism), pair.private_key, message);
    ASSERT_EQ(rv, CKR_OK);
    Rehearse("on signature times 1 flip\n");
    M mechanism(row.mechanism);
    ASSERT_EQ(f->C_SignInit(session, mechanism, pair.private_key), CKR_OK);
    Bytes out(512), in = message;
    CK_ULONG length = out.size();
    EXPECT_EQ(f->C_Sign(session, in.data(), in.size(), out.data(), &length), CKR_DEVICE_ERROR);
    EXPECT_TRUE(std::all_of(out.begin(), out.end(), [](std::uint8_t byte) { return byte == 0; }));
    EXPECT_EQ(Device::Current()->state(), DeviceState::kSoftError);
    EXPECT_EQ(Random(), CKR_DEVICE_ERROR);
    CK_SESSION_HANDLE opened = 0;
    EXPECT_EQ(f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &opened), CKR_OK) << "it tests itself";
    const Bytes again = Sign(M(row.mechanism), pair.private_key, message);
    EXPECT_EQ(rv, CKR_OK);
    EXPECT_EQ(again, right);
    fs::remove(directory + "/fault-counts");
  }
  fs::remove(directory + ".faults");
}

TEST_F(DeviceStateTest, ADeviceWithoutNoiseDoesNotStart) {
  Stop();
  Rehearse("on entropy stuck\n");
  Configure(directory);
  EXPECT_EQ(f->C_Initialize(nullptr), CKR_DEVICE_ERROR);
  ConfigureFaults("");
  fs::remove(directory + ".faults");
  Start();
}

}  // namespace
}  // namespace cmkd::sim

// Which token of a module, and with whose PIN: two tokens in one module told apart by their serial numbers, each source
// of a PIN up to the login, and that a serialised module is never in two calls at once.
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "tests/daemon/hsm_rig.h"

namespace cmkd::daemon {
namespace {

constexpr const char* kLabel = "cmkd test token";  // the rig's

class HsmChoice : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(rig_.missing().empty()) << rig_.missing(); }

  // Another token in the rig's module.
  void AddToken(const std::string& label, const std::string& pin) {
    const std::string conf = rig_.config().environment.at("SOFTHSM2_CONF");
    const std::string command = "SOFTHSM2_CONF=" + conf + " softhsm2-util --init-token --free --label '" + label +
                                "' --pin " + pin + " --so-pin " + pin + " >/dev/null 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  // Serial numbers of the initialised tokens.
  std::vector<std::string> Serials() {
    std::vector<std::string> serials;
    const std::string conf = rig_.config().environment.at("SOFTHSM2_CONF");
    FILE* shown = ::popen(("SOFTHSM2_CONF=" + conf + " softhsm2-util --show-slots").c_str(), "r");
    if (shown == nullptr) return {};
    char line[256], serial[64];
    while (std::fgets(line, sizeof line, shown) != nullptr) {
      if (std::sscanf(line, " Serial number: %63s", serial) == 1) serials.emplace_back(serial);
    }
    ::pclose(shown);
    return serials;
  }
  std::string Write(const std::string& name, const std::string& text, mode_t mode) {
    const std::string path = rig_.folder() + "/" + name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }
  void ByNoPin() {
    rig_.config().pin_file.clear();
    rig_.config().pin_credential.clear();
    rig_.config().pin_command.clear();
  }
  // Whether it comes up, logged in: only then it makes keys.
  bool Works() {
    const auto backend = StartBackend(rig_.config(), rig_.surroundings());
    if (!backend.ok()) return false;
    return (*backend)->MakeWrappingKey(1).ok();
  }

  HsmRig rig_{RigKind::kSoftHsmHosted};
};

TEST_F(HsmChoice, OfTwoTokensWithOneLabelTheSerialNumberSaysWhich) {
  const std::string pin = "47110815";
  AddToken(kLabel, pin);
  const std::vector<std::string> serials = Serials();
  ASSERT_EQ(serials.size(), 2u);
  ASSERT_NE(serials[0], serials[1]);
  const auto ambiguous = StartBackend(rig_.config(), rig_.surroundings());
  ASSERT_FALSE(ambiguous.ok());
  EXPECT_NE(ambiguous.error().find("several tokens"), std::string::npos) << ambiguous.error();
  // What is made in one is not in the other.
  rig_.config().token_label.clear();
  WrappingKey made;
  for (const std::string& serial : serials) {
    rig_.config().token_serial = serial;
    const auto backend = StartBackend(rig_.config(), rig_.surroundings());
    ASSERT_TRUE(backend.ok()) << backend.error();
    if (made.reference.empty()) {
      const auto key = (*backend)->MakeWrappingKey(1);
      ASSERT_TRUE(key.ok());
      made = *key;
      EXPECT_TRUE(*(*backend)->HasWrappingKey(made.reference));
    } else {
      EXPECT_FALSE(*(*backend)->HasWrappingKey(made.reference)) << "the same token twice";
    }
  }
  rig_.config().token_serial = "00000000";
  const auto nowhere = StartBackend(rig_.config(), rig_.surroundings());
  ASSERT_FALSE(nowhere.ok());
  EXPECT_NE(nowhere.error().find("no token with serial number 00000000"), std::string::npos) << nowhere.error();
}

TEST_F(HsmChoice, TheSerialNumberAlsoChoosesAmongLabels) {
  AddToken("another label", "1234567");
  const std::vector<std::string> serials = Serials();
  ASSERT_EQ(serials.size(), 2u);
  rig_.config().token_label.clear();
  int opened = 0;
  for (const std::string& serial : serials) {
    rig_.config().token_serial = serial;
    opened += Works() ? 1 : 0;
  }
  EXPECT_EQ(opened, 1) << "the other one has another PIN";
}

TEST_F(HsmChoice, EachSourceOfAPinLogsIn) {
  const std::string pin = "47110815";
  EXPECT_TRUE(Works()) << "a file";
  ByNoPin();
  rig_.config().pin_command = {"/bin/echo", pin};
  EXPECT_TRUE(Works()) << "a command";
  ByNoPin();
  Write("hsm-pin", pin + "\n", 0400);
  rig_.config().pin_credential = "hsm-pin";
  ::setenv("CREDENTIALS_DIRECTORY", rig_.folder().c_str(), 1);
  EXPECT_TRUE(Works()) << "a credential";
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_FALSE(Works()) << "no such credential";
  ByNoPin();
  EXPECT_FALSE(Works()) << "no PIN";
}

TEST_F(HsmChoice, APinThatIsSetRightIsTakenWithoutARestart) {
  rig_.config().pin_file = Write("wrong-pin", "0000000\n", 0600);
  rig_.surroundings().may_be_away = true;
  const auto backend = StartBackend(rig_.config(), rig_.surroundings());
  ASSERT_TRUE(backend.ok()) << backend.error();
  EXPECT_FALSE((*backend)->available());
  Write("wrong-pin", "47110815\n", 0600);
  for (int i = 0; i < 600 && !(*backend)->available(); ++i) ::usleep(100'000);
  EXPECT_TRUE((*backend)->available());
  EXPECT_TRUE((*backend)->MakeWrappingKey(1).ok());
}

TEST(HsmSerialised, NoTwoCallsAreInTheModuleAtOnce) {
  HsmRig rig(RigKind::kSimulatorHosted);
  ASSERT_TRUE(rig.missing().empty()) << rig.missing();
  const std::string script = rig.folder() + "/faults";
  std::ofstream(script) << "on C_Encrypt delay 20ms\n";
  rig.config().environment["CMKD_FIRMWARE_SIM_FAULTS"] = script;
  rig.config().serialise = true;
  const auto backend = rig.Start();
  ASSERT_NE(backend, nullptr);
  KeyBench bench(*backend);
  const TestKey key = bench.Aes();
  constexpr int kThreads = 4, kEach = 4;
  const auto begun = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) EXPECT_TRUE(bench.Fingerprint(key).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(20) * kThreads * kEach)
      << "some of them were there at the same time";
}

}  // namespace
}  // namespace cmkd::daemon

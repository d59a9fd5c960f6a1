// What cmkctl writes, the daemon reads.
#include "tools/cmkctl/config_text.h"

#include <gtest/gtest.h>

#include "daemon/config/config.h"

namespace cmkd::tools {
namespace {

using daemon::Config;
using daemon::ParseConfig;

TEST(ConfigText, StringsAreQuoted) {
  EXPECT_EQ(TomlString("plain"), "\"plain\"");
  EXPECT_EQ(TomlString("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000A\"");
}

TEST(ConfigText, APrivateDaemonKeepsEverythingBesideItsFile) {
  const auto config = ParseConfig(PrivateConfig(), "/home/somebody/.cmkd/cmkd.toml");
  ASSERT_TRUE(config) << config.error().Text();
  EXPECT_EQ(config->daemon.socket, "/home/somebody/.cmkd/cmkd.sock");
  EXPECT_EQ(config->daemon.state_directory, "/home/somebody/.cmkd/state");
  EXPECT_EQ(config->daemon.socket_mode, 0600u);
}

Config Parsed(SandboxHsm hsm) {
  const auto config =
      ParseConfig(SandboxConfigText({hsm, "/tmp/a \"box\"", "/usr/lib/softhsm/libsofthsm2.so"}), "/x/cmkd.toml");
  EXPECT_TRUE(config) << config.error().Text();
  return config ? *config : Config{};
}

TEST(ConfigText, ASandboxHasOneHsmThatIsItsDefault) {
  for (const SandboxHsm hsm : {SandboxHsm::kSoftware, SandboxHsm::kFirmwareSim, SandboxHsm::kSoftHsm2}) {
    const Config config = Parsed(hsm);
    EXPECT_EQ(config.daemon.socket, "/tmp/a \"box\"/cmkd.sock");
    ASSERT_EQ(config.hsms.size(), 1u);
    EXPECT_EQ(config.tokens.default_hsm, config.hsms[0].name);
  }
}

TEST(ConfigText, AnHsmOutsideTheDaemonFindsItsDataByItsEnvironment) {
  const Config softhsm = Parsed(SandboxHsm::kSoftHsm2);
  EXPECT_EQ(softhsm.hsms[0].kind, daemon::HsmKind::kPkcs11);
  EXPECT_EQ(softhsm.hsms[0].environment.at("SOFTHSM2_CONF"), "/tmp/a \"box\"/softhsm2.conf");
  EXPECT_EQ(softhsm.hsms[0].pin_file, "/tmp/a \"box\"/hsm.pin");
  const Config simulator = Parsed(SandboxHsm::kFirmwareSim);
  EXPECT_EQ(simulator.hsms[0].kind, daemon::HsmKind::kPkcs11);
  EXPECT_EQ(simulator.hsms[0].environment.at("CMKD_FIRMWARE_SIM_DIR"), "/tmp/a \"box\"/hsm");
}

}  // namespace
}  // namespace cmkd::tools

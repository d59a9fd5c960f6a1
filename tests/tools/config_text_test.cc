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

TEST(ConfigText, SettingsGoIntoTheirTables) {
  SandboxConfig sandbox{SandboxHsm::kSoftHsm2, "/tmp/box", "/usr/lib/softhsm/libsofthsm2.so"};
  sandbox.settings = {"limits.sessions_per_application=9000",
                      "daemon.max_connections=2000",
                      "audit.strict=true",
                      "hsm.serialise=true",
                      "tokens.pin_bytes_min=6",
                      "audit.contexts=\"none\""};
  const auto config = ParseConfig(SandboxConfigText(sandbox), "/x/cmkd.toml");
  ASSERT_TRUE(config) << config.error().Text();
  EXPECT_EQ(config->limits.sessions_per_application, 9000u);
  EXPECT_EQ(config->daemon.max_connections, 2000u);
  EXPECT_TRUE(config->audit.strict);
  EXPECT_EQ(config->audit.contexts, daemon::AuditContexts::kNone);
  EXPECT_TRUE(config->hsms.at(0).serialise);
  EXPECT_EQ(config->tokens.pin_bytes_min, 6u);
  EXPECT_EQ(config->tokens.default_hsm, "softhsm2");
}

TEST(ConfigText, WhatIsNoSettingIsKnown) {
  for (const char* text : {"audit.strict=true", "a.b=\"c = d.e\"", "tokens.pin_bytes_min= 4"})
    EXPECT_TRUE(IsSetting(text)) << text;
  for (const char* text : {"", "=", ".", "audit=1", "audit.=1", ".strict=1", "audit.strict",
                           "audit.strict=", "audit.strict=true\n[daemon]", "[audit].strict=1", "audit.x.y=1",
                           "Audit.strict=1", "audit.strict =1"})
    EXPECT_FALSE(IsSetting(text)) << text;
}

}  // namespace
}  // namespace cmkd::tools

// The configuration file: the example is the defaults, and every mistake is named with its line.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "daemon/config/config.h"

namespace cmkd::daemon {
namespace {

constexpr char kFile[] = "/etc/cmkd/cmkd.toml";

Config Good(const std::string& text) {
  const auto config = ParseConfig(text, kFile);
  if (!config.ok()) ADD_FAILURE() << config.error().Text();
  return config.ok() ? *config : Config{};
}

std::string Bad(const std::string& text) {
  const auto config = ParseConfig(text, kFile);
  return config.ok() ? "accepted" : config.error().Text();
}

TEST(Config, TheExampleIsTheDefaults) {
  const auto config = LoadConfig(CMKD_SOURCE_DIR "/etc/cmkd.toml");
  ASSERT_TRUE(config.ok()) << config.error().Text();
  EXPECT_TRUE(*config == Config{});
}

TEST(Config, AnEmptyFileIsTheDefaults) { EXPECT_TRUE(Good("") == Config{}); }

// Everything that is commented out in the example must at least be right: people take the sign away and start.
TEST(Config, TheExampleShowsEveryKeyAndItsExamplesParse) {
  std::ifstream file(CMKD_SOURCE_DIR "/etc/cmkd.toml");
  std::string line, uncommented;
  while (std::getline(file, line)) {
    const bool example = line.size() > 1 && line[0] == '#' && (std::isalpha(line[1]) != 0 || line[1] == '[');
    // Of the three sources of a PIN, and the two names of a token, only one may stand; and group and user must exist here.
    for (const char* other : {"#token_serial", "#pin_credential", "#pin_command", "#socket_group", "#host_user"}) {
      if (line.starts_with(other)) line = "";
    }
    uncommented += (example && !line.empty() ? line.substr(1) : line) + "\n";
  }
  const Config config = Good(uncommented);
  ASSERT_EQ(config.hsms.size(), 2u);
  EXPECT_EQ(config.hsms[1].kind, HsmKind::kPkcs11);
  EXPECT_EQ(config.hsms[1].environment.at("SOFTHSM2_CONF"), "/etc/cmkd/softhsm2.conf");
  EXPECT_FALSE(config.hsms[1].host_program.empty());
}

TEST(Config, ReadsEveryKey) {
  const Config config = Good(R"(
[daemon]
socket = "/tmp/s"
socket_mode = 0o666
socket_group = 7
state_directory = "/tmp/state"
max_connections = 10
max_connections_per_uid = 5
frame_bytes_max = 65536
log_level = "debug"
operators = [1000, "root"]
[[hsm]]
name = "one"
kind = "firmware_sim"
directory = "/tmp/flash"
pin_credential = "pin"
[[hsm]]
name = "two"
kind = "pkcs11"
module = "libother.so"
token_serial = "0001"
pin_command = ["/bin/echo", "1234"]
serialise = true
call_seconds = 7
environment = { A = "1", B = "" }
library_options = "x"
host_program = "/bin/host"
host_user = "root"
[tokens]
default_hsm = "two"
default_profile = "managed"
bounds_profile = "aws"
deletion_window_days = 7
version_quiet_days = 12
destroy_now_approvals = 3
attempt_extends_days = 9
automatic_epochs = false
new_epoch_hours = 1
create_by_init_token = false
pin_bytes_min = 8
crypto_profile = "sm"
[audit]
strict = true
contexts = "clear"
segment_bytes = 1048576
checkpoint_records = 10
[limits]
sessions_per_application = 262144
objects_per_application = 65536
key_cache_entries = 16
login_retry_limit = 3
trial_versions = 64
)");
  Config expected;
  expected.daemon = {"/tmp/s", 0666, 7, "/tmp/state", 10, 5, 65536, LogLevel::kDebug, {1000, 0}};
  HsmConfig one;
  one.name = "one";
  one.directory = "/tmp/flash";
  one.pin_credential = "pin";
  HsmConfig two;
  two.name = "two";
  two.kind = HsmKind::kPkcs11;
  two.module = "libother.so";
  two.token_serial = "0001";
  two.pin_command = {"/bin/echo", "1234"};
  two.serialise = true;
  two.call_seconds = 7;
  two.environment = {{"A", "1"}, {"B", ""}};
  two.library_options = "x";
  two.host_program = "/bin/host";
  two.host_user = 0;
  expected.hsms = {one, two};
  expected.tokens = {"two", TokenProfile::kManaged, BoundsProfile::kAws, 7, 12, 3, 9, false, 1, false, 8,
                     CryptoProfile::kSm};
  expected.audit = {true, AuditContexts::kClear, 1048576, 10};
  expected.limits = {262144, 65536, 16, 3, 64};
  EXPECT_TRUE(config == expected);
}

TEST(Config, RelativePathsAreTakenFromTheFile) {
  const Config config = Good(R"(
[daemon]
socket = "run/cmkd.sock"
state_directory = "../state"
[[hsm]]
name = "software"
kind = "pkcs11"
module = "lib/hsm.so"
token_label = "t"
pin_file = "pin"
host_program = "./host"
)");
  EXPECT_EQ(config.daemon.socket, "/etc/cmkd/run/cmkd.sock");
  EXPECT_EQ(config.daemon.state_directory, "/etc/state");
  EXPECT_EQ(config.hsms[0].module, "/etc/cmkd/lib/hsm.so");
  EXPECT_EQ(config.hsms[0].pin_file, "/etc/cmkd/pin");
  EXPECT_EQ(config.hsms[0].host_program, "/etc/cmkd/host");
}

struct Mistake {
  const char* text;
  const char* error;  // what the message holds, after the file's name
};

class ConfigMistake : public ::testing::TestWithParam<Mistake> {};

TEST_P(ConfigMistake, IsNamedWithItsLine) {
  const std::string error = Bad(GetParam().text);
  EXPECT_TRUE(error.starts_with(kFile)) << error;
  EXPECT_NE(error.find(GetParam().error), std::string::npos) << error;
}

constexpr char kTwoHsms[] = "[[hsm]]\nname=\"a\"\nkind=\"firmware_sim\"\n[[hsm]]\nname=\"a\"\nkind=\"firmware_sim\"\n";

INSTANTIATE_TEST_SUITE_P(
    Each, ConfigMistake,
    ::testing::Values(
        Mistake{"[daemon]\nsokket = \"x\"", "toml:2:1: unknown key sokket; [daemon] has: socket, socket_mode"},
        Mistake{"x = 1", "toml:1:1: unknown key x; the file has: daemon, hsm, tokens, audit, limits"},
        Mistake{"[damon]", "unknown key damon"}, Mistake{"daemon = 1", ":1:10: daemon must be a table headed [daemon]"},
        Mistake{"[daemon]\nsocket = ", "toml:2:"}, Mistake{"[daemon]\n\nsocket = 5", ":3:10: socket must be a text"},
        Mistake{"[daemon]\nsocket = \"\"", "socket must be a text that is not empty"},
        Mistake{"[daemon]\nsocket_mode = 0o1777", "socket_mode must be a whole number from 0 to 511"},
        Mistake{"[daemon]\nmax_connections = 0", ":2:19: max_connections must be a whole number from 1 to 100000"},
        Mistake{"[daemon]\nmax_connections = 1.5", "max_connections must be a whole number"},
        Mistake{"[daemon]\nmax_connections = -1", "max_connections must be a whole number"},
        Mistake{"[daemon]\nmax_connections = \"9\"", "max_connections must be a whole number"},
        Mistake{"[daemon]\nmax_connections = 100", "max_connections_per_uid must be at most max_connections"},
        Mistake{"[daemon]\nframe_bytes_max = 65535", "frame_bytes_max must be a whole number from 65536 to 67174400"},
        Mistake{"[daemon]\nlog_level = \"loud\"", "log_level must be one of: error, warning, notice, info, debug"},
        Mistake{"[daemon]\noperators = \"root\"", "operators must be a list"},
        Mistake{"[daemon]\noperators = [\"no-such-user-here\"]", "which does not exist"},
        Mistake{"[daemon]\noperators = [-1]", "operators must be a user's name or number"},
        Mistake{"[daemon]\nsocket_group = \"no-such-group-here\"", "which does not exist"},
        Mistake{"[hsm]\nname = \"a\"", "hsm must be tables headed [[hsm]]"}, Mistake{"hsm = []", "headed [[hsm]]"},
        Mistake{"[[hsm]]\nkind = \"firmware_sim\"", "name must be 1 to 64 letters"},
        Mistake{"[[hsm]]\nname = \"a/b\"\nkind = \"firmware_sim\"", "name must be 1 to 64 letters"},
        Mistake{"[[hsm]]\nname = \"software\"", "kind is missing"},
        Mistake{"[[hsm]]\nname = \"software\"\nkind = \"tpm\"", "kind must be one of: firmware_sim, pkcs11"},
        Mistake{"[[hsm]]\nname = \"software\"\nkind = \"pkcs11\"\ntoken_label = \"t\"", "module is missing"},
        Mistake{"[[hsm]]\nname = \"software\"\nkind = \"pkcs11\"\nmodule = \"m.so\"",
                "token_serial must say which token"},
        Mistake{"[[hsm]]\nname = \"software\"\nkind = \"firmware_sim\"\nmodule = \"m\"",
                ":4:10: module belongs to kind = \"pkcs11\""},
        Mistake{"[[hsm]]\nname = \"software\"\nkind = \"firmware_sim\"\npin = \"1234\"",
                ":4:1: pin has no place in this file"},
        Mistake{"[[hsm]]\nname = \"software\"\nkind = \"firmware_sim\"\npin_file = \"a\"\npin_credential = \"b\"",
                "pin_credential cannot stand beside pin_file"},
        Mistake{"[[hsm]]\nname = \"software\"\nkind = \"firmware_sim\"\npin_command = [\"echo\"]",
                "begins with the path of a program"},
        Mistake{"[[hsm]]\nname = \"software\"\nkind = \"firmware_sim\"\npin_command = \"echo\"",
                "pin_command must be a list"},
        Mistake{"[[hsm]]\nname = \"software\"\nkind = \"firmware_sim\"\npin_credential = \"/a\"",
                "must be the name of a credential"},
        Mistake{
            "[[hsm]]\nname = \"s\"\nkind = \"pkcs11\"\nmodule = \"m\"\ntoken_label = \"t\"\nenvironment = { A = 1 }",
            "environment must be a table of texts"},
        Mistake{kTwoHsms, "name is that of another [[hsm]]"},
        Mistake{"[tokens]\ndefault_hsm = \"other\"", ":2:15: default_hsm is other, and no [[hsm]] has that name"},
        Mistake{"[tokens]\ndefault_profile = \"aws\"", "must be one of: general, managed"},
        Mistake{"[tokens]\nbounds_profile = \"gcp\"", "must be one of: default, tencent, alibaba, aws"},
        Mistake{"[tokens]\ndeletion_window_days = 6", "from 7 to 366"},
        Mistake{"[tokens]\nattempt_extends_days = 3", "at least the shortest waiting period"},
        Mistake{"[tokens]\nbounds_profile = \"aws\"\ndeletion_window_days = 31", "from 7 to 30"},
        Mistake{"[tokens]\npin_bytes_min = 3", "from 4 to 255"},
        Mistake{"[tokens]\ncreate_by_init_token = 1", "true or false"},
        Mistake{"[audit]\nsegment_bytes = 262143", "from 262144 to 268435456"},
        Mistake{"[audit]\ncheckpoint_records = 0", "from 1 to"}, Mistake{"[audit]\nstrict = \"yes\"", "true or false"},
        Mistake{"[limits]\ntrial_versions = 65", "from 1 to 64"},
        Mistake{"[limits]\nlogin_retry_limit = 0", "from 1 to 1000"},
        Mistake{"[limits]\nsessions_per_application = 262145", "from 1 to 262144"},
        Mistake{"[limits]\nobjects_per_application = 65537", "from 1 to 65536"},
        Mistake{"[limits]\nkey_cache_entries = 15", "from 16 to"},
        Mistake{"[daemon]\nmax_connections = 1024\nmax_connections = 1024", "toml:3:"}));

TEST(Config, TheSocketsPathMustFitIntoAnAddress) {
  EXPECT_EQ(Good("[daemon]\nsocket = \"/" + std::string(106, 's') + "\"").daemon.socket.size(), 107u);
  EXPECT_NE(Bad("[daemon]\nsocket = \"/" + std::string(107, 's') + "\"").find("at most 107 bytes"), std::string::npos);
}

TEST(Config, AMissingFileIsAnErrorAboutTheFile) {
  const auto config = LoadConfig("/nonexistent/cmkd.toml");
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.error().Text(), "/nonexistent/cmkd.toml: cannot be read");
}

}  // namespace
}  // namespace cmkd::daemon

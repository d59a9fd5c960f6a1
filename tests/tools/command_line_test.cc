// What may be typed and what may not; what needs no daemon.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/tools/cmkctl_fixture.h"
#include "tools/cmkctl/document.h"

namespace cmkd::tests {
namespace {

using testing::HasSubstr;
using testing::Not;
using CommandLine = CmkctlTest;

TEST_F(CommandLine, MistakesEndWithStatusTwoAndAHint) {
  const std::vector<std::vector<std::string>> mistakes = {
      {},
      {"nonsense"},
      {"key"},
      {"key", "create"},
      {"key", "create", "--name", "x", "--usage", "everything"},
      {"key", "create", "--name", "x", "--rotation-days", "-1"},
      {"key", "show"},
      {"key", "show", "a", "b"},
      {"key", "list", "--limit", "0"},
      {"key", "list", "--limit", "5", "--all"},
      {"key", "disable", "x", "--days", "7"},
      {"token", "create"},
      {"token", "create", "--label", "x", "--profile", "other"},
      {"token", "create", "--label", "x", "--pin", "1234"},
      {"audit", "verify"},
      {"audit", "verify", "--directory", "/tmp", "--anchor", "12"},
      {"init"},
      {"sandbox"},
      {"sandbox", "--"},
      {"sandbox", "--hsm", "other", "--", "true"},
      {"sandbox", "--set", "strict", "--", "true"},
      {"sandbox", "--restart-graceful", "--", "true"},
      {"sandbox", "--label", std::string(33, 'x'), "--", "true"},
      {"status", "--unknown"},
      {"status", "--", "true"},
      {"explain", "nothing-of-that-name"},
  };
  for (const auto& arguments : mistakes) {
    const Printed printed = RunPlain(arguments);
    EXPECT_EQ(printed.status, 2) << testing::PrintToString(arguments);
    EXPECT_EQ(printed.out, "");
    EXPECT_THAT(printed.err, HasSubstr("remedy")) << testing::PrintToString(arguments);
  }
}

TEST_F(CommandLine, MistakesAreJsonWhenAskedFor) {
  const Printed printed = RunPlain({"--json", "key", "create"});
  const auto value = tools::Value::Parse(printed.err);
  ASSERT_TRUE(value) << printed.err;
  EXPECT_EQ(value->At("error").Text("code"), "USAGE");
  EXPECT_EQ(value->At("error").Text("remedy"), "See cmkctl key create --help.");
}

TEST_F(CommandLine, EveryCommandHasHelpWithExamples) {
  const std::vector<std::vector<std::string>> commands = {
      {"status"},
      {"explain"},
      {"init"},
      {"version"},
      {"sandbox"},
      {"token", "list"},
      {"token", "create"},
      {"token", "set"},
      {"key", "create"},
      {"key", "bulk"},
      {"key", "register"},
      {"key", "release"},
      {"ciphertext", "re-encrypt-all"},
      {"key", "list"},
      {"key", "show"},
      {"key", "enable"},
      {"key", "disable"},
      {"key", "rotate"},
      {"audit", "show"},
      {"audit", "verify"},
      {"key", "schedule-deletion"},
      {"key", "cancel-deletion"},
  };
  for (std::vector<std::string> arguments : commands) {
    arguments.emplace_back("--help");
    const Printed printed = RunPlain(arguments);
    EXPECT_EQ(printed.status, 0) << testing::PrintToString(arguments);
    EXPECT_THAT(printed.out, HasSubstr("Examples:\n  cmkctl ")) << testing::PrintToString(arguments);
  }
  EXPECT_THAT(RunPlain({"--help"}).out, HasSubstr("sandbox"));
}

TEST_F(CommandLine, WithoutADaemonTheStatusIsThree) {
  const Printed printed = Run({"status"});
  EXPECT_EQ(printed.status, 3);
  EXPECT_THAT(printed.err, HasSubstr("NO_DAEMON: There is no socket " + socket()));
  ::setenv("CMKD_SOCKET", In("other").c_str(), 1);
  EXPECT_THAT(RunPlain({"status"}).err, HasSubstr(In("other")));
  ::unsetenv("CMKD_SOCKET");
  const Printed too_long = RunPlain({"--socket", "/" + std::string(200, 'x'), "status"});
  EXPECT_EQ(too_long.status, 2);
}

TEST_F(CommandLine, ExplainFindsNamesHoweverTheyAreWrittenAndNumbers) {
  for (const char* code : {"KEY_DISABLED", "key-disabled", "Key Disabled"}) {
    const Printed printed = RunPlain({"explain", code});
    EXPECT_EQ(printed.status, 0) << code;
    EXPECT_THAT(printed.out, HasSubstr("Enable the key.")) << code;
  }
  for (const char* code : {"CKR_PIN_INCORRECT", "pin_incorrect", "0xA0", "160"}) {
    EXPECT_THAT(RunPlain({"explain", code}).out, HasSubstr("CKR_PIN_INCORRECT")) << code;
  }
  // A number may be both.
  EXPECT_THAT(RunPlain({"explain", "3"}).out,
              testing::AllOf(HasSubstr("KEY_DISABLED"), HasSubstr("CKR_SLOT_ID_INVALID")));
  EXPECT_THAT(RunPlain({"explain", "DENIED"}).out, HasSubstr("ulDeviceError"));
  EXPECT_THAT(RunPlain({"explain", "pin"}).err,
              testing::AllOf(HasSubstr("CKR_PIN_LOCKED"), Not(HasSubstr("UNWRAPPING"))));
}

TEST_F(CommandLine, ExplainWithoutACodeShowsThemAll) {
  const Printed printed = RunPlain({"--json", "explain"});
  const auto value = tools::Value::Parse(printed.out);
  ASSERT_TRUE(value);
  EXPECT_GT(value->Items("meanings").size(), 100u);
}

TEST_F(CommandLine, InitWritesAConfigurationOnce) {
  const Printed first = RunPlain({"init", "--directory", In("private")});
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("CMKD_SOCKET=" + In("private/cmkd.sock")));
  EXPECT_THAT(ReadFile(In("private/cmkd.toml")), HasSubstr("state_directory = \"state\""));
  struct stat status {};
  ASSERT_EQ(::stat(In("private").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  const Printed second = RunPlain({"init", "--directory", In("private")});
  EXPECT_EQ(second.status, 1);
  EXPECT_THAT(second.err, HasSubstr("never written over"));
}

TEST_F(CommandLine, VersionNeedsNobody) {
  EXPECT_THAT(RunPlain({"version"}).out, testing::StartsWith("cmkctl "));
  EXPECT_EQ(tools::Value::Parse(RunPlain({"version", "--json"}).out)->Text("cryptoki"), "3.2");
}

}  // namespace
}  // namespace cmkd::tests

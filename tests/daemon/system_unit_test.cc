// The service's unit file: as closed as systemd can judge, and open where the daemon needs it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace cmkd::daemon {
namespace {

constexpr char kUnit[] = CMKD_SOURCE_DIR "/packaging/systemd/cmkd.service";

// "0.5", of 10: security-catalogue 2.2 asks for 1.0 or better.
TEST(Unit, ScoresOneOrBetter) {
  const std::string command = std::string("systemd-analyze security --no-pager --offline=yes --threshold=10 ") + kUnit;
  EXPECT_EQ(std::system((command + " > /dev/null").c_str()), 0) << command;
}

TEST(Unit, LeavesUsersApartAndMemoryLockable) {
  std::ifstream file(kUnit);
  std::ostringstream text;
  text << file.rdbuf();
  for (const char* line : {"PrivateUsers=no", "LimitMEMLOCK=infinity", "Type=notify", "StateDirectoryMode=0700"}) {
    EXPECT_NE(text.str().find(std::string("\n") + line + "\n"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace cmkd::daemon

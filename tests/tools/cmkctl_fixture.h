// Runs cmkctl in this process and keeps what it printed; a directory of its own for each test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tools/cmkctl/cmkctl.h"

namespace cmkd::tests {

struct Printed {
  int status = -1;
  std::string out;
  std::string err;
};

class CmkctlTest : public testing::Test {
 protected:
  CmkctlTest() {
    std::string path = (std::filesystem::temp_directory_path() / "cmkctl-test.XXXXXX").string();
    if (::mkdtemp(path.data()) != nullptr) directory_ = path;
    for (const char* name : {"CMKD_SOCKET", "CMKD_PIN", "CMKD_SO_PIN"}) ::unsetenv(name);
    // Times are shown in the zone of the process.
    ::setenv("TZ", "UTC", 1);
  }
  ~CmkctlTest() override { std::filesystem::remove_all(directory_); }

  std::string In(const std::string& name) const { return directory_ + '/' + name; }
  std::string socket() const { return In("cmkd.sock"); }

  // Without --socket.
  static Printed RunPlain(const std::vector<std::string>& arguments) {
    std::ostringstream out;
    std::ostringstream err;
    const int status = tools::RunCmkctl(arguments, out, err);
    return {status, out.str(), err.str()};
  }
  Printed Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"--socket", socket()});
    return RunPlain(arguments);
  }

  std::string WriteFile(const std::string& name, const std::string& text) const {
    std::ofstream(In(name)) << text;
    std::filesystem::permissions(In(name), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return In(name);
  }

 private:
  std::string directory_;
};

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace cmkd::tests

// Who belongs to the daemon.
#include "tests/faults/program.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace cmkd::tests {

std::vector<int> FaultProgram::Hosts() const {
  std::vector<int> hosts;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string text;
    std::getline(file, text);
    const std::size_t end = text.rfind(')');
    if (end == std::string::npos || text.find("(cmkd-hsm-host") == std::string::npos) continue;
    char state = 0;
    int parent = 0;
    const bool read = std::sscanf(text.c_str() + end + 1, " %c %d", &state, &parent) == 2;
    if (read && parent == daemon_ && state != 'Z') hosts.push_back(std::stoi(pid));
  }
  return hosts;
}

}  // namespace cmkd::tests

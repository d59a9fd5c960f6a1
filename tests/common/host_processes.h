// The HSM hosts that a process has started, as the system shows them: for tests that kill them.
#pragma once

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace cmkd::tests {

// Process numbers of the living cmkd-hsm-host whose parent is `parent`.
inline std::vector<int> HostsOf(int parent) {
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
    int its_parent = 0;
    const bool read = std::sscanf(text.c_str() + end + 1, " %c %d", &state, &its_parent) == 2;
    if (read && its_parent == parent && state != 'Z') hosts.push_back(std::stoi(pid));
  }
  return hosts;
}

}  // namespace cmkd::tests

// cmkctl sandbox: a throw-away daemon with a fresh token around one command.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/cmkctl/commands.h"
#include "tools/cmkctl/config_text.h"

namespace cmkd::tools {

struct SandboxOptions {
  std::vector<std::string> command;
  std::string label = "cmkd-sandbox";
  std::string profile = "general";
  SandboxHsm hsm = SandboxHsm::kSoftware;
  std::string faults;                  // a script for the simulated device; only with kFirmwareSim
  std::uint32_t hsm_call_seconds = 0;  // how long the module may take for a call; 0: the daemon's own
  std::vector<std::string> settings;   // more of its configuration (IsSetting)
  bool keep = false;
  std::uint32_t restart_after_ms = 0;  // 0: never; otherwise again and again
  bool restart_graceful = false;
};

// The sandbox itself failed: nothing is known of the command.
inline constexpr int kSandboxFailed = 125;

// Runs the command in a sandbox and gives its exit status, 128 and the number when a signal ended it, or
// kSandboxFailed.
int Sandbox(const Context& context, const SandboxOptions& options);

}  // namespace cmkd::tools

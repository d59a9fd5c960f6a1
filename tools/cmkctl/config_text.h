// The text of a daemon's configuration file (cmkd.toml(5)) for the two cases in which cmkctl writes one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cmkd::tools {

// `text` as a TOML basic string, with its quotes.
std::string TomlString(std::string_view text);

// A commented file for a private daemon that keeps everything beside it.
std::string PrivateConfig();

// What a sandbox's tokens are made on.
enum class SandboxHsm {
  kSoftware,     // the simulated HSM inside the daemon
  kFirmwareSim,  // the same simulator as a module in a process of its own, as a device would be
  kSoftHsm2,
};

struct SandboxConfig {
  SandboxHsm hsm = SandboxHsm::kSoftware;
  std::string directory;                // of the sandbox
  std::string hsm_module;               // the PKCS#11 module behind kFirmwareSim and kSoftHsm2
  bool faults = false;                  // whether kFirmwareSim has a script of faults (kSandboxFaults)
  std::uint32_t hsm_call_seconds = 0;   // call_seconds of a module; 0: the daemon's own
  std::vector<std::string> settings{};  // more of the file, each "TABLE.KEY=VALUE" (IsSetting)
};

// Whether `text` is TABLE.KEY=VALUE, where table and key are bare words and the value one line. The daemon says what it
// thinks of them.
bool IsSetting(std::string_view text);

// The names of what a sandbox's directory holds.
inline constexpr char kSandboxConfigFile[] = "cmkd.toml";
inline constexpr char kSandboxSocket[] = "cmkd.sock";
inline constexpr char kSandboxLog[] = "cmkd.log";
inline constexpr char kSandboxPidFile[] = "cmkd.pid";
inline constexpr char kSandboxState[] = "state";
inline constexpr char kSandboxHsmData[] = "hsm";  // where the HSM's module keeps its token
inline constexpr char kSandboxHsmPinFile[] = "hsm.pin";
inline constexpr char kSandboxHsmSocket[] = "hsm.sock";  // while the HSM's token is made
inline constexpr char kSandboxFaults[] = "faults";       // the script, which may be changed while the sandbox lives
inline constexpr char kSoftHsmConfigFile[] = "softhsm2.conf";
// The label of the token inside the HSM.
inline constexpr char kSandboxHsmLabel[] = "cmkd-hsm";

// The variable that tells the HSM's module where its data is, and its value.
std::pair<std::string, std::string> HsmEnvironment(SandboxHsm hsm, const std::string& directory);

std::string SandboxConfigText(const SandboxConfig& config);

}  // namespace cmkd::tools

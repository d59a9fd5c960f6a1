// The text of a daemon's configuration file (cmkd.toml(5)) for the two cases in which cmkctl writes one.
#pragma once

#include <string>
#include <string_view>

namespace cmkd::tools {

// `text` as a TOML basic string, with its quotes.
std::string TomlString(std::string_view text);

// A commented file for a private daemon that keeps everything beside it.
std::string PrivateConfig();

// What a sandbox's tokens are made on.
enum class SandboxHsm { kSoftware, kFirmwareSim, kSoftHsm2 };

struct SandboxConfig {
  SandboxHsm hsm = SandboxHsm::kSoftware;
  std::string directory;       // of the sandbox; relative names below are in it
  std::string softhsm_module;  // kSoftHsm2 only
};

// The names of what a sandbox's directory holds.
inline constexpr char kSandboxConfigFile[] = "cmkd.toml";
inline constexpr char kSandboxSocket[] = "cmkd.sock";
inline constexpr char kSandboxLog[] = "cmkd.log";
inline constexpr char kSandboxPidFile[] = "cmkd.pid";
inline constexpr char kSandboxState[] = "state";
inline constexpr char kSoftHsmConfigFile[] = "softhsm2.conf";
inline constexpr char kSoftHsmTokens[] = "softhsm2";
inline constexpr char kSoftHsmPinFile[] = "softhsm2.pin";
inline constexpr char kSoftHsmLabel[] = "cmkd-hsm";

std::string SandboxConfigText(const SandboxConfig& config);

}  // namespace cmkd::tools

// Configuration files as text.
#include "tools/cmkctl/config_text.h"

#include <cstdint>
#include <map>

namespace cmkd::tools {

namespace {

std::string Line(std::string_view key, std::string_view text) {
  return std::string(key) + " = " + TomlString(text) + '\n';
}

std::string_view HsmName(SandboxHsm hsm) {
  switch (hsm) {
    case SandboxHsm::kSoftware: return "software";
    case SandboxHsm::kFirmwareSim: return "firmware_sim";
    case SandboxHsm::kSoftHsm2: return "softhsm2";
  }
  return {};
}

std::string HsmTable(const SandboxConfig& config) {
  const std::string table = "[[hsm]]\n" + Line("name", HsmName(config.hsm));
  if (config.hsm == SandboxHsm::kSoftware) return table + "kind = \"firmware_sim\"\n";
  const auto [variable, value] = HsmEnvironment(config.hsm, config.directory);
  const std::string faults =
      config.faults ? ", CMKD_FIRMWARE_SIM_FAULTS = " + TomlString(config.directory + '/' + kSandboxFaults) : "";
  const std::string patience =
      config.hsm_call_seconds == 0 ? "" : "call_seconds = " + std::to_string(config.hsm_call_seconds) + "\n";
  return table + "kind = \"pkcs11\"\n" + patience + Line("module", config.hsm_module) +
         Line("token_label", kSandboxHsmLabel) + Line("pin_file", config.directory + '/' + kSandboxHsmPinFile) +
         "environment = { " + variable + " = " + TomlString(value) + faults + " }\n";
}

}  // namespace

std::string TomlString(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7F) {
      quoted += std::string("\\u00") + kDigits[byte >> 4] + kDigits[byte & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::pair<std::string, std::string> HsmEnvironment(SandboxHsm hsm, const std::string& directory) {
  switch (hsm) {
    case SandboxHsm::kSoftware: break;
    case SandboxHsm::kFirmwareSim: return {"CMKD_FIRMWARE_SIM_DIR", directory + '/' + kSandboxHsmData};
    case SandboxHsm::kSoftHsm2: return {"SOFTHSM2_CONF", directory + '/' + kSoftHsmConfigFile};
  }
  return {};
}

bool IsSetting(std::string_view text) {
  const std::size_t dot = text.find('.');
  const std::size_t equals = text.find('=');
  const auto bare = [](std::string_view word) {
    return !word.empty() && word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == word.npos;
  };
  return equals != text.npos && dot < equals && bare(text.substr(0, dot)) &&
         bare(text.substr(dot + 1, equals - dot - 1)) && equals + 1 < text.size() &&
         text.find_first_of("\r\n") == text.npos;
}

std::string SandboxConfigText(const SandboxConfig& config) {
  const std::string base = config.directory + '/';
  // A table is begun once; what else is set in it follows there.
  std::map<std::string, std::string> more;
  for (const std::string& setting : config.settings) {
    const std::size_t dot = setting.find('.');
    more[setting.substr(0, dot)] += setting.substr(dot + 1) + '\n';
  }
  const auto take = [&](const char* table) {
    const auto found = more.extract(table);
    return found.empty() ? std::string() : found.mapped();
  };
  std::string text = "# A throw-away daemon of cmkctl sandbox.\n[daemon]\n" + Line("socket", base + kSandboxSocket) +
                     "socket_mode = 0o600\n" + Line("state_directory", base + kSandboxState) + take("daemon") + '\n' +
                     HsmTable(config) + take("hsm") + "\n[tokens]\n" + Line("default_hsm", HsmName(config.hsm)) +
                     take("tokens");
  for (const auto& [table, lines] : more) text += "\n[" + table + "]\n" + lines;
  return text;
}

std::string PrivateConfig() {
  return R"(# Configuration of a private cmkd, written by "cmkctl init". cmkd.toml(5) explains every setting; what is
# commented out here shows the default. Relative paths start at this file's directory.

[daemon]
# Where applications and cmkctl connect: set CMKD_SOCKET to its full path.
socket = "cmkd.sock"
# Keys (wrapped by the HSM), tokens and the audit log. Back it up as a whole, with the daemon stopped.
state_directory = "state"
# Nobody but this user may connect.
socket_mode = 0o600
# log_level = "info"

# Where key material lives. Without a table like this there is one simulated HSM inside the daemon, named "software".
# A real HSM, or SoftHSM2, by its PKCS#11 module:
# [[hsm]]
# name = "softhsm2"
# kind = "pkcs11"
# module = "/usr/lib/softhsm/libsofthsm2.so"
# token_label = "cmkd-hsm"
# pin_file = "softhsm2.pin"

[tokens]
# "general": a plain PKCS#11 token. "managed": its keys follow the rules of a key management service.
# default_profile = "general"
# Days that a key waits between the order to delete it and its destruction.
# deletion_window_days = 30
)";
}

}  // namespace cmkd::tools

// Everything an operator may set, as one struct with its defaults, and the one way to read it from a file. The
// commented example is etc/cmkd.toml; a test holds the two together.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/limits.h"
#include "common/result.h"
#include "daemon/system/log.h"
#include "keystore/cmk/bounds.h"
#include "keystore/cmk/cmk.h"

namespace cmkd::daemon {

// [daemon]
struct DaemonConfig {
  std::string socket = "/run/cmkd/cmkd.sock";
  std::uint32_t socket_mode = 0660;
  std::optional<std::uint32_t>
      socket_group;  // group names of the file are resolved here; nothing: the daemon's own group
  std::string state_directory = "/var/lib/cmkd";
  std::uint32_t max_connections = 1024;
  std::uint32_t max_connections_per_uid = 512;
  std::uint32_t frame_bytes_max = limits::kFrameBytesMax;
  LogLevel log_level = LogLevel::kInfo;
  // Who may use administrative calls besides root and the daemon's own user; user names of the file are resolved here.
  std::vector<std::uint32_t> operators;
  bool operator==(const DaemonConfig&) const = default;
};

// [[hsm]]
enum class HsmKind : std::uint8_t { kFirmwareSim, kPkcs11 };

struct HsmConfig {
  std::string name = "software";
  HsmKind kind = HsmKind::kFirmwareSim;
  // firmware_sim: where its flash lives; empty: <state_directory>/hsm/<name>.
  std::string directory;
  // pkcs11: the module (a bare name is left to the dynamic linker) and the token in it, found by label or by serial
  // number (exactly one of the two).
  std::string module;
  std::string token_label;
  std::string token_serial;
  // Where the PIN comes from: at most one. A file; a systemd credential (LoadCredential=); a command's first line of
  // output.
  std::string pin_file;
  std::string pin_credential;
  std::vector<std::string> pin_command;
  // pkcs11: one call at a time, for modules that are not thread safe.
  bool serialise = false;
  // pkcs11: how long the module may take for one call, in seconds; five times that for one that makes keys.
  std::uint32_t call_seconds = 60;
  // pkcs11: environment of the host process, such as SOFTHSM2_CONF; nothing else is inherited.
  std::map<std::string, std::string> environment;
  // pkcs11: pReserved of C_Initialize, as NSS's softokn wants it.
  std::string library_options;
  // pkcs11: the program that loads the module; empty: the cmkd-hsm-host that was installed with the daemon.
  std::string host_program;
  // pkcs11: the user that the host becomes before it loads the module; names of the file are resolved here; nothing:
  // the daemon's own.
  std::optional<std::uint32_t> host_user;
  bool operator==(const HsmConfig&) const = default;
};

// [tokens]
using cmk::BoundsProfile;
using cmk::TokenProfile;

// What imported material may be: 32 bytes of AES, 16 bytes of SM4, or both and shorter AES keys.
enum class CryptoProfile : std::uint8_t { kAny, kAes, kSm };

struct TokensConfig {
  std::string default_hsm = "software";
  TokenProfile default_profile = TokenProfile::kGeneral;
  BoundsProfile bounds_profile = BoundsProfile::kDefault;
  std::uint32_t deletion_window_days = 30;
  // A version may be destroyed alone when it was not used for so long; of new tokens.
  std::uint32_t version_quiet_days = 30;
  // How many operators (different users) must ask for a destruction without the waiting period; 0: there is none.
  std::uint32_t destroy_now_approvals = 2;
  // Whoever wants a key that waits for its deletion puts it off: to so many days from then. 0: only an alarm.
  std::uint32_t attempt_extends_days = 0;
  // After destructions a new wrapping key follows, so that no copy of the store brings back what was destroyed: so many
  // hours after the first of them.
  bool automatic_epochs = true;
  std::uint32_t new_epoch_hours = 24;
  // Shows an uninitialised slot, so that C_InitToken makes a token.
  bool create_by_init_token = true;
  std::uint32_t pin_bytes_min = 4;
  CryptoProfile crypto_profile = CryptoProfile::kAny;
  bool operator==(const TokensConfig&) const = default;
};

// [audit]

// How encryption contexts stand in the audit: not at all, as a keyed hash, or as they are.
enum class AuditContexts : std::uint8_t { kNone, kHash, kClear };

struct AuditConfig {
  bool strict = false;
  AuditContexts contexts = AuditContexts::kHash;
  std::uint64_t segment_bytes = 64 << 20;
  std::uint32_t checkpoint_records = 1000;
  bool operator==(const AuditConfig&) const = default;
};

// [limits]
struct LimitsConfig {
  std::uint32_t sessions_per_application = 4096;
  std::uint32_t objects_per_application = 10000;
  std::uint32_t key_cache_entries = 4096;
  std::uint32_t login_retry_limit = 10;
  std::uint32_t trial_versions = 8;
  bool operator==(const LimitsConfig&) const = default;
};

struct Config {
  DaemonConfig daemon;
  std::vector<HsmConfig> hsms = {HsmConfig{}};  // the file's [[hsm]] tables replace this one
  TokensConfig tokens;
  AuditConfig audit;
  LimitsConfig limits;
  bool operator==(const Config&) const = default;
};

// Where the file is wrong, and what would be right.
struct ConfigError {
  std::string file;
  std::uint32_t line = 0;  // 0: the file as a whole
  std::uint32_t column = 0;
  std::string what;
  // "file:line:column: what", for a terminal.
  std::string Text() const;
};

// Reads the file at `path`. Every unknown key, wrong type, value out of bounds and contradiction is an error; relative
// paths are taken from the file's folder. PINs have no place in the file and are refused by name.
Result<Config, ConfigError> LoadConfig(const std::string& path);

// The same for text; `path` names it in errors and is the base of relative paths.
Result<Config, ConfigError> ParseConfig(std::string_view text, const std::string& path);

}  // namespace cmkd::daemon

// The one parser of the configuration. Which keys there are, and what each may be, is written once: in the Read
// functions below. Unknown keys are found by what those functions asked for.
#include "daemon/config/config.h"

#include <grp.h>
#include <pwd.h>
#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <span>
#include <sstream>

#include "daemon/audit/audit_log.h"
#include "daemon/crypto/pin.h"

namespace cmkd::daemon {
namespace {

constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * kKiB;
constexpr std::size_t kSocketPathMax = 107;  // sun_path, less its final zero

template <class T>
struct Choice {
  std::string_view name;
  T value;
};

constexpr Choice<LogLevel> kLogLevels[] = {{"error", LogLevel::kError},
                                           {"warning", LogLevel::kWarning},
                                           {"notice", LogLevel::kNotice},
                                           {"info", LogLevel::kInfo},
                                           {"debug", LogLevel::kDebug}};
constexpr Choice<HsmKind> kHsmKinds[] = {{"firmware_sim", HsmKind::kFirmwareSim}, {"pkcs11", HsmKind::kPkcs11}};
constexpr Choice<TokenProfile> kTokenProfiles[] = {{"general", TokenProfile::kGeneral},
                                                   {"managed", TokenProfile::kManaged}};
constexpr Choice<AuditContexts> kAuditContexts[] = {
    {"none", AuditContexts::kNone}, {"hash", AuditContexts::kHash}, {"clear", AuditContexts::kClear}};
constexpr Choice<CryptoProfile> kCryptoProfiles[] = {
    {"any", CryptoProfile::kAny}, {"aes", CryptoProfile::kAes}, {"sm", CryptoProfile::kSm}};

// The file being read: its name, and the first thing that is wrong with it.
struct File {
  std::string path;
  std::optional<ConfigError> error;

  void Refuse(const toml::source_position& where, std::string what) {
    if (!error) error = ConfigError{path, where.line, where.column, std::move(what)};
  }
  std::string Resolve(const std::string& name) const {
    if (name.empty()) return name;
    return (std::filesystem::path(path).parent_path() / name).lexically_normal().string();
  }
};

std::string Join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// User and group names as the system knows them. The parser runs before any thread, so the plain calls will do.
std::optional<std::uint32_t> UserNamed(const std::string& name) {
  const passwd* const entry = ::getpwnam(name.c_str());  // NOLINT(concurrency-mt-unsafe)
  if (entry == nullptr) return std::nullopt;
  return entry->pw_uid;
}

std::optional<std::uint32_t> GroupNamed(const std::string& name) {
  const group* const entry = ::getgrnam(name.c_str());  // NOLINT(concurrency-mt-unsafe)
  if (entry == nullptr) return std::nullopt;
  return entry->gr_gid;
}

// One table of the file. Each call below reads one key if it is there, leaves the default if not, and remembers the
// name.
class Section {
 public:
  Section(File& file, const toml::table& table, std::string title)
      : file_(file), table_(table), title_(std::move(title)) {}

  bool Has(std::string_view key) const { return table_.contains(key); }
  toml::source_position Where(std::string_view key) const {
    const toml::node* const node = table_.get(key);
    return node != nullptr ? node->source().begin : table_.source().begin;
  }
  void Refuse(std::string_view key, const std::string& what) {
    file_.Refuse(Where(key), std::string(key) + " " + what);
  }

  void Boolean(std::string_view key, bool& target) {
    if (const toml::node* const node = Take(key)) {
      if (!node->is_boolean()) return Refuse(key, "must be true or false");
      target = **node->as_boolean();
    }
  }

  template <class T>
  void Integer(std::string_view key, T& target, std::uint64_t least, std::uint64_t most) {
    if (const toml::node* const node = Take(key)) {
      const std::int64_t value = node->is_integer() ? **node->as_integer() : -1;
      if (value < 0 || static_cast<std::uint64_t>(value) < least || static_cast<std::uint64_t>(value) > most) {
        return Refuse(key, "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most));
      }
      target = static_cast<T>(value);
    }
  }

  void Text(std::string_view key, std::string& target) {
    if (const toml::node* const node = Take(key)) {
      if (!node->is_string() || node->as_string()->get().empty())
        return Refuse(key, "must be a text that is not empty");
      target = node->as_string()->get();
    }
  }

  // Relative to the file's folder.
  void Path(std::string_view key, std::string& target) {
    std::string path;
    Text(key, path);
    if (!path.empty()) target = file_.Resolve(path);
  }

  template <class T>
  void OneOf(std::string_view key, T& target, std::span<const Choice<T>> choices) {
    std::string name;
    Text(key, name);
    if (name.empty()) return;
    std::vector<std::string> names;
    for (const Choice<T>& choice : choices) {
      if (choice.name == name) {
        target = choice.value;
        return;
      }
      names.emplace_back(choice.name);
    }
    Refuse(key, "must be one of: " + Join(names));
  }

  void Texts(std::string_view key, std::vector<std::string>& target) {
    if (const toml::node* const node = Take(key)) {
      const toml::array* const array = node->as_array();
      if (array == nullptr) return Refuse(key, "must be a list of texts");
      for (const toml::node& element : *array) {
        if (!element.is_string()) return Refuse(key, "must be a list of texts");
        target.push_back(element.as_string()->get());
      }
    }
  }

  // A number, or a name that `find` turns into one.
  std::optional<std::uint32_t> Account(std::string_view key, const toml::node& node, const char* what,
                                       std::optional<std::uint32_t> (*find)(const std::string&)) {
    if (const auto* number = node.as_integer(); number != nullptr && **number >= 0 && **number < UINT32_MAX) {
      return static_cast<std::uint32_t>(**number);
    }
    if (!node.is_string()) {
      Refuse(key, std::string("must be a ") + what + "'s name or number");
      return std::nullopt;
    }
    const std::optional<std::uint32_t> found = find(node.as_string()->get());
    if (!found)
      Refuse(key, "names the " + std::string(what) + " " + node.as_string()->get() + ", which does not exist");
    return found;
  }

  const toml::node* Take(std::string_view key) {
    known_.emplace_back(key);
    return table_.get(key);
  }

  // After all keys were asked for: anything else in the table is a mistake.
  void Finish() {
    static const std::set<std::string_view> kSecrets = {"pin", "so_pin", "user_pin", "password", "passphrase"};
    for (const auto& [key, node] : table_) {
      if (std::find(known_.begin(), known_.end(), key.str()) != known_.end()) continue;
      const std::string name(key.str());
      if (kSecrets.contains(key.str())) {
        file_.Refuse(key.source().begin,
                     name + " has no place in this file; use pin_file, pin_credential or pin_command");
      } else {
        file_.Refuse(key.source().begin, "unknown key " + name + "; " + title_ + " has: " + Join(known_));
      }
    }
  }

 private:
  File& file_;
  const toml::table& table_;
  const std::string title_;
  std::vector<std::string> known_;
};

void ReadDaemon(Section& section, DaemonConfig& config) {
  section.Path("socket", config.socket);
  if (config.socket.size() > kSocketPathMax) {
    section.Refuse("socket", "must be at most " + std::to_string(kSocketPathMax) + " bytes long, with its folder");
  }
  section.Integer("socket_mode", config.socket_mode, 0, 0777);
  if (const toml::node* const node = section.Take("socket_group")) {
    config.socket_group = section.Account("socket_group", *node, "group", GroupNamed);
  }
  section.Path("state_directory", config.state_directory);
  section.Integer("max_connections", config.max_connections, 1, 100'000);
  section.Integer("max_connections_per_uid", config.max_connections_per_uid, 1, 100'000);
  section.Integer("frame_bytes_max", config.frame_bytes_max, 64 * kKiB, limits::kFrameBytesMax);
  section.OneOf<LogLevel>("log_level", config.log_level, kLogLevels);
  if (const toml::node* const node = section.Take("operators")) {
    const toml::array* const array = node->as_array();
    if (array == nullptr) return section.Refuse("operators", "must be a list of user names or numbers");
    for (const toml::node& element : *array) {
      const auto uid = section.Account("operators", element, "user", UserNamed);
      if (uid) config.operators.push_back(*uid);
    }
  }
}

void CheckKind(Section& section, const HsmConfig& hsm) {
  const bool foreign = hsm.kind == HsmKind::kPkcs11;
  const char* const only_foreign[] = {"module",      "token_label",     "token_serial", "serialise", "call_seconds",
                                      "environment", "library_options", "host_program", "host_user"};
  for (const char* key : only_foreign) {
    if (!foreign && section.Has(key)) section.Refuse(key, "belongs to kind = \"pkcs11\"");
  }
  if (foreign && section.Has("directory")) section.Refuse("directory", "belongs to kind = \"firmware_sim\"");
  if (foreign && !section.Has("module")) section.Refuse("module", "is missing: the path of the HSM's PKCS#11 library");
  if (foreign && section.Has("token_label") == section.Has("token_serial")) {
    section.Refuse("token_label", "or token_serial must say which token of the module to use (one of the two)");
  }
}

void CheckPinSource(Section& section) {
  const char* found = nullptr;
  for (const char* key : {"pin_file", "pin_credential", "pin_command"}) {
    if (!section.Has(key)) continue;
    if (found != nullptr) section.Refuse(key, "cannot stand beside " + std::string(found) + ": a PIN has one source");
    found = key;
  }
}

// The name becomes a folder and part of records.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_';
  });
}

void ReadEnvironment(Section& section, File& file, HsmConfig& hsm) {
  const toml::node* const node = section.Take("environment");
  if (node == nullptr) return;
  if (!node->is_table())
    return section.Refuse("environment", "must be a table of texts, such as { SOFTHSM2_CONF = \"…\" }");
  for (const auto& [name, value] : *node->as_table()) {
    if (!value.is_string() || name.str().find('=') != std::string_view::npos) {
      return file.Refuse(value.source().begin, "environment must be a table of texts");
    }
    hsm.environment.emplace(name.str(), value.as_string()->get());
  }
}

HsmConfig ReadHsm(Section& section, File& file) {
  HsmConfig hsm;
  hsm.name.clear();
  section.Text("name", hsm.name);
  if (!IsPlainName(hsm.name)) section.Refuse("name", "must be 1 to 64 letters, digits, - or _");
  if (!section.Has("kind")) section.Refuse("kind", "is missing: \"firmware_sim\" or \"pkcs11\"");
  section.OneOf<HsmKind>("kind", hsm.kind, kHsmKinds);
  section.Path("directory", hsm.directory);
  section.Text("module", hsm.module);
  if (hsm.module.find('/') != std::string::npos) hsm.module = file.Resolve(hsm.module);
  section.Text("token_label", hsm.token_label);
  section.Text("token_serial", hsm.token_serial);
  section.Path("pin_file", hsm.pin_file);
  section.Text("pin_credential", hsm.pin_credential);
  if (hsm.pin_credential.find('/') != std::string::npos) {
    section.Refuse("pin_credential", "must be the name of a credential (LoadCredential= of the unit), not a path");
  }
  section.Texts("pin_command", hsm.pin_command);
  if (section.Has("pin_command") && (hsm.pin_command.empty() || hsm.pin_command[0].find('/') == std::string::npos)) {
    section.Refuse("pin_command", "must be a list that begins with the path of a program");
  }
  if (!hsm.pin_command.empty()) hsm.pin_command[0] = file.Resolve(hsm.pin_command[0]);
  section.Boolean("serialise", hsm.serialise);
  section.Integer("call_seconds", hsm.call_seconds, 1, 3600);
  ReadEnvironment(section, file, hsm);
  section.Text("library_options", hsm.library_options);
  section.Path("host_program", hsm.host_program);
  if (const toml::node* const user = section.Take("host_user"))
    hsm.host_user = section.Account("host_user", *user, "user", UserNamed);
  CheckKind(section, hsm);
  CheckPinSource(section);
  section.Finish();
  return hsm;
}

void ReadHsms(Section& root, File& file, std::vector<HsmConfig>& hsms) {
  const toml::node* const node = root.Take("hsm");
  if (node == nullptr) return;
  const toml::array* const array = node->as_array();
  if (array == nullptr || array->empty() || !array->is_homogeneous(toml::node_type::table)) {
    return root.Refuse("hsm", "must be tables headed [[hsm]], with two brackets on each side");
  }
  hsms.clear();
  for (const toml::node& element : *array) {
    Section section(file, *element.as_table(), "[[hsm]]");
    HsmConfig hsm = ReadHsm(section, file);
    const auto same = [&hsm](const HsmConfig& other) { return other.name == hsm.name; };
    if (std::any_of(hsms.begin(), hsms.end(), same)) section.Refuse("name", "is that of another [[hsm]]");
    hsms.push_back(std::move(hsm));
  }
}

void ReadTokens(Section& section, TokensConfig& config) {
  section.Text("default_hsm", config.default_hsm);
  section.OneOf<TokenProfile>("default_profile", config.default_profile, kTokenProfiles);
  std::vector<Choice<BoundsProfile>> profiles;
  for (const cmk::Bounds& row : cmk::kBounds) profiles.push_back({row.name, row.profile});
  section.OneOf<BoundsProfile>("bounds_profile", config.bounds_profile, profiles);
  section.OneOf<CryptoProfile>("crypto_profile", config.crypto_profile, kCryptoProfiles);
  // The bounds themselves are the key lifecycle's business.
  const cmk::Bounds& bounds = cmk::BoundsOf(config.bounds_profile);
  const auto days = [](Duration duration) { return static_cast<std::uint64_t>(duration.seconds / Days(1).seconds); };
  section.Integer("deletion_window_days", config.deletion_window_days, days(bounds.window_min),
                  days(bounds.window_max));
  section.Integer("version_quiet_days", config.version_quiet_days, days(bounds.quiet_min), days(bounds.quiet_max));
  section.Integer("destroy_now_approvals", config.destroy_now_approvals, 0, 12);
  section.Integer("attempt_extends_days", config.attempt_extends_days, 0, days(bounds.window_max));
  if (config.attempt_extends_days != 0 && config.attempt_extends_days < days(bounds.window_min))
    section.Refuse("attempt_extends_days", "must be 0, or at least the shortest waiting period of the bounds profile");
  section.Boolean("automatic_epochs", config.automatic_epochs);
  section.Integer("new_epoch_hours", config.new_epoch_hours, 0, 8760);
  section.Boolean("create_by_init_token", config.create_by_init_token);
  section.Integer("pin_bytes_min", config.pin_bytes_min, kPinBytesMin, kPinBytesMax);
}

void ReadAudit(Section& section, AuditConfig& config) {
  section.Boolean("strict", config.strict);
  section.OneOf<AuditContexts>("contexts", config.contexts, kAuditContexts);
  section.Integer("segment_bytes", config.segment_bytes, AuditLog::kSegmentBytesMin, 256 * kMiB);
  section.Integer("checkpoint_records", config.checkpoint_records, 1, 1'000'000);
}

void ReadLimits(Section& section, LimitsConfig& config) {
  section.Integer("sessions_per_application", config.sessions_per_application, 1, limits::kResumedSessionsMax);
  section.Integer("objects_per_application", config.objects_per_application, 1, limits::kResumedObjectsMax);
  section.Integer("key_cache_entries", config.key_cache_entries, 16, 1'000'000);
  section.Integer("login_retry_limit", config.login_retry_limit, 1, 1000);
  section.Integer("trial_versions", config.trial_versions, 1, 64);
}

template <class T>
void ReadTable(Section& root, File& file, const char* name, T& config, void (*read)(Section&, T&)) {
  const toml::node* const node = root.Take(name);
  if (node == nullptr) return;
  if (!node->is_table()) return root.Refuse(name, std::string("must be a table headed [") + name + "]");
  Section section(file, *node->as_table(), std::string("[") + name + "]");
  read(section, config);
  section.Finish();
}

void CheckTogether(const Config& config, const toml::table& table, File& file) {
  const auto where = [&](const char* path) {
    const toml::node* const node = table.at_path(path).node();
    return node != nullptr ? node->source().begin : toml::source_position{};
  };
  const auto is_default = [&](const HsmConfig& hsm) { return hsm.name == config.tokens.default_hsm; };
  if (std::none_of(config.hsms.begin(), config.hsms.end(), is_default)) {
    file.Refuse(where("tokens.default_hsm"),
                "default_hsm is " + config.tokens.default_hsm + ", and no [[hsm]] has that name");
  }
  if (config.daemon.max_connections_per_uid > config.daemon.max_connections) {
    file.Refuse(where("daemon.max_connections_per_uid"), "max_connections_per_uid must be at most max_connections");
  }
}

// A name in the file may have any character, and a terminal obeys some of them.
std::string Printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return text;
}

}  // namespace

std::string ConfigError::Text() const {
  if (line == 0) return file + ": " + Printable(what);
  return file + ":" + std::to_string(line) + ":" + std::to_string(column) + ": " + Printable(what);
}

Result<Config, ConfigError> ParseConfig(std::string_view text, const std::string& path) {
  toml::table table;
  try {
    table = toml::parse(text, path);
  } catch (const toml::parse_error& error) {
    const toml::source_position where = error.source().begin;
    // It quotes the file, line breaks and all; what is said here goes into one line of a log.
    std::string what(error.description());
    std::replace_if(
        what.begin(), what.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
    return Failure{ConfigError{path, where.line, where.column, std::move(what)}};
  }
  Config config;
  File file{path, std::nullopt};
  Section root(file, table, "the file");
  ReadTable(root, file, "daemon", config.daemon, ReadDaemon);
  ReadHsms(root, file, config.hsms);
  ReadTable(root, file, "tokens", config.tokens, ReadTokens);
  ReadTable(root, file, "audit", config.audit, ReadAudit);
  ReadTable(root, file, "limits", config.limits, ReadLimits);
  root.Finish();
  CheckTogether(config, table, file);
  if (file.error) return Failure{std::move(*file.error)};
  return config;
}

Result<Config, ConfigError> LoadConfig(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) return Failure{ConfigError{path, 0, 0, "cannot be read"}};
  std::error_code ignored;
  const std::filesystem::path absolute = std::filesystem::absolute(path, ignored);
  return ParseConfig(text.str(), ignored ? path : absolute.string());
}

}  // namespace cmkd::daemon

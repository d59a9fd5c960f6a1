// From a table of the configuration to a running back end.
#include "daemon/hsm/backend_factory.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "daemon/hsm/host_process.h"
#include "daemon/hsm/pin_source.h"
#include "daemon/hsm/pkcs11_backend.h"
#include "daemon/hsm/remote_module.h"
#include "daemon/hsm/software_pins.h"
#include "daemon/system/log.h"
#include "pkcs11/entry/function_lists.h"

namespace cmkd::daemon {

namespace {

constexpr const char* kHostProgram = "cmkd-hsm-host";
// Where a packaged daemon keeps it, seen from the daemon's own folder.
constexpr const char* kPackagedFolder = "../libexec/cmkd/";

std::string Named(const HsmConfig& config, const std::string& what) { return "HSM " + config.name + ": " + what; }

// ---- firmware_sim

// Held by the one simulated back end of the process.
class SimulatorClaim {
 public:
  static std::shared_ptr<void> Take() {
    if (Taken().exchange(true)) return nullptr;
    return {&Taken(), [](void*) { Taken().store(false); }};
  }

 private:
  static std::atomic<bool>& Taken() {
    static std::atomic<bool> taken{false};
    return taken;
  }
};

Result<std::unique_ptr<Backend>, std::string> StartSimulated(const HsmConfig& config,
                                                             const BackendSurroundings& surroundings) {
  const SimulatedDevice& device = surroundings.simulated;
  if (device.functions == nullptr) return Failure{Named(config, "this build has no simulated device")};
  std::shared_ptr<void> claim = SimulatorClaim::Take();
  if (claim == nullptr) {
    return Failure{
        Named(config,
              "a daemon has one simulated device, and another [[hsm]] table has it already; load the simulator "
              "as a module (kind = \"pkcs11\") for a second one")};
  }
  const std::string directory =
      config.directory.empty() ? surroundings.state_directory + "/hsm-" + config.name : config.directory;
  const std::string pin_file = directory + ".pin";
  const std::string label = "cmkd-" + config.name;
  if (device.configure) device.configure(directory);
  auto pins = ReadOrMakeSoftwarePins(pin_file);
  if (!pins.ok()) return Failure{Named(config, pins.error())};

  const Device token(device.functions);
  Status ready = token.Initialize();
  if (ready.ok()) ready = token.InitializeToken(label, pins->so.view(), pins->user.view());
  if (!ready.ok()) {
    (void)device.functions->C_Finalize(nullptr);
    return Failure{Named(config, ready.error().why + " (flash in " + directory + ", PINs in " + pin_file + ")")};
  }
  Pkcs11BackendOptions options;
  options.link.name = config.name;
  options.link.token.label = label;
  options.link.pin = [pin_file]() -> Result<SecretBytes, std::string> {
    auto read = ReadOrMakeSoftwarePins(pin_file);
    if (!read.ok()) return Failure{read.error()};
    return std::move(read->user);
  };
  options.software = true;
  options.functions_3_2 = entry::WholeList(device.functions);
  options.cache_entries = surroundings.cache_entries;
  options.keep_alive = std::move(claim);
  auto backend = Pkcs11Backend::Start(device.functions, std::move(options));
  if (!backend.ok()) return Failure{backend.error()};
  return std::unique_ptr<Backend>(std::move(*backend));
}

// ---- pkcs11

std::string OwnFolder() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0) return {};
  const std::string program(path, static_cast<std::size_t>(length));
  return program.substr(0, program.rfind('/') + 1);
}

std::string FindHostProgram(const HsmConfig& config) {
  if (!config.host_program.empty()) return config.host_program;
  const std::string beside = OwnFolder() + kHostProgram;
  if (::access(beside.c_str(), X_OK) == 0) return beside;
  const std::string packaged = OwnFolder() + kPackagedFolder + kHostProgram;
  return ::access(packaged.c_str(), X_OK) == 0 ? packaged : beside;
}

// The host and the function list that leads to it; the list goes first.
struct Hosted {
  Hosted(HostOptions options, std::chrono::seconds call_deadline)
      : process(std::move(options)), module([this] { return process.socket_path(); }, call_deadline) {}
  HostProcess process;
  RemoteModule module;
};

Result<std::unique_ptr<Backend>, std::string> StartHosted(const HsmConfig& config,
                                                          const BackendSurroundings& surroundings) {
  HostOptions host;
  host.name = config.name;
  host.program = FindHostProgram(config);
  host.module = config.module;
  host.library_options = config.library_options;
  host.serialise = config.serialise;
  host.user = config.host_user;
  if (!host.user && ::geteuid() == 0) {
    LogWarning(Named(config, "its module runs as root; host_user in cmkd.toml gives it a user of its own"));
  }
  host.environment = config.environment;
  const std::string& folder =
      surroundings.runtime_directory.empty() ? surroundings.state_directory : surroundings.runtime_directory;
  host.socket_prefix = folder + "/hsm-" + config.name;
  const auto hosted = std::make_shared<Hosted>(std::move(host), std::chrono::seconds(config.call_seconds));
  if (hosted->module.functions() == nullptr) {
    return Failure{Named(config, "a daemon drives at most " + std::to_string(kRemoteModulesMax) + " HSM modules")};
  }
  if (const auto started = hosted->process.Start(); !started.ok()) return Failure{Named(config, started.error())};

  Pkcs11BackendOptions options;
  options.link.name = config.name;
  options.link.token = {config.token_label, config.token_serial};
  const PinSource source{config.pin_file, config.pin_credential, config.pin_command};
  if (!source.empty()) options.link.pin = [source] { return ReadPin(source); };
  options.link.may_be_away = surroundings.may_be_away;
  options.link.reset = [process = &hosted->process](const char* why) { process->Kill(why); };
  options.cache_entries = surroundings.cache_entries;
  options.functions_3_2 = entry::WholeList(hosted->module.functions());
  options.record_path = surroundings.state_directory + "/hsm-" + config.name + ".record";
  options.keep_alive = hosted;
  auto backend = Pkcs11Backend::Start(hosted->module.functions(), std::move(options));
  if (!backend.ok()) {
    if (!config.host_user) return Failure{backend.error()};
    // Some modules do not say that they may not read their tokens' files; they have no tokens.
    return Failure{backend.error() + " (its host runs as user " + std::to_string(*config.host_user) +
                   ", who must be allowed to use the module's files)"};
  }
  return std::unique_ptr<Backend>(std::move(*backend));
}

}  // namespace

Result<std::unique_ptr<Backend>, std::string> StartBackend(const HsmConfig& config,
                                                           const BackendSurroundings& surroundings) {
  switch (config.kind) {
    case HsmKind::kFirmwareSim: return StartSimulated(config, surroundings);
    case HsmKind::kPkcs11: return StartHosted(config, surroundings);
  }
  return Failure{Named(config, "unknown kind")};
}

}  // namespace cmkd::daemon

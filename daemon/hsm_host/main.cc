// cmkd-hsm-host: loads one PKCS#11 module and serves it to the daemon, so that a foreign module never runs in the
// daemon's own process. Started by the daemon; ends with it.
//
//   cmkd-hsm-host --socket PATH --module PATH [--name N] [--library-options TEXT] [--serialise] [--parent PID]
//                 [--allow-uid UID] [--user UID] [--ready-fd FD]
//
// Before the module is loaded, the host becomes the user UID and gives up what no module needs (confinement.h). On the
// ready descriptor it writes "ready" when it listens, or a sentence that says why it cannot.
#include <dlfcn.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>

#include "daemon/hsm_host/confinement.h"
#include "daemon/hsm_host/forward.h"
#include "daemon/server/server.h"
#include "daemon/system/log.h"
#include "daemon/system/memory_policy.h"
#include "daemon/system/process_hardening.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::daemon {
namespace {

constexpr int kExitUsage = 2;
constexpr int kExitModule = 3;
// A module that does not return from a call must not keep the process from ending.
constexpr unsigned kEndSeconds = 5;
// Nor must one that never comes up, after the daemon has lost patience or is gone.
constexpr unsigned kStartSeconds = 90;

struct HostArguments {
  std::string socket;
  std::string module;
  std::string name;
  std::string library_options;
  bool serialise = false;
  std::uint32_t allow_uid = ::getuid();
  std::optional<std::uint32_t> user;
  std::int32_t parent = 0;
  int ready_fd = -1;
};

template <class Number>
bool ParseNumber(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<HostArguments> ParseArguments(int argc, char** argv) {
  HostArguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--serialise") {
      a.serialise = true;
      continue;
    }
    if (++i == argc) return std::nullopt;
    const std::string_view value = argv[i];
    bool good = true;
    if (option == "--socket")
      a.socket = value;
    else if (option == "--module")
      a.module = value;
    else if (option == "--name")
      a.name = value;
    else if (option == "--library-options")
      a.library_options = value;
    else if (option == "--parent")
      good = ParseNumber(value, a.parent);
    else if (option == "--allow-uid")
      good = ParseNumber(value, a.allow_uid);
    else if (option == "--user")
      good = ParseNumber(value, a.user.emplace());
    else if (option == "--ready-fd")
      good = ParseNumber(value, a.ready_fd);
    else
      good = false;
    if (!good) return std::nullopt;
  }
  if (a.socket.empty() || a.module.empty()) return std::nullopt;
  return a;
}

// The newest list that the module has. C_GetInterface came with 3.0; older modules do not have it.
Result<HostedModule, std::string> LoadModule(const std::string& path) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return Failure{std::string("cannot load the module: ") + ::dlerror()};
  HostedModule module;
  if (const auto get = reinterpret_cast<decltype(&::C_GetInterface)>(::dlsym(library, "C_GetInterface"));
      get != nullptr) {
    CK_UTF8CHAR name[] = "PKCS 11";
    CK_INTERFACE* found = nullptr;
    if (get(name, nullptr, &found, 0) == CKR_OK && found != nullptr && found->pFunctionList != nullptr) {
      module.functions = static_cast<const CK_FUNCTION_LIST_3_2*>(found->pFunctionList);
      const CK_VERSION& version = module.functions->version;
      if (version.major > 3 || (version.major == 3 && version.minor >= 2))
        module.newest = spec::Since::kV320;
      else if (version.major == 3)
        module.newest = spec::Since::kV300;
      return module;
    }
  }
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST_PTR list = nullptr;
  if (get == nullptr || get(&list) != CKR_OK || list == nullptr) return Failure{path + " is no PKCS#11 module"};
  // Read no further than a 2.40 list goes: `newest` says so.
  module.functions = reinterpret_cast<const CK_FUNCTION_LIST_3_2*>(list);
  return module;
}

Result<CK_INFO, std::string> InitializeModule(HostedModule& module, const HostArguments& arguments) {
  CK_C_INITIALIZE_ARGS initialize{};
  initialize.flags = CKF_OS_LOCKING_OK;
  // NSS's softokn takes its configuration there.
  if (!arguments.library_options.empty()) initialize.pReserved = const_cast<char*>(arguments.library_options.c_str());
  module.serialise = arguments.serialise;
  CK_RV rv = module.functions->C_Initialize(&initialize);
  if (rv == CKR_CANT_LOCK) {
    LogWarning("the module cannot lock; it gets one call at a time");
    module.serialise = true;
    initialize.flags = 0;
    rv = module.functions->C_Initialize(&initialize);
  }
  if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) {
    return Failure{"the module cannot be initialised: " + spec::ReturnValueName(rv)};
  }
  CK_INFO info{};
  if (rv = module.functions->C_GetInfo(&info); rv != CKR_OK) return Failure{"C_GetInfo: " + spec::ReturnValueName(rv)};
  return info;
}

// Initialised, and what a killed process or a power cut took from SoftHSM's files put back.
Result<CK_INFO, std::string> BringUp(HostedModule& module, const HostArguments& arguments) {
  auto info = InitializeModule(module, arguments);
  if (!info.ok() || !module.files) return info;
  if (const auto restored = module.files->Restore(*module.functions); !restored.empty()) {
    for (const std::string& path : restored) LogWarning(arguments.name + ": " + path + " was torn; put back its copy");
    (void)module.functions->C_Finalize(nullptr);
    if (info = InitializeModule(module, arguments); !info.ok()) return info;
  }
  for (const std::string& path : module.files->Keep(*module.functions))
    LogWarning(arguments.name + ": cannot keep a copy of " + path + ", which SoftHSM writes over at every login");
  return info;
}

void Tell(int fd, std::string text) {
  if (fd < 0) return;
  text += '\n';
  (void)!::write(fd, text.data(), text.size());
  ::close(fd);
}

int Give(const HostArguments& arguments, const std::string& why) {
  LogError(arguments.name + ": " + why);
  Tell(arguments.ready_fd, why);
  return kExitModule;
}

// SIGTERM ends the host; so does its parent's death, which the kernel reports as SIGTERM, too.
void EndOnSignal(Server& server, const sigset_t& signals) {
  int signal = 0;
  while (::sigwait(&signals, &signal) != 0) {
  }
  ::alarm(kEndSeconds);
  server.Stop();
}

// Where the server brings its connections. It listens before the module is loaded, for the socket is the daemon's, and
// the user that the module gets has no place to make one.
class Door final : public Service {
 public:
  void Open(const HostedModule& module, const CK_INFO& info, std::uint32_t allowed_uid) {
    forwarder_.emplace(module, info, allowed_uid);
  }
  std::unique_ptr<Conversation> Begin(const Peer& peer) override { return forwarder_->Begin(peer); }

 private:
  std::optional<Forwarder> forwarder_;
};

// Ends the process with its parent. False when that is gone already. To be said again after a change of user.
bool EndWithParent(const HostArguments& arguments) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  return arguments.parent == 0 || ::getppid() == arguments.parent;
}

Result<void, std::string> Confine(const HostArguments& arguments, std::string& user_name) {
  BeEndedBeforeOthers();
  if (arguments.user) {
    const auto account = FindAccount(*arguments.user);
    if (!account.ok()) return Failure{account.error()};
    user_name = account->name;
    if (auto become = BecomeUser(*account); !become.ok()) return become;
  }
  if (const auto refusing = RefuseSystemCalls(); !refusing.ok()) LogWarning(arguments.name + ": " + refusing.error());
  return {};
}

// What of the files that it was told of the module's user cannot read: a first start mostly fails of that.
std::string Unreadable(const HostArguments& arguments, const std::string& user_name) {
  if (user_name.empty()) return {};
  std::string said = "; it runs as user " + user_name;
  const auto look = [&](const std::string& path) {
    if (path.starts_with('/') && ::access(path.c_str(), R_OK) != 0 && errno == EACCES)
      said += ", who may not read " + path;
  };
  look(arguments.module);
  for (char** variable = ::environ; *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    look(std::string(text.substr(text.find('=') + 1)));
  }
  return said;
}

int Serve(const HostArguments& arguments, const sigset_t& signals) {
  if (!EndWithParent(arguments)) return 0;  // it died before we could ask
  ::alarm(kStartSeconds);
  Door door;
  ServerOptions options;
  options.socket_path = arguments.socket;
  options.socket_mode = 0600;
  Server server(options, door);
  if (const auto listening = server.Listen(); !listening.ok()) return Give(arguments, listening.error());
  std::string user_name;
  if (const auto confined = Confine(arguments, user_name); !confined.ok()) return Give(arguments, confined.error());
  if (!EndWithParent(arguments)) return 0;
  auto module = LoadModule(arguments.module);
  if (!module.ok()) return Give(arguments, module.error() + Unreadable(arguments, user_name));
  module->files = SoftHsmStore::Of(arguments.module);
  const auto info = BringUp(*module, arguments);
  if (!info.ok()) return Give(arguments, info.error() + Unreadable(arguments, user_name));
  door.Open(*module, *info, arguments.allow_uid);
  ::alarm(0);
  std::thread ender([&] { EndOnSignal(server, signals); });
  Tell(arguments.ready_fd, "ready");
  server.Serve();
  ender.join();
  (void)module->functions->C_Finalize(nullptr);
  return 0;
}

}  // namespace
}  // namespace cmkd::daemon

int main(int argc, char** argv) {
  using namespace cmkd::daemon;
  const auto hardening = HardenProcess();
  KeepFreedMemory();
  for (const std::string& missing : hardening.missing) LogDebug(missing);  // the daemon has said the same as a warning
  const auto arguments = ParseArguments(argc, argv);
  if (!arguments) {
    std::fputs(
        "cmkd-hsm-host is started by cmkd.\nusage: cmkd-hsm-host --socket PATH --module PATH [--name N] "
        "[--library-options TEXT] [--serialise]\n                     [--parent PID] [--allow-uid UID] [--user UID] "
        "[--ready-fd FD]\n",
        stderr);
    return kExitUsage;
  }
  // Blocked before there is any other thread, also those of the module, so that only sigwait sees them.
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return Serve(*arguments, signals);
}

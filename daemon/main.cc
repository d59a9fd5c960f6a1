// cmkd: reads its configuration, builds the graph of its parts, serves until it is told to stop.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <optional>
#include <string>
#include <thread>

#include "daemon/custody/reconcile.h"
#include "daemon/custody/scheduler.h"
#include "daemon/dispatch/dispatcher.h"
#include "daemon/hsm/backend_factory.h"
#include "daemon/server/server.h"
#include "daemon/service/access.h"
#include "daemon/startup/open_store.h"
#include "daemon/startup/root_key.h"
#include "daemon/system/log.h"
#include "daemon/system/memory_policy.h"
#include "daemon/system/notify.h"
#include "daemon/system/process_hardening.h"
#include "daemon/system/state_directory.h"
#include "daemon/system/system_clock.h"
#include "firmware_sim/firmware_sim.h"
#include "pkcs11/spec/product.h"

namespace cmkd::daemon {

namespace {

constexpr const char* kUsage =
    "usage: cmkd [--config FILE] [--check | --accept-older-store]\n"
    "  --config FILE  read this configuration (default /etc/cmkd/cmkd.toml)\n"
    "  --check        read the configuration, say what is wrong with it, and end\n"
    "  --accept-older-store\n"
    "                 a backup was put in place: start though the store is older than the HSM and the audit log\n"
    "                 remember. What was changed since is undone\n"
    "  --version      say the version and end\n";

struct Arguments {
  std::string config = "/etc/cmkd/cmkd.toml";
  bool check = false;
  OlderStore older = OlderStore::kRefused;
};

int Fatal(const std::string& sentence) {
  LogError(sentence);
  return 1;
}

// Every configured HSM. A device that does not answer is fatal only when the store depends on it; main says so later.
Result<void, std::string> StartBackends(const Config& config, Backends& backends) {
  for (const HsmConfig& hsm : config.hsms) {
    BackendSurroundings surroundings;
    surroundings.state_directory = config.daemon.state_directory;
    surroundings.cache_entries = config.limits.key_cache_entries;
    surroundings.simulated = {sim::FunctionList(), &sim::Configure};
    // With several, whatever does not need this one goes on without it.
    surroundings.may_be_away = config.hsms.size() > 1;
    auto started = StartBackend(hsm, surroundings);
    if (!started.ok()) return Failure{"HSM \"" + hsm.name + "\": " + started.error()};
    backends.Add(std::move(*started));
  }
  return {};
}

// The HSMs that open the root key, in the configuration's order; the first one where there is no root key yet.
std::vector<Backend*> HomesOf(const Config& config, const Backends& backends) {
  const auto references = RootKeyReferences(config.daemon.state_directory);
  std::vector<Backend*> homes;
  for (const HsmConfig& hsm : config.hsms) {
    if (references.contains(hsm.name)) homes.push_back(*backends.Get(hsm.name));
  }
  if (homes.empty()) homes.push_back(*backends.Get(config.hsms.front().name));
  return homes;
}

// All that note the store's generation, as one: a home that is away must not be the only one that remembers.
std::unique_ptr<MirrorSet> NotesOf(const Config& config, const Backends& backends) {
  std::vector<MirrorMember> members;
  for (const HsmConfig& hsm : config.hsms) members.push_back({hsm.name, *backends.Get(hsm.name), {}});
  return std::make_unique<MirrorSet>(std::move(members), Bytes{});
}

// What a client leaves behind when its last connection closes.
void CleanUp(Daemon& daemon, Application& application) { Release(daemon, application.AllObjects()); }

void RecordService(AuditLog& audit, std::uint64_t store_generation, const char* what) {
  AuditRecord record;
  record.kind = AuditKind::kService;
  record.store_generation = store_generation;
  record.text = what;
  audit.Append(record);
  audit.Flush();
}

// What the check of a large store said that went on while it was served.
class StoreCheck {
 public:
  explicit StoreCheck(AuditLog& audit) : audit_(audit) {}

  // From any thread. A damaged store ends the daemon, as it would have kept it from starting.
  void Tell(const std::optional<std::string>& damage) {
    if (!damage) return LogInfo("store: every entry is checked");
    LogError(*damage + "; the daemon ends");
    damaged_ = true;
    RecordService(audit_, audit_.GetState().store_generation, "alarm: the store is damaged");
    ::kill(::getpid(), SIGTERM);
  }
  bool damaged() const { return damaged_; }

 private:
  AuditLog& audit_;
  std::atomic<bool> damaged_{false};
};

ServerOptions ServerOptionsFrom(const Config& config) {
  ServerOptions options;
  options.socket_path = config.daemon.socket;
  options.socket_mode = config.daemon.socket_mode;
  options.socket_group = config.daemon.socket_group;
  options.connections_max = config.daemon.max_connections;
  options.connections_per_uid_max = config.daemon.max_connections_per_uid;
  options.frame_bytes_max = config.daemon.frame_bytes_max;
  return options;
}

AuditLog::Options AuditOptionsFrom(const Config& config) {
  AuditLog::Options options;
  options.directory = AuditDirectory(config);
  options.segment_bytes = config.audit.segment_bytes;
  options.strict = config.audit.strict;
  options.checkpoint_records = config.audit.checkpoint_records;
  return options;
}

// Serves until a signal says that it is enough.
void ServeUntil(const sigset_t& stop_signals, Server& server, const std::string& socket) {
  std::thread serving([&server] { server.Serve(); });
  LogInfo("serving on " + socket);
  NotifyReady("serving");
  int signal = 0;
  ::sigwait(&stop_signals, &signal);
  NotifyStopping();
  LogInfo("stopping");
  server.Stop();
  serving.join();
}

// What is written at a clean end. What cannot be written is no reason not to end.
void SaveAll(const store::Store& store, UseCounter& counter, TimeKeeper& clock, Anchor& anchor) {
  if (const Status saved = counter.Save(true); !saved.ok())
    LogWarning("uses could not be written: " + saved.error().why);
  if (const Status saved = clock.Save(); !saved.ok()) LogWarning("the time could not be written: " + saved.error().why);
  if (const Status noted = anchor.Write(store.Generation()); !noted.ok())
    LogWarning("the HSM does not note the store's generation: " + noted.error().why);
}

int Serve(const Config& config, OlderStore older, const sigset_t& stop_signals) {
  const SystemClock wall_clock;
  if (const auto prepared = PrepareStateDirectory(config.daemon.state_directory); !prepared.ok())
    return Fatal(prepared.error());
  if (const auto locked = LockStateDirectory(config.daemon.state_directory); !locked.ok()) return Fatal(locked.error());
  const auto audit = AuditLog::Open(AuditOptionsFrom(config), wall_clock);
  if (!audit.ok()) return Fatal(audit.error());
  Backends backends;
  if (const auto started = StartBackends(config, backends); !started.ok()) return Fatal(started.error());
  const std::vector<Backend*> homes = HomesOf(config, backends);
  const auto there = std::find_if(homes.begin(), homes.end(), [](const Backend* home) { return home->available(); });
  Backend& home = there == homes.end() ? *homes.front() : **there;
  const std::unique_ptr<MirrorSet> notes = NotesOf(config, backends);
  StoreCheck check(**audit);
  auto opened = OpenStore(
      config.daemon.state_directory, home, wall_clock, (*audit)->GetState().store_generation, older,
      [&check](const std::optional<std::string>& damage) { check.Tell(damage); }, notes.get());
  if (!opened.ok()) return Fatal(opened.error());
  store::Store& store = *opened->store;
  for (const auto& [name, backend] : backends.all()) backend->SetOwner(OwnerWords(store.id()));

  Records records(store);
  TimeKeeper clock(store, wall_clock, BootIdBytes());
  Custodian custodian(store, records, backends, clock, config.tokens);
  Scheduler* scheduled = nullptr;
  UseCounter counter(store, clock,
                     [&scheduled](const cmk::CmkId& id, cmk::KeyVersionNumber version, cmk::UsageVerdict verdict) {
                       scheduled->NearLimit(id, version, verdict);
                     });
  Scheduler scheduler(store, clock, custodian, counter, **audit, opened->anchor.get());
  scheduled = &scheduler;
  PinCache pins;
  SpareRoom spare_room(config.daemon.state_directory + "/spare-room");
  spare_room.Take();
  Daemon* self = nullptr;
  Registry registry([&self](Application& application) { CleanUp(*self, application); });
  Daemon daemon{config,
                clock,
                store,
                **audit,
                backends,
                records,
                custodian,
                counter,
                registry,
                pins,
                *opened->ticket_sealer,
                *opened->object_sealer,
                opened->rejection_key,
                spare_room,
                clock.Now()};
  self = &daemon;
  Dispatcher dispatcher(daemon);
  Server server(ServerOptionsFrom(config), dispatcher);
  if (const auto listening = server.Listen(); !listening.ok()) return Fatal(listening.error());
  RecordService(**audit, store.Generation(),
                older == OlderStore::kAccepted ? "start, an older store was to be accepted" : "start");
  scheduler.Start();
  ServeUntil(stop_signals, server, config.daemon.socket);
  scheduler.Stop();
  SaveAll(store, counter, clock, *opened->anchor);
  RecordService(**audit, store.Generation(), "stop");
  return check.damaged() ? 1 : 0;
}

int Main(const Arguments& arguments) {
  const Hardening hardening = HardenProcess();
  KeepFreedMemory();
  const auto config = LoadConfig(arguments.config);
  if (!config.ok()) {
    std::cerr << config.error().Text() << "\n";
    return 2;
  }
  if (arguments.check) {
    std::cout << arguments.config << ": no errors\n";
    return 0;
  }
  SetLogLevel(config->daemon.log_level);
  for (const std::string& missing : hardening.missing) LogWarning(missing);
  // Blocked before any thread exists, so that only sigwait ever sees them.
  sigset_t stop_signals;
  ::sigemptyset(&stop_signals);
  ::sigaddset(&stop_signals, SIGTERM);
  ::sigaddset(&stop_signals, SIGINT);
  ::sigaddset(&stop_signals, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);
  return Serve(*config, arguments.older, stop_signals);
}

}  // namespace

}  // namespace cmkd::daemon

int main(int argc, char** argv) {
  cmkd::daemon::Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--config" && i + 1 < argc) {
      arguments.config = argv[++i];
    } else if (argument == "--check") {
      arguments.check = true;
    } else if (argument == "--accept-older-store") {
      arguments.older = cmkd::daemon::OlderStore::kAccepted;
    } else if (argument == "--version") {
      std::cout << "cmkd " << int{cmkd::spec::kLibraryVersion.major} << "." << int{cmkd::spec::kLibraryVersion.minor}
                << "\n";
      return 0;
    } else {
      const bool help = argument == "--help";
      (help ? std::cout : std::cerr) << cmkd::daemon::kUsage;
      return help ? 0 : 2;
    }
  }
  return cmkd::daemon::Main(arguments);
}

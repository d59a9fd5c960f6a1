// One sandbox from its making to its end. Everything that must go away again is owned by an object here, and no signal
// ends this process meanwhile (SignalWaiter); what outlives even SIGKILL is in throwaway_directory.h.
#include "tools/cmkctl/sandbox.h"

#include <sys/random.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <iterator>

#include "firmware_sim/faults/script.h"
#include "tools/cmkctl/administrator.h"
#include "tools/cmkctl/child_process.h"
#include "tools/cmkctl/places.h"
#include "tools/cmkctl/server_process.h"
#include "tools/cmkctl/throwaway_directory.h"
#include "tools/cmkctl/token_setup.h"

namespace cmkd::tools {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kStartLimit{30'000};
constexpr milliseconds kGlance{3};  // between two looks at a daemon that is starting
constexpr std::size_t kLogLinesShown = 15;

// Digits only: safe in URIs, shells and configuration files.
std::string NewPin() {
  std::array<std::uint8_t, 8> random{};
  while (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
  }
  std::string pin;
  for (const std::uint8_t byte : random) pin.push_back(static_cast<char>('0' + byte % 10));
  return pin;
}

bool WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  ::chmod(path.c_str(), 0600);
  return static_cast<bool>(file << text << std::flush);
}

std::string LastLines(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(std::move(line));
  std::string text;
  for (std::size_t i = lines.size() > kLogLinesShown ? lines.size() - kLogLinesShown : 0; i < lines.size(); ++i) {
    text += "  " + Harmless(lines[i]) + '\n';
  }
  return text;
}

Failure<Problem> SetupProblem(std::string message, std::string remedy = {}) {
  return Refused("SANDBOX", std::move(message), {}, std::move(remedy));
}

class SandboxRun {
 public:
  SandboxRun(const Context& context, const SandboxOptions& options) : context_(context), options_(options) {}

  int Run() {
    const Outcome<void> ready = SetUp();
    int status = kSandboxFailed;
    if (ready) {
      status = RunCommand();
    } else if (interrupted_ != 0) {
      status = 128 + interrupted_;
    } else {
      Report(context_.screen, ready.error());
      if (directory_) context_.screen.err << LastLines(In(kSandboxLog)) << std::flush;
    }
    return TearDown(status);
  }

 private:
  std::string In(const std::string& name) const { return directory_->path() + '/' + name; }

  Outcome<void> SetUp() {
    RETURN_IF_ERROR(FindParts());
    auto directory = ThrowawayDirectory::Make("cmkd-sandbox");
    if (!directory) return SetupProblem(directory.error());
    directory_ = std::move(directory).value();
    if (options_.keep) directory_->Keep();
    RETURN_IF_ERROR(SetUpHsm());
    RETURN_IF_ERROR(SetUpFaults());
    RETURN_IF_ERROR(Write(kSandboxConfigFile,
                          SandboxConfigText({options_.hsm, directory_->path(), hsm_module_, !options_.faults.empty(),
                                             options_.hsm_call_seconds, options_.settings})));
    daemon_.emplace(ServerProcess::Options{{program_, "--config", In(kSandboxConfigFile)},
                                           {},
                                           In(kSandboxSocket),
                                           In(kSandboxLog),
                                           In(kSandboxPidFile)},
                    waiter_);
    RETURN_IF_ERROR(BringUp(*daemon_, "The daemon"));
    return MakeToken();
  }

  Outcome<void> FindParts() {
    const std::string own = OwnDirectory();
    RETURN_IF_ERROR(Need(program_, FindDaemon(own), "cmkd", "CMKD_DAEMON"));
    RETURN_IF_ERROR(
        Need(module_, FindModule("CMKD_MODULE", "libcmkd-pkcs11.so", own), "libcmkd-pkcs11.so", "CMKD_MODULE"));
    switch (options_.hsm) {
      case SandboxHsm::kSoftware: return {};
      case SandboxHsm::kSoftHsm2: return Need(hsm_module_, FindSoftHsm(), "libsofthsm2.so", "CMKD_SOFTHSM2_MODULE");
      case SandboxHsm::kFirmwareSim: break;
    }
    constexpr char kSimulator[] = "libcmkd-firmware-sim.so";
    RETURN_IF_ERROR(Need(host_, FindHsmHost(program_), "cmkd-hsm-host", "CMKD_HSM_HOST"));
    return Need(hsm_module_, FindModule("CMKD_FIRMWARE_SIM_MODULE", kSimulator, own), kSimulator,
                "CMKD_FIRMWARE_SIM_MODULE");
  }

  static Outcome<void> Need(std::string& part, const std::optional<std::string>& found, const std::string& name,
                            const std::string& variable) {
    if (!found) return SetupProblem("There is no " + name + " to be found.", "Say where it is: " + variable + '.');
    part = *found;
    return {};
  }

  Outcome<void> Write(const std::string& name, const std::string& text) const {
    if (WriteFile(In(name), text)) return {};
    return SetupProblem("Cannot write into " + directory_->path() + '.');
  }

  // An HSM comes with a token in it: that is its owner's business, and here we are the owner.
  Outcome<void> SetUpHsm() {
    if (options_.hsm == SandboxHsm::kSoftware) return {};
    const std::string pin = NewPin();
    RETURN_IF_ERROR(Write(kSandboxHsmPinFile, pin + '\n'));
    if (::mkdir(In(kSandboxHsmData).c_str(), 0700) != 0)
      return SetupProblem("Cannot write into " + directory_->path() + '.');
    return options_.hsm == SandboxHsm::kSoftHsm2 ? SetUpSoftHsm(pin) : SetUpSimulator(pin);
  }

  // SoftHSM2 has a tool of its own for that.
  Outcome<void> SetUpSoftHsm(const std::string& pin) {
    RETURN_IF_ERROR(Write(kSoftHsmConfigFile, "directories.tokendir = " + In(kSandboxHsmData) +
                                                  "\nobjectstore.backend = file\nlog.level = ERROR\n"));
    ChildOptions tool;
    tool.arguments = {"softhsm2-util",  "--module", hsm_module_, "--init-token", "--free", "--label",
                      kSandboxHsmLabel, "--pin",    pin,         "--so-pin",     NewPin()};
    tool.environment = {HsmEnvironment(options_.hsm, directory_->path())};
    tool.output = In(kSandboxLog);
    const std::optional<pid_t> pid = StartChild(tool, waiter_);
    if (!pid) return SetupProblem("There can be no further process.");
    std::optional<int> ended;
    while (!(ended = Reap(*pid)) && interrupted_ == 0) TakeSignal(kStartLimit);
    if (!ended) ended = StopChild(*pid, milliseconds(1000), waiter_);
    if (StatusOf(*ended) == 0) return {};
    return SetupProblem("softhsm2-util could not make a token.", "Is Debian's package softhsm2 installed?");
  }

  // The simulator is reached as the daemon will reach it: through a host process.
  Outcome<void> SetUpSimulator(const std::string& pin) {
    ServerProcess host({{host_, "--socket", In(kSandboxHsmSocket), "--module", hsm_module_, "--name", "setup"},
                        {HsmEnvironment(options_.hsm, directory_->path())},
                        In(kSandboxHsmSocket),
                        In(kSandboxLog),
                        {}},
                       waiter_);
    RETURN_IF_ERROR(BringUp(host, "The host of the simulated HSM"));
    Administrator owner(In(kSandboxHsmSocket), kStartLimit, Administrator::Peer::kHsmHost);
    ASSIGN_OR_RETURN(const CK_SLOT_ID slot, FirstSlot(owner));
    SecretBytes user_pin(AsBytes(pin));
    SecretBytes so_pin(AsBytes(NewPin()));
    return InitialiseToken(owner, slot, kSandboxHsmLabel, so_pin, user_pin);
  }

  // The device reads a copy, so that the command may change it while it runs.
  Outcome<void> SetUpFaults() {
    if (options_.faults.empty()) return {};
    std::ifstream file(options_.faults, std::ios::binary);
    if (!file) return SetupProblem(options_.faults + " cannot be read.");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    if (const auto script = sim::faults::ParseScript(text); !script.ok()) {
      return SetupProblem(
          options_.faults + ':' + std::to_string(script.error().line) + ": " + script.error().what + '.',
          "docs/faults.md explains such scripts.");
    }
    return Write(kSandboxFaults, text);
  }

  Outcome<void> BringUp(ServerProcess& server, const std::string& name) {
    if (!server.Start()) return SetupProblem("There can be no further process.");
    const Clock::time_point limit = Clock::now() + kStartLimit;
    for (;;) {
      const ServerProcess::State state = server.Poll();
      if (interrupted_ != 0) return SetupProblem("Interrupted.");
      if (state == ServerProcess::State::kUp) return {};
      if (state == ServerProcess::State::kDown) return SetupProblem(name + " did not start. The end of its log:");
      if (Clock::now() >= limit) return SetupProblem(name + " does not come up. The end of its log:");
      TakeSignal(kGlance);
    }
  }

  Outcome<void> MakeToken() {
    Administrator administrator(In(kSandboxSocket), kStartLimit);
    Object arguments;
    arguments.Set("label", options_.label).Set("profile", options_.profile);
    ASSIGN_OR_RETURN(const Value made, administrator.Ask("token.create", arguments));
    SecretBytes pin(AsBytes(pin_));
    SecretBytes so_pin(AsBytes(so_pin_));
    const auto slot = static_cast<CK_SLOT_ID>(made.At("token").Number("slot"));
    RETURN_IF_ERROR(InitialiseToken(administrator, slot, options_.label, so_pin, pin));
    TakeSignal(milliseconds(0));
    return interrupted_ == 0 ? Outcome<void>() : SetupProblem("Interrupted.");
  }

  // Before there is a command, a signal that would have ended this process ends the making of the sandbox.
  void TakeSignal(milliseconds time) {
    const std::optional<siginfo_t> signal = waiter_.Wait(time);
    if (signal && signal->si_signo != SIGCHLD) interrupted_ = signal->si_signo;
  }

  int RunCommand() {
    ChildOptions child;
    child.arguments = options_.command;
    child.signal_when_parent_dies = SIGTERM;
    child.environment = {{"P11_MODULE", module_},
                         {"P11_TOKEN", options_.label},
                         {"P11_PIN", pin_},
                         {"P11_SO_PIN", so_pin_},
                         {"CMKD_SOCKET", In(kSandboxSocket)},
                         {"CMKD_SANDBOX_DIR", directory_->path()},
                         {"CMKD_DAEMON_PID", std::to_string(daemon_->pid())}};
    if (!options_.faults.empty()) child.environment.emplace_back("CMKD_FAULTS", In(kSandboxFaults));
    const std::optional<pid_t> pid = StartChild(child, waiter_);
    if (!pid) {
      context_.screen.Note("there can be no further process");
      return kSandboxFailed;
    }
    restart_at_ = Clock::now() + milliseconds(options_.restart_after_ms);
    for (;;) {
      if (const std::optional<int> ended = Reap(*pid)) return StatusOf(*ended);
      Forward(waiter_.Wait(TendDaemon()), *pid);
    }
  }

  // What the terminal sends goes to the whole foreground group, and so to the command without our help.
  static void Forward(const std::optional<siginfo_t>& signal, pid_t command) {
    if (!signal || signal->si_signo == SIGCHLD || signal->si_code > 0) return;
    ::kill(command, signal->si_signo);
  }

  // Sees to the daemon while the command runs, and says how long it may be left alone; negative: until something
  // happens.
  milliseconds TendDaemon() {
    const ServerProcess::State before = last_state_;
    last_state_ = daemon_->Poll();
    if (options_.restart_after_ms == 0) return milliseconds(-1);
    if (daemon_->faulted()) return milliseconds(-1);
    if (last_state_ == ServerProcess::State::kStarting) return kGlance;
    if (before == ServerProcess::State::kStarting) restart_at_ = Clock::now() + milliseconds(options_.restart_after_ms);
    const auto left = std::chrono::duration_cast<milliseconds>(restart_at_ - Clock::now());
    if (last_state_ == ServerProcess::State::kUp && left.count() > 0) return left;
    if (options_.restart_graceful) {
      daemon_->Stop();
    } else {
      daemon_->Kill();
    }
    ++restarts_;
    daemon_->Start();
    last_state_ = ServerProcess::State::kStarting;
    return kGlance;
  }

  int TearDown(int status) {
    if (daemon_) {
      daemon_->Stop();
      if (daemon_->faulted() && status != kSandboxFailed) {
        context_.screen.err << "cmkctl: the sandbox's daemon failed: " << daemon_->fault() << ". The end of its log:\n"
                            << LastLines(In(kSandboxLog)) << std::flush;
        // A command that did not notice must not make it look well.
        if (status == 0) status = kSandboxFailed;
      }
      if (options_.restart_after_ms != 0)
        context_.screen.Note("the daemon was restarted " + std::to_string(restarts_) + " times");
    }
    if (directory_ && options_.keep) context_.screen.Note("kept " + directory_->path());
    return status;
  }

  const Context& context_;
  const SandboxOptions& options_;
  SignalWaiter waiter_;
  std::string program_;
  std::string module_;
  std::string host_;
  std::string hsm_module_;
  const std::string pin_ = NewPin();
  const std::string so_pin_ = NewPin();
  // The order matters: the daemon ends before its directory does.
  std::unique_ptr<ThrowawayDirectory> directory_;
  std::optional<ServerProcess> daemon_;
  ServerProcess::State last_state_ = ServerProcess::State::kUp;
  Clock::time_point restart_at_;
  std::uint32_t restarts_ = 0;
  int interrupted_ = 0;
};

}  // namespace

int Sandbox(const Context& context, const SandboxOptions& options) { return SandboxRun(context, options).Run(); }

}  // namespace cmkd::tools

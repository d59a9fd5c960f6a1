// The child writes one line when a case begins and one when it ends; what is missing at its end tells what it died of.
#include "conformance/runner.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "conformance/keys.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::conformance {
namespace {

constexpr int kSilenceMs = 120'000;  // RSA key generation is the slowest thing that a case does

// ---- The child: brings the module to where a case begins

class Stand {
 public:
  Stand(const Module& module, const Settings& settings) : p11_(module), settings_(settings), keys_(module) {}

  using Reached = Result<void, std::string>;

  // Errors: why the stage cannot be reached.
  Reached Reach(Stage stage) {
    if (stage == Stage::kUser && stage_ == Stage::kUser && StillLoggedIn()) return {};
    keys_.Forget();
    stage_ = Stage::kLoaded;
    if (stage == Stage::kLoaded) {
      (void)p11_->C_Finalize(nullptr);
      return {};
    }
    RETURN_IF_ERROR(FreshlyInitialised());
    if (stage == Stage::kUser) {
      RETURN_IF_ERROR(Open(base_));
      RETURN_IF_ERROR(Said("C_Login", p11_->C_Login(base_, CKU_USER, Ptr(settings_.pin), settings_.pin.size())));
      keys_.Use(base_);
      stage_ = Stage::kUser;
    }
    return {};
  }

  // Runs the case, which may leave the module in any state.
  void Run(const Case& one, Trial& trial) {
    trial.slot = slot_;
    const bool in_session = one.stage == Stage::kPublic || one.stage == Stage::kUser;
    if (in_session) {
      if (const Reached opened = Open(trial.session); !opened.ok()) return (void)trial.Check(false, opened.error());
    }
    one.body(trial);
    if (in_session) (void)p11_->C_CloseSession(trial.session);
  }

  Keys& keys() { return keys_; }

 private:
  static Reached Said(const char* call, CK_RV rv) {
    if (rv == CKR_OK) return {};
    return Failure{std::string(call) + " gives " + spec::ReturnValueName(rv) + " before the case"};
  }
  bool StillLoggedIn() const {
    CK_SESSION_INFO info{};
    return p11_->C_GetSessionInfo(base_, &info) == CKR_OK && info.state == CKS_RW_USER_FUNCTIONS;
  }
  Reached FreshlyInitialised() {
    const CK_RV rv = Initialise(p11_, settings_);
    if (rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) RETURN_IF_ERROR(Said("C_Initialize", rv));
    ASSIGN_OR_RETURN(slot_, FindSlot(p11_, settings_.token));
    return Said("C_CloseAllSessions", p11_->C_CloseAllSessions(slot_));
  }
  Reached Open(CK_SESSION_HANDLE& session) {
    return Said("C_OpenSession",
                p11_->C_OpenSession(slot_, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session));
  }

  const Module& p11_;
  const Settings& settings_;
  Keys keys_;
  Stage stage_ = Stage::kLoaded;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE base_ = 0;  // keeps login and session keys while cases come and go
};

void Tell(int to, const std::string& line) {
  const std::string whole = line + '\n';
  for (std::size_t at = 0; at < whole.size();) {
    const ssize_t done = ::write(to, whole.data() + at, whole.size() - at);
    if (done <= 0) ::_exit(1);
    at += static_cast<std::size_t>(done);
  }
}

std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

[[noreturn]] void RunFrom(std::size_t first, const Plan& plan, const Settings& settings, int to) {
  const auto module = Module::Load(settings.module);
  if (!module.ok()) ::_exit(1);
  Stand stand(*module, settings);
  for (std::size_t i = first; i < plan.cases().size(); ++i) {
    const Case& one = plan.cases()[i];
    Tell(to, "B " + std::to_string(i));
    Trial trial(*module, settings, plan.survey(), stand.keys());
    if (const auto reached = stand.Reach(one.stage); reached.ok())
      stand.Run(one, trial);
    else
      (void)trial.Check(false, reached.error());
    Tell(to, "R " + std::to_string(static_cast<int>(trial.outcome())) + ' ' + OneLine(trial.message()));
  }
  ::_exit(0);
}

// ---- The parent

// Lines of a pipe, and whether it went silent.
class Listener {
 public:
  explicit Listener(int from) : from_(from) {}
  bool silent() const { return silent_; }
  std::optional<std::string> Line() {
    for (;;) {
      const std::size_t end = text_.find('\n');
      if (end != std::string::npos) {
        std::string line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return line;
      }
      pollfd wait{from_, POLLIN, 0};
      silent_ = ::poll(&wait, 1, kSilenceMs) == 0;
      char buffer[4096];
      const ssize_t got = silent_ ? 0 : ::read(from_, buffer, sizeof buffer);
      if (got <= 0) return std::nullopt;
      text_.append(buffer, static_cast<std::size_t>(got));
    }
  }

 private:
  int from_;
  std::string text_;
  bool silent_ = false;
};

std::string HowItEnded(bool silent, int status) {
  if (silent) return "the module does not answer";
  if (WIFSIGNALED(status)) return std::string("the module ends the process: ") + ::strsignal(WTERMSIG(status));
  return "the module ends the process with status " + std::to_string(WEXITSTATUS(status));
}

// Runs cases from `results.size()` on, in one child.
void RunSome(const Plan& plan, const Settings& settings, std::vector<CaseResult>& results,
             const std::function<void(const CaseResult&)>& heard) {
  const auto add = [&](Outcome outcome, std::string message) {
    results.push_back({&plan.cases()[results.size()], outcome, std::move(message)});
    heard(results.back());
  };
  int ends[2];
  if (::pipe(ends) != 0) return add(Outcome::kFailed, "no pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    // A module that is abandoned in a hang must not outlive the run.
    ::setpgid(0, 0);
    RunFrom(results.size(), plan, settings, ends[1]);
  }
  ::close(ends[1]);
  Listener listener(ends[0]);
  while (const auto line = listener.Line()) {
    if (line->starts_with("R ")) add(static_cast<Outcome>((*line)[2] - '0'), line->substr(4));
  }
  if (listener.silent()) ::kill(-child, SIGKILL);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (results.size() < plan.cases().size()) add(Outcome::kFailed, HowItEnded(listener.silent(), status));
}

}  // namespace

std::vector<CaseResult> RunPlan(const Plan& plan, const Settings& settings,
                                const std::function<void(const CaseResult&)>& heard) {
  std::vector<CaseResult> results;
  while (results.size() < plan.cases().size()) RunSome(plan, settings, results, heard);
  return results;
}

}  // namespace cmkd::conformance

// Starting and stopping it.
#include "tools/cmkctl/server_process.h"

#include <sys/wait.h>

#include <cstdio>
#include <fstream>

#include "pkcs11/wire/socket.h"

namespace cmkd::tools {

namespace {

constexpr std::chrono::milliseconds kPatience{5000};

std::string FaultOf(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    return signal == SIGKILL || signal == SIGTERM ? std::string() : "it was ended by signal " + std::to_string(signal);
  }
  const int status = WEXITSTATUS(wait_status);
  return status == 0 ? std::string() : "it ended with status " + std::to_string(status);
}

}  // namespace

ServerProcess::~ServerProcess() { Stop(); }

bool ServerProcess::Start() {
  ChildOptions child;
  child.arguments = options_.arguments;
  child.environment = options_.environment;
  child.output = options_.log;
  child.own_session = true;
  // It is nobody's service, whoever started this program.
  child.environment_without = {"NOTIFY_SOCKET",  "LISTEN_FDS",    "LISTEN_PID",
                               "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"};
  const std::optional<pid_t> pid = StartChild(child, waiter_);
  if (!pid) return false;
  pid_ = *pid;
  state_ = State::kStarting;
  if (!options_.pid_file.empty()) WritePidFile();
  return true;
}

// Renamed into place, so that nobody reads half a number.
void ServerProcess::WritePidFile() const {
  const std::string fresh = options_.pid_file + ".new";
  std::ofstream(fresh, std::ios::trunc) << pid_ << '\n';
  std::rename(fresh.c_str(), options_.pid_file.c_str());
}

ServerProcess::State ServerProcess::Poll() {
  if (state_ == State::kDown) return state_;
  if (const std::optional<int> status = Reap(pid_)) {
    Ended(*status);
  } else if (state_ == State::kStarting && wire::Connect(options_.socket).valid()) {
    state_ = State::kUp;
  }
  return state_;
}

void ServerProcess::Stop() {
  if (state_ != State::kDown) Ended(StopChild(pid_, kPatience, waiter_));
}

void ServerProcess::Kill() {
  if (state_ == State::kDown) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  Ended(status);
}

void ServerProcess::Ended(int wait_status) {
  state_ = State::kDown;
  if (fault_.empty()) fault_ = FaultOf(wait_status);
}

}  // namespace cmkd::tools

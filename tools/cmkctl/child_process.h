// Child processes and the signals around them, for a parent with one thread.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cmkd::tools {

// Takes signals out of their ordinary course: from construction on they wait to be asked for. SIGCHLD is among them, so
// a wait ends when a child does. A signal that this process was told to ignore stays ignored. One at a time.
class SignalWaiter {
 public:
  SignalWaiter();
  ~SignalWaiter();
  SignalWaiter(const SignalWaiter&) = delete;
  SignalWaiter& operator=(const SignalWaiter&) = delete;

  // The next signal within the time; nothing when it passed. A negative time waits for ever.
  std::optional<siginfo_t> Wait(std::chrono::milliseconds time);
  // Gives signals back that were meant for somebody else; the next Wait has them first.
  void PutBack(std::vector<siginfo_t> signals);
  // The signal mask as it was, for children.
  const sigset_t& mask_before() const { return before_; }

 private:
  sigset_t set_{};
  sigset_t before_{};
  std::vector<siginfo_t> put_back_;
};

struct ChildOptions {
  std::vector<std::string> arguments;  // the program first; looked for in PATH when it has no slash
  std::vector<std::pair<std::string, std::string>> environment;  // set in addition
  std::vector<std::string> environment_without;                  // and these taken away
  std::string output;        // file that stdout and stderr are appended to; empty: this process's own
  bool own_session = false;  // out of reach of the terminal's signals
  int signal_when_parent_dies = SIGKILL;
};

// Statuses of a child that could not be started (POSIX shells use the same).
inline constexpr int kCannotExecute = 126;
inline constexpr int kNotFound = 127;

// Starts a child. Nothing when there can be no further process. A program that cannot be run is a child that says so on
// stderr and exits with kNotFound or kCannotExecute.
std::optional<pid_t> StartChild(const ChildOptions& options, const SignalWaiter& waiter);

// How a child ended, as a shell puts it: its exit status, or 128 and the signal's number.
int StatusOf(int wait_status);

// Takes notice of the child's end; nothing while it lives.
std::optional<int> Reap(pid_t pid);

// SIGTERM, then SIGKILL after `patience`. Gives the wait status. Signals that come meanwhile wait for the next Wait.
int StopChild(pid_t pid, std::chrono::milliseconds patience, SignalWaiter& waiter);

}  // namespace cmkd::tools

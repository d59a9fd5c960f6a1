// A server on a Unix socket that this process starts, watches, restarts and stops: the daemon, or a host of an HSM.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/cmkctl/child_process.h"

namespace cmkd::tools {

class ServerProcess {
 public:
  struct Options {
    std::vector<std::string> arguments;  // the program first
    std::vector<std::pair<std::string, std::string>> environment;
    std::string socket;  // it is up when it listens there
    std::string log;
    std::string pid_file;  // holds the number of the process that runs now; empty: none
  };
  enum class State {
    kDown,      // not running
    kStarting,  // runs, but does not listen yet
    kUp,
  };

  // `waiter` is borrowed.
  ServerProcess(Options options, SignalWaiter& waiter) : options_(std::move(options)), waiter_(waiter) {}
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // False when there can be no further process.
  bool Start();
  // Looks again: whether it has come up, or has ended by itself.
  State Poll();
  // Ends it: SIGTERM, then SIGKILL after 5 seconds; or SIGKILL at once.
  void Stop();
  void Kill();

  pid_t pid() const { return pid_; }
  // A fault: it ended by itself with an error or a crash, or answered SIGTERM with anything but a clean exit. Being
  // killed by SIGKILL is none: somebody wanted that.
  bool faulted() const { return !fault_.empty(); }
  const std::string& fault() const { return fault_; }

 private:
  void WritePidFile() const;
  void Ended(int wait_status);

  Options options_;
  SignalWaiter& waiter_;
  pid_t pid_ = -1;
  State state_ = State::kDown;
  std::string fault_;
};

}  // namespace cmkd::tools

// HostProcess: keeps one cmkd-hsm-host running for one module: starts it, waits until it listens, starts another when
// it dies, and ends it with itself.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/result.h"

namespace cmkd::daemon {

struct HostOptions {
  std::string name;     // of the back end, for messages
  std::string program;  // the host's executable
  std::string module;
  std::string library_options;  // empty: none
  bool serialise = false;
  std::optional<std::uint32_t> user;               // whom the host becomes; nothing: it stays what we are
  std::map<std::string, std::string> environment;  // all the host gets
  std::string socket_prefix;  // sockets are "<prefix>-<generation>.sock"; the folder exists and is ours alone
};

class HostProcess {
 public:
  explicit HostProcess(HostOptions options) : options_(std::move(options)) {}
  // Ends the process: SIGTERM, and SIGKILL when it takes too long.
  ~HostProcess();
  HostProcess(const HostProcess&) = delete;
  HostProcess& operator=(const HostProcess&) = delete;

  // Starts the host and waits until it listens; hosts of an earlier daemon may end first. The error is a sentence, the
  // host's own where it has one.
  Result<void, std::string> Start();

  // ---- Any thread.
  // Where the host of now listens; empty while there is none. No two hosts listen on the same path.
  std::string socket_path() const;
  // Counts the hosts that have listened; moves at each restart.
  std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  int pid() const;
  // Kills the host; another is started. `why` is logged, but not again and again.
  void Kill(const std::string& why);

 private:
  // A daemon that was killed leaves a host that is still ending, with the device in its hands.
  void WaitForPredecessors() const;
  // The watcher: one thread that starts every host, for a child gets its death signal from the thread that made it.
  void Watch();
  // Starts one and waits until it listens. Empty: it does. Otherwise a sentence.
  std::string Launch(std::uint64_t generation);
  std::string WaitUntilReady(int ready_fd);
  // Waits for the end of the process, reaps it, and says how it ended.
  std::string WaitForEnd();
  bool Pause(std::chrono::milliseconds duration);
  std::string PathOf(std::uint64_t generation) const;

  const HostOptions options_;
  std::atomic<std::uint64_t> generation_{0};
  mutable std::mutex mutex_;  // the members below
  std::condition_variable changed_;
  int pid_ = -1;  // not yet reaped
  bool listening_ = false;
  bool killed_ = false;  // by us
  std::string last_why_;
  bool stopping_ = false;
  bool first_done_ = false;
  std::string first_error_;
  std::thread watcher_;
};

}  // namespace cmkd::daemon

// Spawning, watching and ending the host.
#include "daemon/hsm/host_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "common/file.h"
#include "daemon/system/log.h"
#include "pkcs11/wire/socket.h"

namespace cmkd::daemon {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstBackoff{20};
constexpr milliseconds kLongestBackoff{5000};
// After a host that had listened: callers wait for the next one, so it is never far away.
constexpr milliseconds kBackoffOfOneThatListened{200};
// A host that lived so long did not die of its start.
constexpr std::chrono::seconds kHealthyLife{30};
// A module may look for its hardware first.
constexpr milliseconds kStartDeadline{60'000};
constexpr milliseconds kEndDeadline{7000};
constexpr int kReadyFd = 3;

// posix_spawn's two descriptions, released with this.
class SpawnPlan {
 public:
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  // No input, our stderr for both outputs, the ready pipe, and nothing else of ours: no store, no client's socket, no
  // folder, no terminal. Signals as in a fresh process.
  bool Prepare(int ready_fd) {
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    return ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0) == 0 &&
           ::posix_spawn_file_actions_adddup2(&actions_, STDERR_FILENO, STDOUT_FILENO) == 0 &&
           ::posix_spawn_file_actions_adddup2(&actions_, ready_fd, kReadyFd) == 0 &&
           ::posix_spawn_file_actions_addclosefrom_np(&actions_, kReadyFd + 1) == 0 &&
           ::posix_spawn_file_actions_addchdir_np(&actions_, "/") == 0 &&
           ::posix_spawnattr_setsigmask(&attributes_, &none) == 0 &&
           ::posix_spawnattr_setsigdefault(&attributes_, &all) == 0 &&
           ::posix_spawnattr_setflags(&attributes_,
                                      POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID) == 0;
  }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// "<prefix><digits>.sock": the prefix alone could be that of another back end, too.
bool IsSocketOf(std::string_view prefix, std::string_view path) {
  constexpr std::string_view kEnding = ".sock";
  if (!path.starts_with(prefix) || !path.ends_with(kEnding) || path.size() <= prefix.size() + kEnding.size())
    return false;
  const std::string_view number = path.substr(prefix.size(), path.size() - prefix.size() - kEnding.size());
  return number.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string DescribeEnd(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return "exited with " + std::to_string(info.si_status);
  return "was ended by signal " + std::to_string(info.si_status);
}

// How the host is called.
std::vector<std::string> ArgumentsOf(const HostOptions& options, const std::string& socket) {
  std::vector<std::string> arguments = {options.program,
                                        "--socket",
                                        socket,
                                        "--module",
                                        options.module,
                                        "--name",
                                        options.name,
                                        "--parent",
                                        std::to_string(::getpid()),
                                        "--allow-uid",
                                        std::to_string(::getuid()),
                                        "--ready-fd",
                                        std::to_string(kReadyFd)};
  if (!options.library_options.empty()) {
    arguments.insert(arguments.end(), {"--library-options", options.library_options});
  }
  if (options.serialise) arguments.push_back("--serialise");
  if (options.user && *options.user != ::geteuid()) {
    arguments.insert(arguments.end(), {"--user", std::to_string(*options.user)});
  }
  return arguments;
}

}  // namespace

HostProcess::~HostProcess() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (pid_ > 0) ::kill(pid_, SIGTERM);
  }
  changed_.notify_all();
  if (!watcher_.joinable()) return;
  {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kEndDeadline, [&] { return pid_ < 0; }) && pid_ > 0) ::kill(pid_, SIGKILL);
  }
  watcher_.join();
  ::unlink(PathOf(generation()).c_str());
}

Result<void, std::string> HostProcess::Start() {
  if (PathOf(999'999).size() >= sizeof(sockaddr_un::sun_path)) {
    return Failure{"the path " + options_.socket_prefix + " is too long for a socket"};
  }
  if (::access(options_.program.c_str(), X_OK) != 0) {
    return Failure{WithReason("cannot run " + options_.program)};
  }
  WaitForPredecessors();
  watcher_ = std::thread([this] { Watch(); });
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return first_done_; });
  if (!first_error_.empty()) return Failure{first_error_};
  return {};
}

void HostProcess::WaitForPredecessors() const {
  const std::filesystem::path prefix(options_.socket_prefix + "-");
  const auto deadline = std::chrono::steady_clock::now() + kEndDeadline;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(prefix.parent_path(), ignored)) {
    const std::string& path = entry.path().native();
    if (!IsSocketOf(prefix.native(), path)) continue;
    while (wire::Connect(path).valid() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(milliseconds(20));
    }
    if (!wire::Connect(path).valid()) ::unlink(path.c_str());
  }
}

std::string HostProcess::PathOf(std::uint64_t generation) const {
  return options_.socket_prefix + "-" + std::to_string(generation) + ".sock";
}

std::string HostProcess::socket_path() const {
  const std::lock_guard lock(mutex_);
  return listening_ ? PathOf(generation()) : std::string();
}

int HostProcess::pid() const {
  const std::lock_guard lock(mutex_);
  return pid_;
}

void HostProcess::Kill(const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (pid_ <= 0) return;
  if (why != last_why_) LogWarning("HSM " + options_.name + ": the host is started anew: " + why);
  last_why_ = why;
  killed_ = true;
  ::kill(pid_, SIGKILL);
}

void HostProcess::Watch() {
  milliseconds backoff = kFirstBackoff;
  for (std::uint64_t generation = 1;; ++generation) {
    const auto begun = std::chrono::steady_clock::now();
    const std::string error = Launch(generation);
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      listening_ = error.empty();
      if (listening_) generation_.store(generation, std::memory_order_release);
      first = !first_done_;
      first_done_ = true;
      if (first) first_error_ = error;
    }
    changed_.notify_all();
    const std::string end = WaitForEnd();
    ::unlink(PathOf(generation).c_str());
    if (first && !error.empty()) return;  // whoever started us is told, and does not wait for a second try
    if (std::chrono::steady_clock::now() - begun > kHealthyLife) backoff = kFirstBackoff;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      if (!std::exchange(killed_, false))
        LogError("HSM " + options_.name + ": the host " + (error.empty() ? end : "does not start: " + error) +
                 "; it is started again");
    }
    if (!Pause(error.empty() ? std::min(backoff, kBackoffOfOneThatListened) : backoff)) return;
    backoff = std::min(backoff * 2, kLongestBackoff);
  }
}

std::string HostProcess::Launch(std::uint64_t generation) {
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return WithReason("pipe");
  // dup2 onto itself would leave close-on-exec set; keep the write end away from the number it will have there.
  int write_end = pipe_fds[1];
  if (write_end == kReadyFd) {
    write_end = ::fcntl(pipe_fds[1], F_DUPFD_CLOEXEC, kReadyFd + 1);
    ::close(pipe_fds[1]);
  }
  std::vector<std::string> arguments = ArgumentsOf(options_, PathOf(generation));
  std::vector<std::string> environment;
  for (const auto& [key, value] : options_.environment) environment.push_back(key + "=" + value);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  SpawnPlan plan;
  pid_t pid = -1;
  int error = plan.Prepare(write_end) ? 0 : ENOMEM;
  {
    // Nobody may look for a process that is being started and find none to end.
    const std::lock_guard lock(mutex_);
    if (stopping_) error = ECANCELED;
    if (error == 0) {
      error =
          ::posix_spawn(&pid, options_.program.c_str(), plan.actions(), plan.attributes(), argv.data(), envp.data());
    }
    if (error == 0) pid_ = pid;
  }
  ::close(write_end);
  std::string said =
      error == 0 ? WaitUntilReady(pipe_fds[0]) : "cannot run " + options_.program + ": " + std::strerror(error);
  ::close(pipe_fds[0]);
  if (said == "ready\n") return {};
  while (!said.empty() && said.back() == '\n') said.pop_back();
  if (said.empty()) said = "it ended before it listened";
  const std::lock_guard lock(mutex_);
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  return said;
}

std::string HostProcess::WaitUntilReady(int ready_fd) {
  const auto deadline = std::chrono::steady_clock::now() + kStartDeadline;
  std::string said;
  while (said.find('\n') == std::string::npos) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return "it did not listen within a minute";
    pollfd entry{ready_fd, POLLIN, 0};
    if (::poll(&entry, 1, static_cast<int>(left)) < 0 && errno != EINTR) break;
    char piece[256];
    const ssize_t got = entry.revents == 0 ? -1 : ::read(ready_fd, piece, sizeof piece);
    if (got == 0) break;
    if (got > 0) said.append(piece, static_cast<std::size_t>(got));
    if (said.size() > 4096) break;
  }
  return said;
}

std::string HostProcess::WaitForEnd() {
  pid_t pid = -1;
  {
    const std::lock_guard lock(mutex_);
    pid = pid_;
  }
  siginfo_t info{};
  if (pid > 0) {
    // First without reaping: until pid_ is taken back, the number belongs to this child, and kill() cannot hit another.
    while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
    const std::lock_guard lock(mutex_);
    (void)::waitpid(pid, nullptr, 0);
    pid_ = -1;
    listening_ = false;
  }
  changed_.notify_all();
  return pid > 0 ? DescribeEnd(info) : "was not started";
}

bool HostProcess::Pause(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [&] { return stopping_; });
}

}  // namespace cmkd::daemon

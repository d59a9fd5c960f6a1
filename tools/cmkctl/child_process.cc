// fork, exec, wait.
#include "tools/cmkctl/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace cmkd::tools {

namespace {

using Clock = std::chrono::steady_clock;

// In the child: everything from here to exec, or the end.
[[noreturn]] void Become(const ChildOptions& options, pid_t parent, const sigset_t& mask) {
  ::prctl(PR_SET_PDEATHSIG, options.signal_when_parent_dies);
  // The parent may have died before it was watched.
  if (::getppid() != parent) ::_exit(kCannotExecute);
  if (options.own_session) ::setsid();
  if (!options.output.empty()) {
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int file = ::open(options.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (null < 0 || file < 0) ::_exit(kCannotExecute);
    ::dup2(null, STDIN_FILENO);
    ::dup2(file, STDOUT_FILENO);
    ::dup2(file, STDERR_FILENO);
  }
  for (const std::string& name : options.environment_without) ::unsetenv(name.c_str());
  for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> arguments;
  for (const std::string& argument : options.arguments) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  ::execvp(arguments[0], arguments.data());
  const int error = errno;
  std::fprintf(stderr, "cmkctl: cannot run %s: %s\n", arguments[0], std::strerror(error));
  std::fflush(stderr);
  ::_exit(error == ENOENT ? kNotFound : kCannotExecute);
}

}  // namespace

SignalWaiter::SignalWaiter() {
  ::signal(SIGCHLD, SIG_DFL);  // ignored, children would vanish unseen
  sigemptyset(&set_);
  sigaddset(&set_, SIGCHLD);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) {
    struct sigaction now {};
    const bool ignored = ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
    if (!ignored) sigaddset(&set_, signal);
  }
  ::sigprocmask(SIG_BLOCK, &set_, &before_);
}

SignalWaiter::~SignalWaiter() {
  // What still waits was meant for what is over now.
  while (Wait(std::chrono::milliseconds(0))) {
  }
  ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

std::optional<siginfo_t> SignalWaiter::Wait(std::chrono::milliseconds time) {
  if (!put_back_.empty()) {
    const siginfo_t first = put_back_.front();
    put_back_.erase(put_back_.begin());
    return first;
  }
  const Clock::time_point end = Clock::now() + time;
  for (;;) {
    siginfo_t info{};
    int signal = 0;
    if (time.count() < 0) {
      signal = ::sigwaitinfo(&set_, &info);
    } else {
      const auto left = std::max(std::chrono::nanoseconds(0), std::chrono::nanoseconds(end - Clock::now()));
      const timespec limit{static_cast<time_t>(left.count() / 1'000'000'000),
                           static_cast<long>(left.count() % 1'000'000'000)};
      signal = ::sigtimedwait(&set_, &info, &limit);
    }
    if (signal > 0) return info;
    if (errno != EINTR) return std::nullopt;
  }
}

void SignalWaiter::PutBack(std::vector<siginfo_t> signals) {
  put_back_.insert(put_back_.end(), signals.begin(), signals.end());
}

std::optional<pid_t> StartChild(const ChildOptions& options, const SignalWaiter& waiter) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) Become(options, parent, waiter.mask_before());
  return pid < 0 ? std::nullopt : std::optional(pid);
}

int StatusOf(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

std::optional<int> Reap(pid_t pid) {
  int status = 0;
  return ::waitpid(pid, &status, WNOHANG) == pid ? std::optional(status) : std::nullopt;
}

int StopChild(pid_t pid, std::chrono::milliseconds patience, SignalWaiter& waiter) {
  ::kill(pid, SIGTERM);
  const Clock::time_point end = Clock::now() + patience;
  std::vector<siginfo_t> others;
  std::optional<int> status;
  for (bool killed = false; !(status = Reap(pid));) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0 && !killed) {
      ::kill(pid, SIGKILL);
      killed = true;
    }
    const auto signal =
        waiter.Wait(killed ? std::chrono::milliseconds(10) : std::max(left, std::chrono::milliseconds(1)));
    if (signal && signal->si_signo != SIGCHLD) others.push_back(*signal);
  }
  waiter.PutBack(std::move(others));
  return *status;
}

}  // namespace cmkd::tools

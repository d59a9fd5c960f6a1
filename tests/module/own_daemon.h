// A daemon of a test's own, with one token: started, killed and started again over the same store.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/module/loaded_module.h"

namespace cmkd::tests {

inline constexpr char kTokenLabel[] = "module-test";
inline constexpr char kUserPin[] = "123456";
inline constexpr char kSoPin[] = "87654321";

class OwnDaemon {
 public:
  // `more` is added to the configuration file.
  explicit OwnDaemon(const std::string& more = {}) {
    std::string name = (std::filesystem::temp_directory_path() / "cmkd-module-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    std::ofstream(directory_ + "/cmkd.toml")
        << "[daemon]\nsocket = \"cmkd.sock\"\nstate_directory = \"state\"\nsocket_mode = 0o600\n"
        << more;
    ::setenv("CMKD_SOCKET", socket_path().c_str(), 1);
    ::setenv("CMKD_PIN", kUserPin, 1);
    ::setenv("CMKD_SO_PIN", kSoPin, 1);
  }
  ~OwnDaemon() {
    Stop(SIGTERM);
    std::filesystem::remove_all(directory_);
  }
  OwnDaemon(const OwnDaemon&) = delete;
  OwnDaemon& operator=(const OwnDaemon&) = delete;

  std::string socket_path() const { return directory_ + "/cmkd.sock"; }
  pid_t pid() const { return pid_; }

  // A connected socket, or -1.
  int Connect() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path().copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
    ::close(fd);
    return -1;
  }

  // True when it answers, for which a loaded machine has a minute.
  bool Start() {
    pid_ = ::fork();
    if (pid_ == 0) {
      const int log = ::open((directory_ + "/log").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
      ::dup2(log, 1);
      ::dup2(log, 2);
      const std::string program = BuiltFile("bin/cmkd");
      const std::string config = directory_ + "/cmkd.toml";
      ::execl(program.c_str(), program.c_str(), "--config", config.c_str(), nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 12'000; ++i) {
      const int fd = Connect();
      if (fd >= 0) {
        ::close(fd);
        return true;
      }
      if (::waitpid(pid_, nullptr, WNOHANG) == pid_) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  bool MakeToken(const std::string& profile = "general") {
    return Cmkctl("token create --label " + std::string(kTokenLabel) + " --profile " + profile) == 0;
  }
  // False when it did not end by that signal or with status 0.
  bool Stop(int signal) {
    if (pid_ <= 0) return true;
    ::kill(pid_, signal);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) || (WIFSIGNALED(status) && WTERMSIG(status) == signal);
  }
  bool KillAndStart() { return Stop(SIGKILL) && Start(); }

  bool alive() const { return pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == 0; }

  // A number of `cmkctl --json status`; -1 without one.
  long Status(const std::string& name) const {
    std::string text;
    if (Cmkctl("--json status", &text) != 0) return -1;
    const std::string key = '"' + name + "\": ";
    const std::size_t at = text.find(key);
    return at == std::string::npos ? -1 : std::strtol(text.c_str() + at + key.size(), nullptr, 10);
  }
  // Whether that number becomes `wanted` within a minute or, where cmkctl is slow to start, more.
  bool StatusBecomes(const std::string& name, long wanted) const {
    for (int i = 0; i < 1200; ++i) {
      if (Status(name) == wanted) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }

 private:
  std::string directory_;
  pid_t pid_ = -1;
};

}  // namespace cmkd::tests

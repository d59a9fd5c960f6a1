// Reading a PIN without leaving it anywhere.
#include "daemon/hsm/pin_source.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "common/file.h"

namespace cmkd::daemon {

namespace {

constexpr std::chrono::seconds kCommandDeadline{30};

// The first line of what was read.
Result<SecretBytes, std::string> FirstLine(SecretBytes content, const std::string& from) {
  const ByteView bytes = content.view();
  const auto end = std::find(bytes.begin(), bytes.end(), std::uint8_t{'\n'});
  std::size_t length = static_cast<std::size_t>(end - bytes.begin());
  if (length != 0 && end != bytes.end() && bytes[length - 1] == '\r') --length;
  if (length == 0) return Failure{from + " holds no PIN"};
  content.Truncate(length);
  return content;
}

Result<SecretBytes, std::string> ReadFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Failure{WithReason("cannot open " + path)};
  struct stat status {};
  // 022 would let somebody else choose the PIN, 004 lets everybody read it.
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || (status.st_mode & 0026) != 0) {
    ::close(fd);
    return Failure{path + " must be a file that only its owner may change and others may not read"};
  }
  SecretBytes content(kPinBytesMax + 1);
  std::size_t have = 0;
  ssize_t got = 0;
  while (have < content.size() && (got = ::read(fd, content.bytes().data() + have, content.size() - have)) != 0) {
    if (got < 0 && errno != EINTR) break;
    if (got > 0) have += static_cast<std::size_t>(got);
  }
  ::close(fd);
  if (got < 0) return Failure{WithReason("cannot read " + path)};
  if (have > kPinBytesMax) return Failure{path + " is too long for a PIN"};
  content.Truncate(have);
  return FirstLine(std::move(content), path);
}

Result<SecretBytes, std::string> ReadCredential(const std::string& name) {
  if (name.find('/') != std::string::npos || name == "." || name == "..")
    return Failure{"a credential's name is no path: " + name};
  const char* directory = ::secure_getenv("CREDENTIALS_DIRECTORY");
  if (directory == nullptr || *directory == '\0') {
    return Failure{"there are no systemd credentials; is LoadCredential=" + name + ": in the unit?"};
  }
  return ReadFile(std::string(directory) + "/" + name);
}

// Reads until the other end closes, the room is full or the time is over.
bool ReadAll(int fd, SecretBytes& content, std::size_t& have) {
  const auto deadline = std::chrono::steady_clock::now() + kCommandDeadline;
  while (have < content.size()) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd entry{fd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(left));
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    if (ready < 0) return false;
    const ssize_t got = ::read(fd, content.bytes().data() + have, content.size() - have);
    if (got == 0) return true;
    if (got < 0 && errno != EINTR) return false;
    if (got > 0) have += static_cast<std::size_t>(got);
  }
  return true;
}

Result<SecretBytes, std::string> RunCommand(const std::vector<std::string>& command) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return Failure{WithReason("pipe")};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  ::close(fds[1]);
  if (error != 0) {
    ::close(fds[0]);
    return Failure{"cannot run " + command[0] + ": " + std::strerror(error)};
  }
  SecretBytes content(kPinBytesMax + 1);
  std::size_t have = 0;
  const bool whole = ReadAll(fds[0], content, have);
  ::close(fds[0]);
  if (!whole || have > kPinBytesMax) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!whole) return Failure{command[0] + " did not print a PIN in time"};
  if (have > kPinBytesMax) return Failure{command[0] + " printed too much for a PIN"};
  if (status != 0) return Failure{command[0] + " failed"};
  content.Truncate(have);
  return FirstLine(std::move(content), command[0]);
}

}  // namespace

Result<SecretBytes, std::string> ReadPin(const PinSource& source) {
  if (!source.file.empty()) return ReadFile(source.file);
  if (!source.credential.empty()) return ReadCredential(source.credential);
  if (!source.command.empty()) return RunCommand(source.command);
  return Failure<std::string>{"no source of a PIN is configured"};
}

}  // namespace cmkd::daemon

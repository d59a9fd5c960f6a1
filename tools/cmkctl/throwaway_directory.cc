// Making it, and clearing it up in time.
#include "tools/cmkctl/throwaway_directory.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace cmkd::tools {

namespace {

// sockaddr_un has 107 bytes for a path. Behind the folder come the directory's name (20 bytes) and the longest socket
// that a daemon makes in its state directory: "/state/hsm-firmware_sim-999999.sock".
constexpr std::size_t kFolderBytesMax = 50;

std::string TemporaryFolder() {
  const char* named = ::getenv("TMPDIR");
  if (named == nullptr || named[0] != '/' || std::strlen(named) > kFolderBytesMax) return "/tmp";
  return named;
}

void Pause(long milliseconds) {
  const timespec time{0, milliseconds * 1'000'000};
  ::nanosleep(&time, nullptr);
}

// What still writes into it is on its way out (it dies with the same parent): a few attempts are enough.
void Remove(const std::string& path) {
  for (int attempt = 0; attempt < 200; ++attempt) {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (!error && !std::filesystem::exists(path, error)) return;
    Pause(10);
  }
}

[[noreturn]] void BeJanitor(int pipe_end, const std::string& path) {
  ::setsid();
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  // Whoever reads the output of the parent must not wait for this process.
  const int null = ::open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
  char byte = 0;
  ssize_t got = 0;
  while ((got = ::read(pipe_end, &byte, 1)) < 0 && errno == EINTR) {
  }
  if (got == 0) {
    Remove(path);
    // A process that was being started while its parent died may have come late.
    Pause(50);
    Remove(path);
  }
  ::_exit(0);
}

}  // namespace

Result<std::unique_ptr<ThrowawayDirectory>, std::string> ThrowawayDirectory::Make(const std::string& prefix) {
  std::string path = TemporaryFolder() + '/' + prefix + ".XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return Failure{"Cannot make " + path + ": " + std::strerror(errno) + '.'};
  std::unique_ptr<ThrowawayDirectory> directory(new ThrowawayDirectory(std::move(path)));
  if (!directory->StartJanitor()) return Failure{std::string("Cannot start a process: ") + std::strerror(errno) + '.'};
  return directory;
}

bool ThrowawayDirectory::StartJanitor() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  janitor_ = ::fork();
  if (janitor_ == 0) {
    ::close(ends[1]);
    BeJanitor(ends[0], path_);
  }
  ::close(ends[0]);
  leash_ = ends[1];
  return janitor_ > 0;
}

ThrowawayDirectory::~ThrowawayDirectory() {
  if (!keep_) Remove(path_);
  if (leash_ >= 0) {
    const char byte = 1;
    (void)!::write(leash_, &byte, 1);
    ::close(leash_);
  }
  if (janitor_ > 0) ::waitpid(janitor_, nullptr, 0);
}

}  // namespace cmkd::tools

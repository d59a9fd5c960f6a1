// Starting them, waiting for them, and what they do.
#include "tests/attacks/children.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tests/attacks/bench.h"

namespace cmkd::attacks {
namespace {

constexpr int kStopped = 124;

int WaitFor(pid_t pid, int seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  int status = 0;
  for (;;) {
    const pid_t done = ::waitpid(pid, &status, WNOHANG);
    if (done == pid) break;
    if (done < 0) return kStopped;
    if (std::chrono::steady_clock::now() > end) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &status, 0);
      return kStopped;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// What a process without a login sees at the handles that are easy to guess, and at the one that it was told.
int Guess(const std::string& handle) {
  Bench bench;
  CK_SESSION_HANDLE session = 0;
  if (!bench.trouble().empty() || bench.Open(session) != CKR_OK) return 2;
  std::vector<CK_OBJECT_HANDLE> handles = {std::stoul(handle)};
  for (CK_OBJECT_HANDLE small = 0; small < 4096; ++small) handles.push_back(small);
  for (CK_OBJECT_HANDLE near = 0; near < 4096; ++near) handles.push_back((CK_OBJECT_HANDLE{1} << 48) + near);
  int seen = 0;
  for (const CK_OBJECT_HANDLE guess : handles) {
    CK_BBOOL hidden = CK_FALSE;
    CK_ATTRIBUTE wanted{CKA_PRIVATE, &hidden, sizeof hidden};
    if (bench.f()->C_GetAttributeValue(session, guess, &wanted, 1) == CKR_OK && hidden == CK_TRUE) ++seen;
  }
  return seen == 0 ? 0 : 3;
}

int Talk() {
  Bench bench;
  CK_SESSION_HANDLE session = 0;
  CK_ULONG count = 0;
  CK_INFO info{};
  bench.f()->C_GetInfo(&info);
  bench.f()->C_GetSlotList(CK_TRUE, nullptr, &count);
  bench.f()->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &session);
  bench.f()->C_GenerateRandom(session, reinterpret_cast<CK_BYTE*>(&info), sizeof info);
  return 0;
}

int LogIn() {
  Bench bench;
  return bench.trouble().empty() && bench.Begin() == CKR_OK ? 0 : 2;
}

}  // namespace

int RunSelf(const std::vector<std::string>& arguments,
            const std::vector<std::pair<std::string, std::string>>& environment, int seconds) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(nowhere, STDOUT_FILENO);
    ::dup2(nowhere, STDERR_FILENO);
    std::vector<char*> list = {const_cast<char*>("attacks")};
    for (const std::string& argument : arguments) list.push_back(const_cast<char*>(argument.c_str()));
    list.push_back(nullptr);
    ::execv("/proc/self/exe", list.data());
    ::_exit(127);
  }
  return pid < 0 ? kStopped : WaitFor(pid, seconds);
}

int InFork(const std::function<int()>& body, int seconds) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  return pid < 0 ? kStopped : WaitFor(pid, seconds);
}

int RunPart(const std::vector<std::string>& arguments) {
  if (arguments.size() == 2 && arguments[0] == "guess") return Guess(arguments[1]);
  if (!arguments.empty() && arguments[0] == "talk") return Talk();
  if (!arguments.empty() && arguments[0] == "login") return LogIn();
  return 2;
}

}  // namespace cmkd::attacks

// Starting them, waiting for them, and what they do.
#include "tests/attacks/children.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
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

// The device reads the script again when it changes.
bool WriteFaults(const std::string& script) {
  const char* path = std::getenv("CMKD_FAULTS");
  if (path == nullptr) return false;
  const std::string fresh = std::string(path) + ".new";
  std::ofstream(fresh, std::ios::trunc) << script;
  return std::rename(fresh.c_str(), path) == 0;
}

// How often the sandbox's log has this line.
int Logged(const std::string& what) {
  const char* directory = std::getenv("CMKD_SANDBOX_DIR");
  std::ifstream log(std::string(directory == nullptr ? "" : directory) + "/cmkd.log");
  int count = 0;
  for (std::string line; std::getline(log, line);) count += line.find(what) != std::string::npos ? 1 : 0;
  return count;
}

// One signature while the computation goes wrong; 0 when what came out, if anything, is right.
int SignWithAFault(const Bench& bench, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE pub, CK_OBJECT_HANDLE priv) {
  const Bytes message(32, 5);
  const auto verifies = [&](Bytes& signature) {
    Mechanism mechanism(type);
    Bytes copy = message;
    return bench.f()->C_VerifyInit(bench.session(), mechanism.get(), pub) == CKR_OK &&
           bench.f()->C_Verify(bench.session(), copy.data(), copy.size(), signature.data(), signature.size()) == CKR_OK;
  };
  const int before = Logged("a bit flipped");
  Bytes wrong, right;
  if (!WriteFaults("on signature times 1 flip\n")) return 3;
  const bool given = bench.Sign(Mechanism(type), priv, message, wrong) == CKR_OK;
  if (!WriteFaults("seed 1\n")) return 3;
  if (Logged("a bit flipped") == before) return 4;  // it did not happen
  if (given && !verifies(wrong)) return kGivesWrongSignatures;
  // The device tests itself and goes on.
  if (bench.Sign(Mechanism(type), priv, message, right) != CKR_OK || !verifies(right)) return 5;
  return 0;
}

CK_RV MakeEd25519(const Bench& bench, CK_OBJECT_HANDLE& pub, CK_OBJECT_HANDLE& priv) {
  CK_MECHANISM mechanism{CKM_EC_EDWARDS_KEY_PAIR_GEN, nullptr, 0};
  Template open = Template().Bool(CKA_VERIFY, true).Raw(CKA_EC_PARAMS, {0x06, 0x03, 0x2B, 0x65, 0x70});
  Template closed = Template().Bool(CKA_SIGN, true);
  return bench.f()->C_GenerateKeyPair(bench.session(), &mechanism, open.data(), open.size(), closed.data(),
                                      closed.size(), &pub, &priv);
}

int SignWithFaults() {
  Bench bench;
  if (!bench.trouble().empty() || bench.Begin() != CKR_OK) return 2;
  CK_OBJECT_HANDLE pub = 0, priv = 0;
  if (bench.GenerateRsa(Template().Bool(CKA_VERIFY, true), Template().Bool(CKA_SIGN, true), pub, priv) != CKR_OK)
    return 2;
  if (const int status = SignWithAFault(bench, CKM_SHA256_RSA_PKCS, pub, priv); status != 0) return status;
  if (MakeEd25519(bench, pub, priv) != CKR_OK) return 2;
  return SignWithAFault(bench, CKM_EDDSA, pub, priv);
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
  if (!arguments.empty() && arguments[0] == "fault") return SignWithFaults();
  return 2;
}

}  // namespace cmkd::attacks

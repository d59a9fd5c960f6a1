// The host process by itself: who may speak to it and how, what it inherits, and that one host is never taken for
// another.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "daemon/hsm/host_process.h"
#include "daemon/hsm/remote_module.h"
#include "daemon/hsm_host/confinement.h"
#include "pkcs11/wire/codec.h"
#include "pkcs11/wire/socket.h"
#include "tests/daemon/hsm_rig.h"

namespace cmkd::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

template <class Condition>
bool WaitFor(Condition condition, std::chrono::seconds limit = std::chrono::seconds(20)) {
  const auto deadline = steady_clock::now() + limit;
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

bool IsAlive(int pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  return !text.empty() && text.find(") Z ") == std::string::npos;
}

class HostTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(rig_.missing().empty()) << rig_.missing();
    options_.name = "test";
    options_.program = rig_.config().host_program;
    options_.module = rig_.config().module;
    options_.environment = rig_.config().environment;
    options_.socket_prefix = rig_.folder() + "/host";
  }
  HsmRig rig_{RigKind::kSoftHsmHosted};
  HostOptions options_;
};

TEST_F(HostTest, AHandleOfAnEarlierHostMeansNothingInTheNext) {
  HostProcess process(options_);
  ASSERT_TRUE(process.Start().ok());
  RemoteModule module([&] { return process.socket_path(); });
  CK_FUNCTION_LIST_PTR f = module.functions();
  ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
  EXPECT_EQ(f->C_Initialize(nullptr), CKR_CRYPTOKI_ALREADY_INITIALIZED);
  CK_SLOT_ID slots[4];
  CK_ULONG count = 4;
  ASSERT_EQ(f->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
  CK_SESSION_HANDLE old = 0;
  ASSERT_EQ(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, nullptr, nullptr, &old), CKR_OK);
  CK_SESSION_INFO info{};
  ASSERT_EQ(f->C_GetSessionInfo(old, &info), CKR_OK);

  process.Kill("the test says so");
  ASSERT_TRUE(WaitFor([&] { return process.generation() == 2; }));
  // Until it is initialised again, nothing of ours reaches the new host.
  CK_SESSION_HANDLE session = 0;
  EXPECT_EQ(f->C_GetSessionInfo(old, &info), CKR_DEVICE_REMOVED);
  EXPECT_EQ(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, nullptr, nullptr, &session), CKR_DEVICE_REMOVED);
  ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
  ASSERT_EQ(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, nullptr, nullptr, &session), CKR_OK);
  EXPECT_EQ(f->C_GetSessionInfo(session, &info), CKR_OK);
  EXPECT_EQ(f->C_GetSessionInfo(old, &info), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(f->C_Finalize(nullptr), CKR_OK);
  EXPECT_EQ(f->C_GetSessionInfo(session, &info), CKR_CRYPTOKI_NOT_INITIALIZED);
}

TEST_F(HostTest, FunctionsThatTheModuleLacksAreSaidToBeMissing) {
  HostProcess process(options_);
  ASSERT_TRUE(process.Start().ok());
  RemoteModule module([&] { return process.socket_path(); });
  CK_FUNCTION_LIST_PTR f = module.functions();
  ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
  CK_SLOT_ID slots[4];
  CK_ULONG count = 4;
  ASSERT_EQ(f->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
  CK_SESSION_HANDLE session = 0;
  ASSERT_EQ(f->C_OpenSession(slots[0], CKF_SERIAL_SESSION, nullptr, nullptr, &session), CKR_OK);
  const auto* newest = reinterpret_cast<const CK_FUNCTION_LIST_3_2*>(f);
  EXPECT_EQ(newest->C_SessionCancel(session, CKF_ENCRYPT), CKR_FUNCTION_NOT_SUPPORTED) << "SoftHSM 2 ends with 2.40";
  EXPECT_EQ(f->C_CloseSession(session), CKR_OK);
  EXPECT_EQ(f->C_CloseSession(session), CKR_SESSION_HANDLE_INVALID);
}

TEST_F(HostTest, GetsOnlyWhatItIsGiven) {
  const std::string secret = rig_.folder() + "/open-in-the-daemon";
  const int leaked = ::open(secret.c_str(), O_CREAT | O_RDWR, 0600);  // not close-on-exec
  ASSERT_GE(leaked, 0);
  ::setenv("CMKD_TEST_SECRET", "of the daemon", 1);
  HostProcess process(options_);
  ASSERT_TRUE(process.Start().ok());
  const std::string proc = "/proc/" + std::to_string(process.pid());
  std::ifstream file(proc + "/environ");
  std::stringstream environment;
  environment << file.rdbuf();
  if (file.bad() || environment.str().empty()) GTEST_SKIP() << "this user may not look into a hardened process";
  EXPECT_EQ(environment.str().find("CMKD_TEST_SECRET"), std::string::npos);
  EXPECT_NE(environment.str().find("SOFTHSM2_CONF="), std::string::npos);
  for (const auto& entry : std::filesystem::directory_iterator(proc + "/fd")) {
    std::error_code gone;
    EXPECT_NE(std::filesystem::read_symlink(entry.path(), gone), secret);
  }
  ::unsetenv("CMKD_TEST_SECRET");
  ::close(leaked);
}

TEST_F(HostTest, EndsWithTheProcessObject) {
  int pid = 0;
  {
    HostProcess process(options_);
    ASSERT_TRUE(process.Start().ok());
    pid = process.pid();
    EXPECT_TRUE(IsAlive(pid));
  }
  EXPECT_FALSE(IsAlive(pid));
  for (const auto& entry : std::filesystem::directory_iterator(rig_.folder())) {
    EXPECT_NE(entry.path().extension(), ".sock") << entry.path();
  }
}

TEST_F(HostTest, EndsWithItsParent) {
  const std::string command = "SOFTHSM2_CONF=" + options_.environment.at("SOFTHSM2_CONF") + " " + options_.program +
                              " --socket " + options_.socket_prefix + ".sock --module " + options_.module +
                              " 2>/dev/null >&2 & echo $!; sleep 1";
  FILE* shell = ::popen(command.c_str(), "r");
  ASSERT_NE(shell, nullptr);
  int pid = 0;
  ASSERT_EQ(std::fscanf(shell, "%d", &pid), 1);
  EXPECT_TRUE(IsAlive(pid));
  ::pclose(shell);
  EXPECT_TRUE(WaitFor([&] { return !IsAlive(pid); }));
}

TEST_F(HostTest, WaitsForAHostOfADaemonThatDied) {
  // One that has lost its parent and takes half a second to notice.
  const std::string command = "SOFTHSM2_CONF=" + options_.environment.at("SOFTHSM2_CONF") + " sh -c '" +
                              options_.program + " --socket " + options_.socket_prefix + "-1.sock --module " +
                              options_.module + " 2>/dev/null >&2 & echo ready; sleep 1.5'";
  FILE* shell = ::popen(command.c_str(), "r");
  ASSERT_NE(shell, nullptr);
  ASSERT_TRUE(WaitFor([&] { return wire::Connect(options_.socket_prefix + "-1.sock").valid(); }));
  HostProcess process(options_);
  const auto started = process.Start();
  EXPECT_TRUE(started.ok()) << started.error();
  EXPECT_TRUE(wire::Connect(process.socket_path()).valid());
  ::pclose(shell);
}

TEST_F(HostTest, SaysWhenTheModuleRefusesItsOptions) {
  options_.library_options = "configdir=nowhere";
  HostProcess process(options_);
  const auto started = process.Start();
  ASSERT_FALSE(started.ok());
  EXPECT_NE(started.error().find("CKR_ARGUMENTS_BAD"), std::string::npos) << started.error();
}

TEST_F(HostTest, SaysWhenThereIsNoHost) {
  options_.program = rig_.folder() + "/missing";
  HostProcess process(options_);
  const auto started = process.Start();
  ASSERT_FALSE(started.ok());
  EXPECT_NE(started.error().find("cannot run"), std::string::npos) << started.error();
}

// ---- What the host gives up

constexpr uid_t kNobody = 65534;

// A line of /proc/PID/status, without its name.
std::string StatusLine(int pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":\t")) return line.substr(name.size() + 2);
  }
  return {};
}

// Gives the device's files to the user.
void GiveAway(const std::filesystem::path& folder, uid_t user) {
  ASSERT_EQ(::chown(folder.c_str(), user, user), 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    ASSERT_EQ(::chown(entry.path().c_str(), user, user), 0);
  }
}

// Runs the check in a child and gives its exit status: 0, or the number of the first thing that went wrong.
template <class Check>
int InAChild(Check check) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(check());
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST_F(HostTest, WhatNoModuleNeedsIsRefusedInEveryHost) {
  HostProcess process(options_);
  ASSERT_TRUE(process.Start().ok());
  const int pid = process.pid();
  EXPECT_EQ(StatusLine(pid, "NoNewPrivs"), "1");
  EXPECT_EQ(StatusLine(pid, "Seccomp"), "2") << "a filter of system calls";
  EXPECT_EQ(::getsid(pid), pid) << "no terminal of ours";
}

TEST_F(HostTest, RefusedCallsAreRefusedAndTheOthersAreNot) {
  const int wrong = InAChild([] {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !RefuseSystemCalls().ok()) return 1;
    char byte = 0;
    iovec here{&byte, 1};
    if (::process_vm_readv(::getpid(), &here, 1, &here, 1, 0) != -1 || errno != EPERM) return 2;
    if (::kill(::getppid(), 0) != -1 || errno != EPERM) return 3;
    if (::kill(::getpid(), 0) != 0) return 4;
    if (::unshare(CLONE_NEWUSER) != -1 || errno != EPERM) return 5;
    if (::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr) != -1 || errno != EPERM)
      return 6;
    if (::syscall(SYS_bpf, 0, nullptr, 0) != -1 || errno != EPERM) return 7;
    if (::syscall(SYS_io_uring_setup, 1, nullptr) != -1 || errno != EPERM) return 8;
#ifndef __SANITIZE_ADDRESS__
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != -1 || errno != EPERM) return 9;
#endif
    int made = 0;
    std::thread([&] { made = 1; }).join();
    if (made != 1) return 10;
    return InAChild([] { return ::access("/", R_OK) == 0 ? 0 : 1; }) == 0 ? 0 : 11;
  });
  EXPECT_EQ(wrong, 0);
}

TEST_F(HostTest, BecomesAUserOfItsOwn) {
  options_.user = kNobody;
  if (::geteuid() != 0) {  // without the right to it there is a reason, and no host under a user that was not meant
    HostProcess process(options_);
    const auto started = process.Start();
    ASSERT_FALSE(started.ok());
    EXPECT_NE(started.error().find("CAP_SETUID"), std::string::npos) << started.error();
    return;
  }
  ASSERT_EQ(::chmod(rig_.folder().c_str(), 0711), 0);
  ASSERT_EQ(::chmod(options_.environment.at("SOFTHSM2_CONF").c_str(), 0644), 0);  // whatever the umask
  GiveAway(rig_.folder() + "/tokens", kNobody);
  HostProcess process(options_);
  const auto started = process.Start();
  ASSERT_TRUE(started.ok()) << started.error();
  const int pid = process.pid();
  EXPECT_EQ(StatusLine(pid, "Uid"), "65534\t65534\t65534\t65534");
  const std::string gid = StatusLine(pid, "Gid");
  EXPECT_EQ(gid.find("0\t"), std::string::npos) << gid;
  EXPECT_EQ((" " + StatusLine(pid, "Groups")).find(" 0 "), std::string::npos) << "a group of ours";
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    EXPECT_EQ(StatusLine(pid, set), "0000000000000000") << set;
  }
  RemoteModule module([&] { return process.socket_path(); });
  ASSERT_EQ(module.functions()->C_Initialize(nullptr), CKR_OK);
  CK_ULONG count = 0;
  ASSERT_EQ(module.functions()->C_GetSlotList(CK_TRUE, nullptr, &count), CKR_OK);
  EXPECT_GE(count, 1u);
  // The death signal outlives the change of user, and the daemon may still end the host.
  process.Kill("the test says so");
  ASSERT_TRUE(WaitFor([&] { return process.generation() == 2; }));
  EXPECT_FALSE(IsAlive(pid));
}

TEST_F(HostTest, SaysWhatItsUserMayNotRead) {
  if (::geteuid() != 0) return;  // BecomesAUserOfItsOwn says what happens then
  options_.user = kNobody;
  {
    HostProcess process(options_);
    const auto started = process.Start();
    ASSERT_FALSE(started.ok());
    EXPECT_NE(started.error().find("user nobody, who may not read " + options_.environment.at("SOFTHSM2_CONF")),
              std::string::npos)
        << started.error();
  }
  for (const auto& entry : std::filesystem::directory_iterator(rig_.folder())) {
    EXPECT_NE(entry.path().extension(), ".sock") << "left behind";
  }
}

TEST_F(HostTest, ADaemonWithoutRightsHasAHostOfItsOwnUserOnly) {
  // The checkout may be closed to others.
  const std::string program = rig_.folder() + "/host-program";
  std::filesystem::copy_file(options_.program, program);
  options_.program = program;
  if (::geteuid() == 0) GiveAway(rig_.folder(), kNobody);
  const int wrong = InAChild([&] {
    if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 ||
                             ::setresuid(kNobody, kNobody, kNobody) != 0))
      return 1;
    {
      HostProcess same(options_);
      if (!same.Start().ok()) return 2;
      RemoteModule module([&] { return same.socket_path(); });
      if (module.functions()->C_Initialize(nullptr) != CKR_OK) return 3;
    }
    options_.user = ::geteuid();
    if (HostProcess named(options_); !named.Start().ok()) return 4;
    options_.user = 1;
    HostProcess other(options_);
    const auto started = other.Start();
    return !started.ok() && started.error().find("CAP_SETUID") != std::string::npos ? 0 : 5;
  });
  EXPECT_EQ(wrong, 0);
}

// One frame to the host and what comes of it.
class RawConnection {
 public:
  explicit RawConnection(const std::string& path) : socket_(wire::Connect(path)) {
    socket_.SetDeadline(milliseconds(5000));
  }
  bool valid() const { return socket_.valid(); }
  template <class Fill>
  wire::Receive Ask(std::uint16_t call, Fill fill) {
    wire::Buffer request;
    wire::BeginFrame(request);
    wire::Writer writer(request);
    fill(writer);
    const wire::FrameHeader header{static_cast<std::uint32_t>(request.size() - sizeof(wire::FrameHeader)), call, 0, 1};
    std::memcpy(request.data(), &header, sizeof header);
    if (!wire::SendAll(socket_, request.view())) return wire::Receive::kClosed;
    wire::FrameHeader answer{};
    return wire::ReceiveFrame(socket_, answer, response_);
  }
  wire::Receive Hello() {
    return Ask(spec::WireId(spec::CallId::Hello), [](wire::Writer& w) {
      w.U64(wire::kProtocolVersion);
      w.Blob(nullptr, 0);
      w.Blob(nullptr, 0);
    });
  }
  CK_RV rv() const { return wire::Reader(response_.view()).U64(); }

 private:
  wire::Socket socket_;
  wire::Buffer response_;
};

TEST_F(HostTest, BreachesOfTheProtocolEndAConnectionAndNothingElse) {
  HostProcess process(options_);
  ASSERT_TRUE(process.Start().ok());
  const std::string path = process.socket_path();
  const auto nothing = [](wire::Writer&) {};
  const std::uint16_t info = spec::WireId(spec::CallId::C_GetInfo);
  EXPECT_EQ(RawConnection(path).Ask(info, nothing), wire::Receive::kClosed) << "hello comes first";
  for (const std::uint16_t call :
       {spec::WireId(spec::CallId::C_Initialize), spec::WireId(spec::CallId::C_GetFunctionList),
        spec::WireId(spec::CallId::Admin), std::uint16_t{0x7fff}, std::uint16_t{0xffff}}) {
    RawConnection connection(path);
    ASSERT_EQ(connection.Hello(), wire::Receive::kFrame);
    EXPECT_EQ(connection.Ask(call, nothing), wire::Receive::kClosed) << call;
  }
  RawConnection twice(path);
  ASSERT_EQ(twice.Hello(), wire::Receive::kFrame);
  EXPECT_EQ(twice.Hello(), wire::Receive::kClosed);

  // A payload that is not what the call says is an error of the call.
  RawConnection connection(path);
  ASSERT_EQ(connection.Hello(), wire::Receive::kFrame);
  EXPECT_EQ(connection.rv(), CKR_OK);
  for (std::uint16_t call = 0; call < spec::kStandardCallCount; ++call) {
    if (spec::kCalls[call].local) continue;
    ASSERT_EQ(connection.Ask(call, [](wire::Writer& w) { w.Raw(Bytes(7, 0xff)); }), wire::Receive::kFrame) << call;
    EXPECT_NE(connection.rv(), CKR_OK) << spec::kCalls[call].name;
  }
  ASSERT_EQ(connection.Ask(info, nothing), wire::Receive::kFrame);
  EXPECT_EQ(connection.rv(), CKR_OK);
  EXPECT_EQ(process.generation(), 1u) << "the host is still the same";
}

TEST_F(HostTest, OneCallAtATimeIsEnoughForAllThatABackendDoes) {
  rig_.config().serialise = true;
  const auto backend = rig_.Start();
  ASSERT_NE(backend, nullptr);
  KeyBench bench(*backend);
  const TestKey key = bench.Aes();
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) EXPECT_TRUE(bench.Fingerprint(key).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace cmkd::daemon

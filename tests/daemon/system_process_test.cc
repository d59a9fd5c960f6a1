// Clock, process, messages, directory and peer: what the operating system is asked for.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "daemon/system/log.h"
#include "daemon/system/notify.h"
#include "daemon/system/peer.h"
#include "daemon/system/process_hardening.h"
#include "daemon/system/state_directory.h"
#include "daemon/system/system_clock.h"

namespace cmkd::daemon {
namespace {

namespace fs = std::filesystem;

class SystemTest : public ::testing::Test {
 protected:
  SystemTest() {
    std::string name = (fs::temp_directory_path() / "cmkd-system-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
  }
  ~SystemTest() override { fs::remove_all(root_); }

  // True when `action` holds in a process of its own, which it may spoil.
  static bool InChild(const std::function<bool()>& action) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(action() ? 0 : 1);
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  std::string root_;
};

using Clocks = SystemTest;
using Hardened = SystemTest;
using Messages = SystemTest;
using Directory = SystemTest;
using Peers = SystemTest;
using Manager = SystemTest;

TEST_F(Clocks, AgreeWithTheOperatingSystem) {
  const SystemClock clock;
  // Between two looks of ours, however long this process has to wait in between; time() is a tick behind at times.
  const auto first = ::time(nullptr);
  const auto now = clock.Now().seconds;
  const auto wall = std::chrono::floor<std::chrono::seconds>(clock.WallTime()).count();
  EXPECT_GE(now, first);
  EXPECT_GE(wall, now);
  EXPECT_LE(wall, ::time(nullptr) + 1);
  const auto before = clock.Monotonic();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_GE(clock.Monotonic() - before, std::chrono::milliseconds(2));
  EXPECT_EQ(ReadBootId().size(), 36u);
}

TEST_F(Hardened, LeavesNoCoreNoTracerAndNoOpenFiles) {
  EXPECT_TRUE(InChild([&] {
    (void)HardenProcess();
    rlimit core{};
    ::getrlimit(RLIMIT_CORE, &core);
    const int file = ::open((root_ + "/file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    struct stat status {};
    ::fstat(file, &status);
    return ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
           core.rlim_max == 0 && (status.st_mode & 077) == 0;
  }));
}

TEST_F(Hardened, AClosedPipeDoesNotEndTheProcess) {
  EXPECT_TRUE(InChild([] {
    (void)HardenProcess();
    int ends[2];
    if (::pipe(ends) != 0) return false;
    ::close(ends[0]);
    return ::write(ends[1], "x", 1) == -1 && errno == EPIPE;
  }));
}

TEST_F(Hardened, TellsWhenLittleMemoryMayBeLocked) {
  EXPECT_TRUE(InChild([] {
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return false;
    const rlimit little{65536, 65536};
    if (::setrlimit(RLIMIT_MEMLOCK, &little) != 0) return false;
    const Hardening hardening = HardenProcess();
    return hardening.lockable_bytes == 65536 && hardening.missing.size() == 1 &&
           hardening.missing[0].find("only 64 KiB of memory may be locked") != std::string::npos;
  }));
}

std::string Captured(const std::function<void()>& action) {
  ::testing::internal::CaptureStderr();
  action();
  return ::testing::internal::GetCapturedStderr();
}

TEST_F(Messages, AreOneLineEach) {
  EXPECT_EQ(Captured([] { LogInfo("ready"); }), "cmkd: ready\n");
  EXPECT_EQ(Captured([] { LogWarning("slow"); }), "cmkd: warning: slow\n");
  EXPECT_EQ(Captured([] { LogError("label a\nb\x1b[31m"); }), "cmkd: error: label a?b?[31m\n");
}

TEST_F(Messages, BelowTheLevelAreDropped) {
  EXPECT_EQ(Captured([] { LogDebug("detail"); }), "");
  SetLogLevel(LogLevel::kDebug);
  EXPECT_EQ(Captured([] { LogDebug("detail"); }), "cmkd: debug: detail\n");
  SetLogLevel(LogLevel::kError);
  EXPECT_EQ(Captured([] { LogWarning("slow"); }), "");
  SetLogLevel(LogLevel::kInfo);
}

TEST_F(Messages, OfThreadsDoNotMix) {
  const std::string text = Captured([] {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([] {
        for (int j = 0; j < 100; ++j) LogInfo("0123456789");
      });
    }
    for (auto& thread : threads) thread.join();
  });
  EXPECT_EQ(text.size(), 400 * std::string("cmkd: 0123456789\n").size());
  for (std::size_t at = 0; at < text.size(); at += 17) ASSERT_EQ(text.substr(at, 17), "cmkd: 0123456789\n");
}

TEST_F(Messages, CarryTheLevelWhenTheJournalReadsThem) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_TRUE(InChild([&] {
    struct stat status {};
    ::dup2(ends[1], STDERR_FILENO);
    ::fstat(STDERR_FILENO, &status);
    const std::string stream = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
    ::setenv("JOURNAL_STREAM", stream.c_str(), 1);
    LogWarning("slow");
    return true;
  }));
  char text[64] = {};
  EXPECT_GT(::read(ends[0], text, sizeof text - 1), 0);
  EXPECT_STREQ(text, "<4>slow\n");
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(Directory, IsMadeForTheOwnerOnlyWhateverTheUmask) {
  const mode_t before = ::umask(077);
  EXPECT_TRUE(PrepareStateDirectory(root_ + "/a/b/state").ok());
  ::umask(before);
  EXPECT_EQ(fs::status(root_ + "/a/b/state").permissions(), fs::perms::owner_all);
  EXPECT_EQ(static_cast<int>(fs::status(root_ + "/a/b").permissions()), 0755);
  EXPECT_TRUE(PrepareStateDirectory(root_ + "/a/b/state").ok()) << "and may be there already";
}

TEST_F(Directory, OfOurOwnThatIsTooOpenIsClosed) {
  fs::create_directory(root_ + "/state");
  fs::permissions(root_ + "/state", static_cast<fs::perms>(0755));
  EXPECT_TRUE(PrepareStateDirectory(root_ + "/state").ok());
  EXPECT_EQ(fs::status(root_ + "/state").permissions(), fs::perms::owner_all);
}

TEST_F(Directory, RefusesALinkAFileAndSomebodyElses) {
  fs::create_directory(root_ + "/real");
  fs::create_symlink(root_ + "/real", root_ + "/link");
  EXPECT_FALSE(PrepareStateDirectory(root_ + "/link").ok());
  ::close(::open((root_ + "/file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_FALSE(PrepareStateDirectory(root_ + "/file").ok());
  EXPECT_FALSE(PrepareStateDirectory(root_ + "/file/state").ok());
  if (::geteuid() != 0) return;  // only root can give a directory away
  fs::create_directory(root_ + "/theirs");
  ASSERT_EQ(::chown((root_ + "/theirs").c_str(), 65534, 65534), 0);
  const auto refused = PrepareStateDirectory(root_ + "/theirs");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().find("belongs to user 65534"), std::string::npos) << refused.error();
}

TEST_F(Directory, IsLockedForOneDaemon) {
  const auto lock = LockStateDirectory(root_);
  ASSERT_TRUE(lock.ok());
  EXPECT_FALSE(LockStateDirectory(root_).ok());
  EXPECT_TRUE(InChild([&] { return !LockStateDirectory(root_).ok(); }));
  ::close(*lock);
  EXPECT_TRUE(LockStateDirectory(root_).ok());
}

TEST_F(Peers, AreWhoTheKernelSaysTheyAre) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const std::optional<Peer> peer = ReadPeer(ends[0]);
  ASSERT_TRUE(peer);
  EXPECT_EQ(*peer, (Peer{::geteuid(), ::getegid(), ::getpid()}));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(Peers, AreNobodyOnAFileOrAnUnconnectedSocket) {
  const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_FALSE(ReadPeer(file));
  ::close(file);
  const int lonely = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_FALSE(ReadPeer(lonely));
  ::close(lonely);
  EXPECT_FALSE(ReadPeer(-1));
}

TEST_F(Manager, HearsAboutReadinessAndTheEnd) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = root_ + "/notify";
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const auto heard = [&] {
    char text[128] = {};
    (void)!::recv(socket, text, sizeof text - 1, 0);
    return std::string(text);
  };
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  NotifyReady("serving 3 tokens\nREADY=0");
  EXPECT_EQ(heard(), "READY=1\nSTATUS=serving 3 tokens");
  NotifyStatus("audit log full");
  EXPECT_EQ(heard(), "STATUS=audit log full");
  NotifyStopping();
  EXPECT_EQ(heard(), "STOPPING=1");
  NotifyAlive();
  EXPECT_EQ(heard(), "WATCHDOG=1");
  ::unsetenv("NOTIFY_SOCKET");
  NotifyReady("nobody listens");
  ::close(socket);
}

}  // namespace
}  // namespace cmkd::daemon

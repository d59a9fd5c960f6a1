// Children, their ends, and a directory that does not outlive its owner.
#include "tools/cmkctl/child_process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tools/cmkctl/throwaway_directory.h"

namespace cmkd::tools {
namespace {

using std::chrono::milliseconds;

ChildOptions Command(std::vector<std::string> arguments) {
  ChildOptions options;
  options.arguments = std::move(arguments);
  return options;
}

int RunToEnd(const ChildOptions& options) {
  SignalWaiter waiter;
  const std::optional<pid_t> pid = StartChild(options, waiter);
  std::optional<int> ended;
  while (!(ended = Reap(*pid))) (void)waiter.Wait(milliseconds(1000));
  return StatusOf(*ended);
}

TEST(ChildProcess, EndsAsAShellWouldPutIt) {
  EXPECT_EQ(RunToEnd(Command({"true"})), 0);
  EXPECT_EQ(RunToEnd(Command({"sh", "-c", "exit 42"})), 42);
  EXPECT_EQ(RunToEnd(Command({"sh", "-c", "kill -9 $$"})), 137);
}

TEST(ChildProcess, SeesTheEnvironmentItWasGiven) {
  ChildOptions options;
  options.arguments = {"sh", "-c", "test \"$CMKD_A\" = 'x y' && test -z \"$HOME\""};
  options.environment = {{"CMKD_A", "x y"}};
  options.environment_without = {"HOME"};
  EXPECT_EQ(RunToEnd(options), 0);
}

TEST(ChildProcess, AProgramThatIsNotThereIsAStatus) {
  ChildOptions options;
  options.output = "/dev/null";
  options.arguments = {"/nowhere/at/all"};
  EXPECT_EQ(RunToEnd(options), kNotFound);
  options.arguments = {"/"};
  EXPECT_EQ(RunToEnd(options), kCannotExecute);
}

TEST(ChildProcess, SignalsAreNotBlockedInTheChild) {
  SignalWaiter waiter;
  const std::optional<pid_t> pid = StartChild(Command({"sleep", "60"}), waiter);
  const int status = StopChild(*pid, milliseconds(60'000), waiter);
  EXPECT_EQ(StatusOf(status), 128 + SIGTERM);
}

TEST(ChildProcess, WhoDoesNotListenIsKilled) {
  SignalWaiter waiter;
  const auto directory = ThrowawayDirectory::Make("cmkd-test");
  ASSERT_TRUE(directory);
  const std::string deaf = (*directory)->path() + "/deaf";  // there once the signal is ignored
  const std::optional<pid_t> pid =
      StartChild(Command({"sh", "-c", "trap '' TERM; : >\"$0\"; while :; do sleep 0.05; done", deaf}), waiter);
  for (int i = 0; i < 6000 && !std::filesystem::exists(deaf); ++i) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(StatusOf(StopChild(*pid, milliseconds(100), waiter)), 128 + SIGKILL);
}

TEST(ChildProcess, SignalsThatComeDuringAStopAreKept) {
  SignalWaiter waiter;
  const std::optional<pid_t> pid = StartChild(Command({"sleep", "60"}), waiter);
  ::kill(::getpid(), SIGUSR1);
  (void)StopChild(*pid, milliseconds(60'000), waiter);
  std::optional<siginfo_t> signal = waiter.Wait(milliseconds(0));
  while (signal && signal->si_signo == SIGCHLD) signal = waiter.Wait(milliseconds(0));
  ASSERT_TRUE(signal.has_value());
  EXPECT_EQ(signal->si_signo, SIGUSR1);
}

TEST(ThrowawayDirectory, IsPrivateAndGoes) {
  std::string path;
  {
    const auto directory = ThrowawayDirectory::Make("cmkd-test");
    ASSERT_TRUE(directory);
    path = (*directory)->path();
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms::owner_all);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(ThrowawayDirectory, MayBeKept) {
  std::string path;
  {
    const auto directory = ThrowawayDirectory::Make("cmkd-test");
    ASSERT_TRUE(directory);
    path = (*directory)->path();
    (*directory)->Keep();
  }
  EXPECT_TRUE(std::filesystem::exists(path));
  std::filesystem::remove_all(path);
}

TEST(ThrowawayDirectory, GoesAlsoWhenItsOwnerIsKilled) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t owner = ::fork();
  if (owner == 0) {
    const auto directory = ThrowawayDirectory::Make("cmkd-test");
    const std::string path = directory ? (*directory)->path() : "";
    (void)!::write(ends[1], path.data(), path.size());
    for (;;) ::pause();
  }
  char name[200];
  const ssize_t size = ::read(ends[0], name, sizeof name);
  ASSERT_GT(size, 0);
  const std::string path(name, static_cast<std::size_t>(size));
  EXPECT_TRUE(std::filesystem::exists(path));
  ::kill(owner, SIGKILL);
  ::waitpid(owner, nullptr, 0);
  for (int i = 0; i < 6000 && std::filesystem::exists(path); ++i) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_FALSE(std::filesystem::exists(path));
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace cmkd::tools

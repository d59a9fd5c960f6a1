// The power is cut at each step of each write: what was answered is there afterwards, what was not is there or not, and
// never half; a try at a PIN is spent before anybody learns whether it was right.
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "firmware_sim/device.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

class PowerCutTest : public DeviceTest {
 protected:
  // Runs `work` in a process whose power goes at this step of its write number `write` (from 0) since power-on; false
  // when the work ended before. What it said with Say() is in `said`.
  bool CutAt(int step, int write, const std::function<void()>& work) {
    Stop();
    const std::string script = directory + ".faults";
    std::ofstream(script, std::ios::trunc) << "on flash skip " << write << " times 1 step " << step << " power-cut\n";
    ConfigureFaults(script);
    int fds[2];
    EXPECT_EQ(::pipe(fds), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      say_ = fds[1];
      if (f->C_Initialize(nullptr) != CKR_OK) ::_exit(1);
      work();
      ::_exit(0);
    }
    ::close(fds[1]);
    said.clear();
    for (char c = 0; ::read(fds[0], &c, 1) == 1;) said.push_back(c);
    ::close(fds[0]);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "step " << step;
    ConfigureFaults("");
    std::filesystem::remove(script);
    Start();
    EXPECT_EQ(Device::Current()->state(), DeviceState::kOperational) << "step " << step << ", write " << write;
    return WIFSIGNALED(status);
  }
  void Say(char c) { EXPECT_EQ(::write(say_, &c, 1), 1); }

  std::string said;

 private:
  int say_ = -1;
};

TEST_F(PowerCutTest, ObjectsAreThereOrNotAndNeverHalf) {
  int cuts = 0;
  for (int step = 1; step <= 7; ++step) {
    // Writes while logging in come first: a try at the PIN, its success, and the audit's record of both.
    for (int write = 0; write <= 5; ++write) {
      const std::string label = std::to_string(step) + '-' + std::to_string(write);
      const auto mine = [&] { return T().Text(CKA_LABEL, label); };
      const bool cut = CutAt(step, write, [&] {
        LogIn();
        GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, label));
        if (rv == CKR_OK) Say('m');
        if (f->C_DestroyObject(session, Find(mine()).front()) == CKR_OK) Say('d');
      });
      LogIn();
      const std::size_t found = Find(mine()).size();
      // Not yet answered, or its destruction was begun: there or not.
      EXPECT_LE(found, said == "md" ? 0u : 1u) << label;
      for (const CK_OBJECT_HANDLE key : Find(mine())) {
        EXPECT_FALSE(Encrypt(M(CKM_AES_ECB), key, Bytes(16)).empty());
        EXPECT_EQ(f->C_DestroyObject(session, key), CKR_OK);
      }
      cuts += cut ? 1 : 0;
    }
  }
  EXPECT_GE(cuts, 5 * 3 + 2);
}

TEST_F(PowerCutTest, ATryAtThePinIsSpentBeforeItIsJudged) {
  const auto tries = [] { return Device::Current()->token().info().user_tries; };
  for (int step = 1; step <= 5; ++step) {
    const std::uint64_t before = tries();
    const bool cut = CutAt(step, 0, [&] {
      const CK_SESSION_HANDLE opened = OpenSession();
      CK_UTF8CHAR wrong[] = "wrong";
      if (f->C_Login(opened, CKU_USER, wrong, 5) == CKR_PIN_INCORRECT) Say('w');
    });
    EXPECT_TRUE(cut) << step;
    EXPECT_TRUE(said.empty()) << "judged before it was counted";
    EXPECT_TRUE(tries() == before || tries() == before - 1) << step;
    // Nothing of it helps: told that it was wrong, which the audit has by then, the try is gone.
    const std::uint64_t now = tries();
    (void)CutAt(1, 2, [&] {
      const CK_SESSION_HANDLE opened = OpenSession();
      CK_UTF8CHAR wrong[] = "wrong";
      if (f->C_Login(opened, CKU_USER, wrong, 5) == CKR_PIN_INCORRECT) Say('w');
    });
    EXPECT_EQ(said, "w");
    EXPECT_EQ(tries(), now - 1);
    LogIn();
    EXPECT_EQ(tries(), kPinTries);
  }
}

}  // namespace
}  // namespace cmkd::sim

// The monotonic counter: an object that each reading moves, and that never goes back.
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

class CounterTest : public DeviceTest {
 protected:
  CK_OBJECT_HANDLE Counter() {
    const auto found = Find(T().Ulong(CKA_CLASS, CKO_HW_FEATURE).Ulong(CKA_HW_FEATURE_TYPE, CKH_MONOTONIC_COUNTER));
    return found.size() == 1 ? found.front() : CK_INVALID_HANDLE;
  }
  // 0 when it cannot be read.
  std::uint64_t Read() {
    CK_BYTE value[8] = {};
    CK_ATTRIBUTE wanted{CKA_VALUE, value, sizeof value};
    rv = f->C_GetAttributeValue(session, Counter(), &wanted, 1);
    std::uint64_t number = 0;
    for (const CK_BYTE byte : value) number = number << 8 | byte;
    return rv == CKR_OK ? number : 0;
  }
};

TEST_F(CounterTest, IsFoundByItsClassOnly) {
  EXPECT_NE(Counter(), CK_OBJECT_HANDLE{CK_INVALID_HANDLE});
  EXPECT_TRUE(Find(T()).empty());
  EXPECT_TRUE(Find(T().Ulong(CKA_HW_FEATURE_TYPE, CKH_MONOTONIC_COUNTER)).empty());
  EXPECT_TRUE(Find(T().Ulong(CKA_CLASS, CKO_HW_FEATURE).Ulong(CKA_HW_FEATURE_TYPE, CKH_CLOCK)).empty());
  EXPECT_EQ(f->C_DestroyObject(session, Counter()), CKR_OBJECT_HANDLE_INVALID);
}

TEST_F(CounterTest, EachReadingIsGreaterAlsoAfterARestart) {
  std::uint64_t last = 0;
  for (int restart = 0; restart < 3; ++restart) {
    for (int i = 0; i < 5; ++i) {
      const std::uint64_t now = Read();
      EXPECT_GT(now, last);
      last = now;
    }
    Stop();
    Start();
    LogIn();
  }
}

TEST_F(CounterTest, AskingForItsLengthIsNoReading) {
  const std::uint64_t before = Read();
  EXPECT_EQ(Attribute(Counter(), CKA_CLASS).size(), sizeof(CK_ULONG));
  CK_ATTRIBUTE wanted{CKA_VALUE, nullptr, 0};
  EXPECT_EQ(f->C_GetAttributeValue(session, Counter(), &wanted, 1), CKR_OK);
  EXPECT_EQ(wanted.ulValueLen, 8u);
  CK_BYTE little[4];
  wanted = {CKA_VALUE, little, sizeof little};
  EXPECT_EQ(f->C_GetAttributeValue(session, Counter(), &wanted, 1), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(Read(), before + 1);
}

TEST_F(CounterTest, NeverGoesBackWhereverThePowerIsCut) {
  std::uint64_t last = Read();
  Stop();
  for (int step = 1; step <= 5; ++step) {
    std::ofstream(directory + ".faults", std::ios::trunc) << "on flash skip 1 times 1 step " << step << " power-cut\n";
    ConfigureFaults(directory + ".faults");
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      // Says what it was given, until the power goes.
      if (f->C_Initialize(nullptr) != CKR_OK) ::_exit(1);
      session = OpenSession();
      for (;;) {
        const std::uint64_t value = Read();
        if (::write(pipe_fds[1], &value, sizeof value) != sizeof value) ::_exit(2);
      }
    }
    ::close(pipe_fds[1]);
    for (std::uint64_t value = 0; ::read(pipe_fds[0], &value, sizeof value) == sizeof value;) {
      EXPECT_GT(value, last);
      last = value;
    }
    ::close(pipe_fds[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
    ConfigureFaults("");
    Start();
    session = OpenSession();
    const std::uint64_t now = Read();
    EXPECT_GT(now, last) << "step " << step;
    last = now;
    Stop();
  }
  std::filesystem::remove(directory + ".faults");
  Start();
}

}  // namespace
}  // namespace cmkd::sim

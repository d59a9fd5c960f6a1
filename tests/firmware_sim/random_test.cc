// No two forks of a process and no two copies of a device's memory give the same random bytes.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "firmware_sim/primitives.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

namespace fs = std::filesystem;

class RandomTest : public DeviceTest {
 protected:
  // What a child of this process makes, which begins exactly where this one is.
  template <class Make>
  static Bytes InAChild(Make make) {
    int fds[2];
    EXPECT_EQ(::pipe(fds), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const Bytes made = make();
      ::_exit(::write(fds[1], made.data(), made.size()) == static_cast<ssize_t>(made.size()) ? 0 : 1);
    }
    ::close(fds[1]);
    Bytes made;
    for (std::uint8_t byte = 0; ::read(fds[0], &byte, 1) == 1;) made.push_back(byte);
    ::close(fds[0]);
    EXPECT_EQ(::waitpid(child, nullptr, 0), child);
    return made;
  }
};

// So many copies: CMKD_FORKS, 10,000 for a campaign. The generator has been used before, so its state is copied.
TEST_F(RandomTest, NoTwoForksOrRestoredCopiesGiveTheSame) {
  const char* const asked = std::getenv("CMKD_FORKS");
  const int copies = asked == nullptr ? 300 : std::atoi(asked);
  Bytes used(16);
  ASSERT_TRUE(RandomBytes(used).ok());
  ASSERT_TRUE(RandomBytesForCaller(used).ok());
  std::set<Bytes> seen;
  std::size_t made = 0;
  const auto add = [&](const Bytes& bytes) {
    ASSERT_EQ(bytes.size(), 32u);
    for (const std::size_t at : {std::size_t{0}, std::size_t{16}}) {
      seen.insert(ToBytes(ByteView(bytes).subspan(at, 16)));
      ++made;
    }
  };
  for (int copy = 0; copy < copies; ++copy) {
    add(InAChild([] {
      Bytes bytes(32);
      const bool good =
          RandomBytes(MutableBytes(bytes).first(16)).ok() && RandomBytesForCaller(MutableBytes(bytes).subspan(16)).ok();
      return good ? bytes : Bytes();
    }));
  }
  Stop();
  for (int copy = 0; copy < 10; ++copy) {
    const std::string restored = directory + ".restored";
    fs::copy(directory, restored);
    add(InAChild([&] {
      Bytes bytes(32);
      Configure(restored);
      CK_SESSION_HANDLE opened = 0;
      const bool good = f->C_Initialize(nullptr) == CKR_OK &&
                        f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &opened) == CKR_OK &&
                        f->C_GenerateRandom(opened, bytes.data(), bytes.size()) == CKR_OK;
      return good ? bytes : Bytes();
    }));
    fs::remove_all(restored);
  }
  EXPECT_EQ(seen.size(), made);
  Start();
}

}  // namespace
}  // namespace cmkd::sim

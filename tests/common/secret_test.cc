// SecretBytes: zero when new, wiped when it goes, empty in a forked child, of any size, from any thread.
#include "common/secret.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace cmkd {
namespace {

bool AllZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

constexpr std::size_t kSizes[] = {1, 32, 64, 65, 256, 257, 1024, 1025, 4096, 4097, 100'000};

TEST(SecretBytes, IsZeroWhenNewAlsoWhereAnotherWasBefore) {
  for (const std::size_t size : kSizes) {
    for (int round = 0; round < 3; ++round) {
      SecretBytes secret(size);
      ASSERT_EQ(secret.size(), size);
      EXPECT_TRUE(AllZero(secret.view())) << size;
      std::fill(secret.bytes().begin(), secret.bytes().end(), std::uint8_t{0xA5});
    }
  }
}

TEST(SecretBytes, IsWipedWhenItGoes) {
  const std::uint8_t* place = nullptr;
  {
    SecretBytes secret(48);
    std::fill(secret.bytes().begin(), secret.bytes().end(), std::uint8_t{0xA5});
    place = secret.view().data();
    secret.Truncate(16);
  }
  // The page is shared and stays; the first word is the list of free blocks.
  EXPECT_TRUE(AllZero({place + sizeof(void*), 48 - sizeof(void*)}));
}

TEST(SecretBytes, IsEmptyInAForkedChildWhichCanHaveItsOwn) {
  SecretBytes secret(32);
  std::fill(secret.bytes().begin(), secret.bytes().end(), std::uint8_t{0xA5});
  const pid_t child = ::fork();
  if (child == 0) {
    bool good = AllZero(secret.view());
    for (int i = 0; i < 3000; ++i) {
      SecretBytes own(32);
      good = good && AllZero(own.view());
      own.bytes()[0] = 1;
    }
    ::_exit(good ? 0 : 1);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(secret.view()[31], 0xA5);
}

TEST(SecretBytes, OfManyThreadsAreApart) {
  std::vector<std::thread> threads;
  std::atomic<bool> good{true};
  for (int number = 1; number <= 4; ++number) {
    threads.emplace_back([number, &good] {
      for (int round = 0; round < 200; ++round) {
        std::vector<SecretBytes> mine;
        for (const std::size_t size : kSizes) {
          mine.emplace_back(size);
          if (!AllZero(mine.back().view())) good = false;
          std::fill(mine.back().bytes().begin(), mine.back().bytes().end(), static_cast<std::uint8_t>(number));
        }
        for (const SecretBytes& secret : mine) {
          if (std::any_of(secret.view().begin(), secret.view().end(), [&](auto byte) { return byte != number; }))
            good = false;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(good);
}

}  // namespace
}  // namespace cmkd

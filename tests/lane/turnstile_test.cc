// Whose turn it is: places are never held by one who has left, and whoever waits is served whatever the others do.
#include "pkcs11/lane/turnstile.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace cmkd::lane {
namespace {

using std::chrono::microseconds;

TEST(Turnstile, LetsAsManyInAsThereArePlaces) {
  Turnstile turns(2, microseconds(500));
  Turnstile::Pass a, b;
  turns.Enter(a);
  turns.Enter(b);
  EXPECT_TRUE(a.inside());
  EXPECT_TRUE(b.inside());
  EXPECT_EQ(a.waits() + b.waits(), 0u);
  turns.Enter(a);  // nobody waits: it goes on
  EXPECT_EQ(a.waits(), 0u);
  turns.Leave(a);
  turns.Leave(a);
  EXPECT_FALSE(a.inside());
  Turnstile::Pass c;
  turns.Enter(c);
  EXPECT_EQ(c.waits(), 0u);
  turns.Leave(b);
  turns.Leave(c);
}

TEST(Turnstile, WhoLeavesLetsTheNextOneIn) {
  Turnstile turns(1, std::chrono::hours(1));
  Turnstile::Pass inside, waits;
  turns.Enter(inside);
  std::thread other([&] {
    turns.Enter(waits);
    EXPECT_TRUE(waits.inside());
    turns.Leave(waits);
  });
  while (!turns.WouldWait(Turnstile::Pass())) std::this_thread::yield();
  turns.Leave(inside);
  other.join();
  EXPECT_EQ(waits.waits(), 1u);
}

TEST(Turnstile, ATurnEnds) {
  Turnstile turns(1, microseconds(500));
  Turnstile::Pass inside;
  turns.Enter(inside);
  std::atomic<bool> served{false};
  std::thread other([&] {
    Turnstile::Pass waits;
    turns.Enter(waits);
    served = true;
    turns.Leave(waits);
  });
  // It never leaves, and yet the other one comes in.
  while (!served) {
    turns.Enter(inside);
    EXPECT_TRUE(inside.inside());
  }
  other.join();
  turns.Leave(inside);
}

TEST(Turnstile, WhoeverIsInsideForEverHoldsNobody) {
  Turnstile turns(1, microseconds(500));
  Turnstile::Pass stays;
  turns.Enter(stays);
  Turnstile::Pass comes;
  turns.Enter(comes);  // after a while, without a place
  EXPECT_TRUE(comes.inside());
  turns.Leave(comes);
  turns.Leave(stays);
}

TEST(Turnstile, ManyThreadsAreAllServed) {
  Turnstile turns(2, microseconds(50));
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      Turnstile::Pass pass;
      for (int call = 0; call < 2000; ++call) {
        turns.Enter(pass);
        turns.Answered(pass);
        if (call % 100 == 0) turns.Leave(pass);
      }
      turns.Leave(pass);
      ++done;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(done, 8);
}

}  // namespace
}  // namespace cmkd::lane

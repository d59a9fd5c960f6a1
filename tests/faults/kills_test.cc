// The processes of the HSM modules are killed again and again while a program is at work: nobody sees more than one
// error for each kill, no answer is wrong, and nothing that was acknowledged is lost. CMKD_HOST_KILLS says how often.
// With CMKD_MIRRORED the token lies in several HSMs, which are killed in turns: then nothing that is done with one
// call and a key that is there fails.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "tests/faults/program.h"

namespace cmkd::tests {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{120};

// So many kills are answered with so many errors.
struct Toll {
  int kills = 0, errors = 0, most = 0, kills_with_errors = 0;
};

class Kills : public FaultProgram {
 protected:
  template <class Condition>
  static bool Eventually(Condition condition) {
    const auto deadline = steady_clock::now() + kPatience;
    while (!condition()) {
      if (steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(milliseconds(2));
    }
    return true;
  }
  // Everybody has done so much more work than before.
  void WaitForWork(const std::vector<int>& before, int more) {
    EXPECT_TRUE(Eventually([&] {
      for (std::size_t i = 0; i < clients_.size(); ++i) {
        if (clients_[i]->done() < before[i] + more) return false;
      }
      return true;
    })) << "the program does not go on";
  }
  std::vector<int> Done() const {
    std::vector<int> done;
    for (const auto& client : clients_) done.push_back(client->done());
    return done;
  }
  std::vector<int> Errors() const {
    std::vector<int> errors;
    for (const auto& client : clients_) errors.push_back(client->errors());
    return errors;
  }
  bool InStep() const { return !mirrored_ || Cmkctl("hsm mirror status '" + token_ + "'") == 0; }

  const bool mirrored_ = std::getenv("CMKD_MIRRORED") != nullptr;
  const std::string token_ = std::getenv("P11_TOKEN") == nullptr ? "" : std::getenv("P11_TOKEN");
};

TEST_F(Kills, CostAtMostOneErrorEach) {
  const int kills = NumberFrom("CMKD_HOST_KILLS", 3);
  ASSERT_GT(kills, 0);
  const std::size_t hosts = Hosts().size();
  ASSERT_EQ(hosts, mirrored_ ? 2u : 1u);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    threads.emplace_back([this, i, &stop] {
      // Of a mirrored token, one thread makes keys; the others only use them.
      while (!stop) mirrored_&& i != 0 ? clients_[i]->ReadRound(false) : clients_[i]->Round(false);
    });
  }
  Toll toll;
  for (int i = 0; i < kills && !HasFailure(); ++i) {
    // At no moment in particular, and in every run at the same ones.
    std::this_thread::sleep_for(milliseconds((i * 37) % 50));
    std::vector<int> there;
    EXPECT_TRUE(Eventually([&] { return (there = Hosts()).size() == hosts; })) << "a host is not started again";
    if (there.size() != hosts) break;
    const std::vector<int> errors = Errors(), done = Done();
    const int victim = there[static_cast<std::size_t>(i) % there.size()];
    EXPECT_EQ(::kill(victim, SIGKILL), 0);
    EXPECT_TRUE(Eventually([&] {
      const auto now = Hosts();
      return now.size() == hosts && std::find(now.begin(), now.end(), victim) == now.end();
    })) << "a host is not started again";
    // Until the new host has served everybody, so that the next kill is not this one's.
    WaitForWork(done, 40);
    EXPECT_TRUE(Eventually([&] { return InStep(); })) << "a mirror does not come into step";
    int cost = 0;
    for (std::size_t client = 0; client < clients_.size(); ++client) {
      const int more = clients_[client]->errors() - errors[client];
      const bool reads = mirrored_ && client != 0;
      EXPECT_LE(more, reads ? 0 : 1) << "kill " << i << " cost client " << client << " so many errors";
      cost += more;
      toll.most = std::max(toll.most, more);
    }
    ++toll.kills;
    toll.errors += cost;
    toll.kills_with_errors += cost == 0 ? 0 : 1;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (auto& client : clients_) {
    for (const Told& told : client->TakeErrors()) EXPECT_TRUE(IsDefined(told)) << Describe(told);
    client->CheckKept();
  }
  EXPECT_TRUE(DaemonLives());
  EXPECT_EQ(Cmkctl("hsm reconcile"), 0) << "something is out of place";
  std::printf("kills: %d; with errors: %d; errors of all clients: %d; most for one client and kill: %d\n", toll.kills,
              toll.kills_with_errors, toll.errors, toll.most);
  EXPECT_EQ(toll.kills, kills);
}

}  // namespace
}  // namespace cmkd::tests

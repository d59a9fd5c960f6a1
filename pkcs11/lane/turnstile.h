// Turnstile: which of the lanes with something to do are served now. As many as there are processors have a place each
// for a short while, in turns, so that a client and its thread of the server stay awake for many calls; served all at
// once they would put each other to sleep at every trip.
//
// It decides nothing but who waits: whoever is not let in goes on all the same after a while.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>

namespace cmkd::lane {

class Turnstile {
 public:
  using Clock = std::chrono::steady_clock;

  // `places` at once, for `turn` each when others wait.
  Turnstile(int places, std::chrono::microseconds turn) : places_(places), turn_(turn) {}

  // One lane's; used by the lane's thread.
  class Pass {
   public:
    // How often lanes with short calls had to wait, for tests.
    std::uint64_t waits() const { return waits_; }
    bool inside() const { return inside_; }

   private:
    friend class Turnstile;
    bool inside_ = false;
    bool granted_ = false;       // by whoever left; under the turnstile's mutex
    unsigned exempt_ = 0;        // calls that neither take a place nor wait
    Clock::time_point until_{};  // its turn, when others wait
    Clock::time_point began_{};  // of the call, when others wait
    std::uint64_t waits_ = 0;
    std::condition_variable wake_;
  };

  // Whether Enter would wait now; a look without a lock.
  bool WouldWait(const Pass& pass) const;
  // Before a call is answered: waits for a place where one is needed.
  void Enter(Pass& pass);
  // The call was answered. A lane whose calls take long (they wait for a disk or a device, or work so long that a sleep
  // matters little) needs no place for a while: its client sleeps meanwhile.
  void Answered(Pass& pass);
  // There is nothing to do: the next one's turn.
  void Leave(Pass& pass);

 private:
  static constexpr std::chrono::microseconds kLong{100};
  static constexpr unsigned kExemptFor = 16;

  void Grant();

  const int places_;
  const std::chrono::microseconds turn_;
  std::mutex mutex_;
  int taken_ = 0;
  std::uint64_t grants_ = 0;
  std::deque<Pass*> queue_;
  std::atomic<int> waiting_{0};
};

}  // namespace cmkd::lane

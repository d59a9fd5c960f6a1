// DeviceLink: the daemon's standing with one device: initialised, logged in, with home sessions that own the cached key
// objects. A keeper thread looks after it: it checks when somebody reports a loss and now and then by itself, and
// builds everything anew when the device lost it. Each new standing has a generation; handles of another generation
// mean nothing.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "common/secret.h"
#include "daemon/hsm/device.h"

namespace cmkd::daemon {

// While an impatient one lives, its thread does not wait for a device that was lost: another device does the work.
class Impatience {
 public:
  explicit Impatience(bool impatient) : before_(now_) { now_ = impatient; }
  ~Impatience() { now_ = before_; }
  Impatience(const Impatience&) = delete;
  Impatience& operator=(const Impatience&) = delete;
  static bool Now() { return now_; }

 private:
  static inline thread_local bool now_ = false;
  const bool before_;
};

struct LinkOptions {
  std::string name;  // of the back end, for messages
  TokenChoice token;
  // Asked at each login. Empty function: the token needs no login.
  std::function<Result<SecretBytes, std::string>()> pin;
  // Called when the module has to begin anew, with the reason: the device is there but does not come back to its
  // senses, or the token is not there, for many modules look for their tokens only when they start. May be empty.
  std::function<void(const char* why)> reset;
  // Whether the device may be away when the link is opened: the keeper then waits for it.
  bool may_be_away = false;
  // How long callers wait for a lost device before they are told that it is away.
  std::chrono::milliseconds grace{5000};
  // How often the keeper looks unasked, and the longest pause between attempts while the device is away.
  std::chrono::milliseconds look_interval{10'000};
  std::chrono::milliseconds backoff_max{5000};
};

class DeviceLink {
 public:
  DeviceLink(CK_FUNCTION_LIST_PTR functions, LinkOptions options);
  // Logs out, closes the sessions, finalises the module.
  ~DeviceLink();
  DeviceLink(const DeviceLink&) = delete;
  DeviceLink& operator=(const DeviceLink&) = delete;

  // The first standing; starts the keeper. `found` is called for each standing before anybody uses it, and may refuse
  // it; `lost` by the keeper whenever one has ended, before a new one is built. Once, before anything else.
  Status Open(std::function<Status(const FoundToken&)> found, std::function<void()> lost);
  // Ends the keeper; nothing is recovered any more.
  void StopKeeper();

  const Device& device() const { return device_; }
  CK_SLOT_ID slot() const { return slot_.load(std::memory_order_relaxed); }
  // 0 while there is no standing.
  std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  bool up() const { return generation() != 0; }

  // The generation; waits for a rebuild that has just begun. Errors: CKR_DEVICE_ERROR with kHsmUnavailable.
  Fallible<std::uint64_t> WaitUntilUp();
  // A call in this generation gave a code that says that something is lost. Returns when the keeper has looked and, if
  // need be, built anew. Errors: as above.
  Status Recover(std::uint64_t generation);

  // Runs `work` (CK_SESSION_HANDLE → Fallible) in one of the home sessions, alone there. Errors:
  // CKR_SESSION_HANDLE_INVALID when the generation has passed.
  static constexpr std::uint32_t kHomes = 4;
  template <class Work>
  auto InHome(std::uint32_t home, std::uint64_t generation, Work work) -> decltype(work(CK_SESSION_HANDLE{})) {
    Home& where = homes_[home % kHomes];
    const std::lock_guard lock(where.mutex);
    if (where.generation != generation) return Fail(CKR_SESSION_HANDLE_INVALID, "the device was lost meanwhile");
    return work(where.session);
  }

 private:
  using Clock = std::chrono::steady_clock;
  enum class State { kUp, kRebuilding, kDown };
  struct Home {
    std::mutex mutex;
    CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
    std::uint64_t generation = 0;
  };

  Failure<Error> Away() const;
  void Keep();
  // Whether the home sessions are there and logged in.
  bool LooksWell();
  // Ends the standing, then tries to make another until it works, the grace is over (`patient`) or trying again is no
  // use.
  bool Rebuild(bool patient);
  Status Connect();
  Status OpenHomes(const FoundToken& token, std::array<CK_SESSION_HANDLE, kHomes>& sessions);
  void CloseHomes();
  bool Pause(std::chrono::milliseconds duration);
  // Whether another login could end well: the PIN is another one now, or the device has not counted the last attempt
  // as a wrong one (then once).
  bool MayTryPin();

  const Device device_;
  const LinkOptions options_;
  std::function<Status(const FoundToken&)> found_;
  std::function<void()> lost_;
  std::array<Home, kHomes> homes_;
  std::atomic<CK_SLOT_ID> slot_{0};
  std::atomic<std::uint64_t> generation_{0};
  std::uint64_t last_generation_ = 0;  // the keeper's
  bool login_needed_ = true;           // the keeper's

  std::mutex mutex_;  // the members below
  std::condition_variable wake_;
  std::condition_variable settled_;
  State state_ = State::kDown;
  Clock::time_point rebuilding_since_{};
  std::uint64_t requested_ = 0;
  std::uint64_t handled_ = 0;
  bool stop_ = false;
  bool pin_refused_ = false;
  // The keeper's: the PIN that was refused, and whether it may be tried once more.
  SecretBytes refused_pin_;
  bool may_try_again_ = true;
  std::string why_;  // what the last attempt failed of
  std::thread keeper_;
};

}  // namespace cmkd::daemon

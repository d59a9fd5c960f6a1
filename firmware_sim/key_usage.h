// How much a key may be used, and how much it has been: limits that its maker set (EN 419221-5; crypto-periods of
// SP 800-57), and the bound on AES-GCM under one key that holds for every key (SP 800-38D section 8.3).
//
// Counters never go back, also when the power goes: what may be spent is put aside in blocks, durably, before the first
// of it is. A device that loses power so forgets at most a block, and on the safe side.
#pragma once

#include <atomic>
#include <mutex>

#include "common/bytes.h"
#include "common/secret.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

// 0: no limit.
struct Limits {
  std::uint64_t uses = 0;
  std::uint64_t bytes = 0;           // of input
  std::uint64_t seconds = 0;         // from its making
  std::uint64_t uses_per_login = 0;  // then the user has to authenticate again
  bool any() const { return (uses | bytes | seconds | uses_per_login) != 0; }
};

struct Amount {
  std::uint64_t uses = 0;
  std::uint64_t bytes = 0;
  std::uint64_t gcm = 0;  // encryptions with AES-GCM
};

struct Spent {
  std::uint64_t uses = 0;
  std::uint64_t bytes = 0;
  std::uint64_t gcm = 0;
  std::uint64_t made = 0;  // seconds since 1970
  std::uint64_t seen = 0;  // the latest time that the key knows of; no clock takes it back

  bool operator==(const Spent&) const = default;
  Bytes Encode() const;
  // Errors: CKR_DEVICE_ERROR.
  static Fallible<Spent> Decode(ByteView record);
};

// A random IV of 96 bits repeats with a chance of 2^-32 after so many messages.
inline constexpr std::uint64_t kGcmMax = std::uint64_t{1} << 32;
inline constexpr std::uint64_t kGcmWarning = std::uint64_t{1} << 31;
inline constexpr std::uint64_t kGcmBlock = std::uint64_t{1} << 16;

// ---- The rules, pure

// The counters after this use; they stay at their greatest number rather than begin anew.
Spent After(const Spent& spent, const Amount& amount, std::uint64_t now);
// Errors: CKR_KEY_EXHAUSTED.
Status CheckSpent(const Limits& limits, const Spent& after);
// What to put aside for `after` and a while: never more than the limits allow.
Spent Reserve(const Limits& limits, const Spent& after);
// Each counter as the greater of the two.
Spent Latest(const Spent& a, const Spent& b);

// ---- The counters of one key. Any thread.
class KeyUsage {
 public:
  // `durable` is what the memory has; a key of a session has no memory behind it, and all is put aside from the start.
  KeyUsage(const Limits& limits, const Spent& durable, bool in_memory_only);

  const Limits& limits() const { return limits_; }

  // Counts a use before it happens. `persist(Spent)` makes durable what is put aside, and `now()` is the time; each is
  // asked only when it is needed. Errors: CKR_KEY_EXHAUSTED; those of `persist`.
  template <class Now, class Persist>
  Status Charge(const Amount& amount, Now now, Persist persist) {
    if (!limits_.any()) {
      if (amount.gcm == 0) return {};
      // The way of nearly all uses: nobody waits.
      if (gcm_.fetch_add(amount.gcm, std::memory_order_relaxed) + amount.gcm <= gcm_ready_.load()) [[likely]]
        return {};
      return ChargeSlowly({}, 0, persist);
    }
    return ChargeSlowly(amount, limits_.seconds == 0 ? 0 : now(), persist);
  }

  // Whether the user has to authenticate before the next use, in this login; and that he has.
  bool WantsLogin(std::uint64_t login_epoch);
  void Confirmed(std::uint64_t login_epoch);

  Spent spent() const;
  // What a memory must have that is switched off now, or copied.
  Spent reserved() const;
  std::uint64_t gcm_put_aside() const { return gcm_ready_.load(); }
  // Whether the memory has put more aside than was used: a clean end gives it back.
  bool HasLeftOver() const { return !in_memory_only_ && !(spent() == reserved()); }

 private:
  template <class Persist>
  Status ChargeSlowly(const Amount& amount, std::uint64_t now, Persist persist) {
    const std::lock_guard lock(mutex_);
    const Spent after = AfterLocked(amount, now);
    RETURN_IF_ERROR(CheckSpent(limits_, after));
    if (NeedsMore(after)) {
      const Spent more = Reserve(limits_, after);
      RETURN_IF_ERROR(persist(more));
      Took(more);
    }
    Become(after, amount);
    return {};
  }
  Spent AfterLocked(const Amount& amount, std::uint64_t now) const;
  bool NeedsMore(const Spent& after) const;
  void Took(const Spent& more);
  void Become(const Spent& after, const Amount& amount);

  const Limits limits_;
  const bool in_memory_only_;
  mutable std::mutex mutex_;
  Spent spent_;  // but for gcm
  Spent reserved_;
  std::atomic<std::uint64_t> gcm_;        // counted before it is looked at: too much is never too little
  std::atomic<std::uint64_t> gcm_ready_;  // reserved_.gcm
  std::uint64_t since_login_ = 0;
  std::uint64_t login_epoch_ = 0;
};

}  // namespace cmkd::sim

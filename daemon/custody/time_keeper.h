// TimeKeeper: the clock by which keys live. It never goes back, remembers over restarts what time it has seen, and
// knows whether it can be believed (keystore/cmk/time_record.h).
#pragma once

#include <atomic>
#include <mutex>

#include "common/time.h"
#include "keystore/cmk/time_record.h"
#include "keystore/store/store.h"
#include "pkcs11/spec/error.h"

namespace cmkd::daemon {

// Safe from any thread.
class TimeKeeper final : public Clock {
 public:
  // `system` tells wall time and time since the machine's start; `boot` names that start (zero when unknown). Goes on
  // from what the store remembers.
  TimeKeeper(store::Store& store, const Clock& system, const cmk::BootId& boot);

  // Wall time, or the highest time ever seen when that is later. One atomic load beside the question to the system.
  Timestamp Now() const override;
  std::chrono::nanoseconds Monotonic() const override { return system_.Monotonic(); }

  // Now, with what has been observed and whether to believe it: for decisions that destroy or rotate.
  cmk::Instant NowWithDoubt() const;

  struct Glance {
    bool jumped = false;  // the clock has just been found to have jumped
    bool trusted = true;
  };
  // Looks at the clocks and remembers it; durable once a minute and after each jump. To be called every few seconds.
  Fallible<Glance> Look();
  // Makes what was seen last durable, for a clean stop.
  Status Save();

 private:
  cmk::TimeReading Read() const;

  store::Store& store_;
  const Clock& system_;
  const cmk::BootId boot_;
  std::atomic<std::int64_t> highest_;
  mutable std::mutex mutex_;
  cmk::TimeRecord record_;
  Duration saved_at_;  // boot time of the last durable record
};

}  // namespace cmkd::daemon

// The operating system's clocks. The only file of the daemon that asks the OS what time it is.
#pragma once

#include <array>
#include <chrono>
#include <string>

#include "common/time.h"

namespace cmkd::daemon {

// A clock that also knows the part of the second: the audit log uses it when it is given one.
class PreciseClock : public Clock {
 public:
  // Wall time since 1970-01-01T00:00:00Z.
  virtual std::chrono::nanoseconds WallTime() const = 0;
  Timestamp Now() const override;
};

// CLOCK_REALTIME and CLOCK_BOOTTIME. Safe from any thread; about 30 ns a question.
class SystemClock final : public PreciseClock {
 public:
  std::chrono::nanoseconds WallTime() const override;
  // Counts sleep too, so a laptop closed for a month does not stop a deletion window (security-catalogue 4.4).
  std::chrono::nanoseconds Monotonic() const override;
};

// The kernel's id of this boot, 36 characters: Monotonic() can be compared only while it stays the same. Empty when the
// kernel does not tell.
std::string ReadBootId();
// The same as its 16 bytes; zero when the kernel does not tell.
std::array<std::uint8_t, 16> BootIdBytes();

}  // namespace cmkd::daemon

// What is remembered of time, so that no schedule trusts one clock: the highest time ever seen, how much time has
// really passed while somebody could tell, and whether the wall clock jumped. Pure; the daemon's time keeper feeds it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "common/time.h"

namespace cmkd::cmk {

using BootId = std::array<std::uint8_t, 16>;

// One look at the machine's clocks.
struct TimeReading {
  Timestamp wall;
  Duration boot_time;  // since the machine started, sleep included; comparable only within one boot
  BootId boot{};       // which boot that is; zero when the machine does not tell
};

struct TimeRecord {
  Timestamp highest;        // schedules run on this; it never goes back
  Timestamp wall;           // of the last reading
  Duration boot_time;       // likewise
  BootId boot{};            // likewise; zero: there was no reading yet
  Duration observed;        // time that has really passed, as far as it could be told
  bool jumped = false;      // the wall clock and the time that passed have disagreed
  Duration jumped_at;       // `observed` when they last did
  Timestamp suspect_since;  // `highest` when the present spell of doubt began

  bool operator==(const TimeRecord&) const = default;
};

// Wall time and time that passed may disagree by so much before it is a jump (NTP at work, a slow start).
inline constexpr Duration kJumpTolerance{600};
// A machine that was off for no longer than this was off; for longer, its clock may as well be wrong.
inline constexpr Duration kPlausibleDowntime = Days(7);
// The clock is believed again after so much observed time without a jump.
inline constexpr Duration kTrustAfter = Hours(24);

// The record after one more reading.
TimeRecord Observe(const TimeRecord& before, const TimeReading& reading);

// Whether the clock may be believed: there was no jump for kTrustAfter. Nothing is destroyed while it may not.
bool IsTrusted(const TimeRecord& record);

// An instant as the lifecycle's rules see it. A plain timestamp stands for a clock that always ran and was never wrong.
struct Instant {
  Instant(Timestamp when) : now(when), observed{when.seconds} {}  // NOLINT: every timestamp is an instant
  Instant(Timestamp when, Duration seen, bool believed) : now(when), observed(seen), trusted(believed) {}
  explicit Instant(const TimeRecord& record)
      : now(record.highest),
        observed(record.observed),
        trusted(IsTrusted(record)),
        suspect_since(IsTrusted(record) ? std::nullopt : std::optional(record.suspect_since)) {}

  Timestamp now;
  Duration observed;
  bool trusted = true;
  std::optional<Timestamp> suspect_since;
};

}  // namespace cmkd::cmk

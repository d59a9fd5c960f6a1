// The arithmetic of one reading after another.
#include "keystore/cmk/time_record.h"

#include <algorithm>

namespace cmkd::cmk {
namespace {

constexpr Duration kNone{};

Duration Less(Duration a, Duration b) { return {a.seconds - b.seconds}; }
Duration Distance(Duration a, Duration b) { return a > b ? Less(a, b) : Less(b, a); }

bool SameBoot(const TimeRecord& before, const TimeReading& reading) {
  return reading.boot == before.boot && reading.boot != BootId{} && reading.boot_time >= before.boot_time;
}

// How much time has passed for certain. Across a restart of the machine only the wall clock can tell, and is believed
// within reason.
Duration Elapsed(const TimeRecord& before, const TimeReading& reading) {
  if (SameBoot(before, reading)) return Less(reading.boot_time, before.boot_time);
  const Duration away = reading.wall - before.wall;
  return away > kNone && away <= kPlausibleDowntime ? away : kNone;
}

}  // namespace

TimeRecord Observe(const TimeRecord& before, const TimeReading& reading) {
  TimeRecord after = before;
  after.wall = reading.wall;
  after.boot_time = reading.boot_time;
  after.boot = reading.boot;
  if (before.wall == Timestamp{} && before.observed == kNone) {
    // The first reading of all: there is nothing to compare it with.
    after.highest = std::max(before.highest, reading.wall);
    return after;
  }
  const Duration elapsed = Elapsed(before, reading);
  after.observed.seconds += elapsed.seconds;
  if (Distance(reading.wall - before.wall, elapsed) > kJumpTolerance) {
    if (IsTrusted(before)) after.suspect_since = before.highest;
    after.jumped = true;
    after.jumped_at = after.observed;
  }
  // Behind a clock that was set back for good, schedules go on by the time that passes; a small step back is waited
  // out.
  const bool far_behind = before.highest - before.wall > kJumpTolerance;
  const Timestamp own = far_behind ? before.highest + elapsed : before.highest;
  after.highest = std::max(own, reading.wall);
  return after;
}

bool IsTrusted(const TimeRecord& record) {
  return !record.jumped || record.observed >= Duration{record.jumped_at.seconds + kTrustAfter.seconds};
}

}  // namespace cmkd::cmk

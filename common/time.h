// Instants and spans of time as values, and the interface of a clock. Pure code takes a Timestamp; it never asks a
// clock.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace cmkd {

struct Duration {
  std::int64_t seconds = 0;
  auto operator<=>(const Duration&) const = default;
};

constexpr Duration Seconds(std::int64_t n) { return {n}; }
constexpr Duration Hours(std::int64_t n) { return {n * 3600}; }
constexpr Duration Days(std::int64_t n) { return {n * 86400}; }

// Seconds since 1970-01-01T00:00:00Z.
struct Timestamp {
  std::int64_t seconds = 0;
  auto operator<=>(const Timestamp&) const = default;
};

constexpr Timestamp operator+(Timestamp t, Duration d) { return {t.seconds + d.seconds}; }
constexpr Timestamp operator-(Timestamp t, Duration d) { return {t.seconds - d.seconds}; }
constexpr Duration operator-(Timestamp a, Timestamp b) { return {a.seconds - b.seconds}; }

// The only door to the time of day. Safe from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall time.
  virtual Timestamp Now() const = 0;
  // Time that passes also while the machine sleeps and that nobody can set; its zero means nothing.
  virtual std::chrono::nanoseconds Monotonic() const = 0;
};

}  // namespace cmkd

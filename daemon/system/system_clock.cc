// clock_gettime, and nothing else of the daemon calls it for the time of day.
#include "daemon/system/system_clock.h"

#include <time.h>

#include <fstream>

namespace cmkd::daemon {
namespace {

std::chrono::nanoseconds Ask(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

Timestamp PreciseClock::Now() const { return {std::chrono::floor<std::chrono::seconds>(WallTime()).count()}; }

std::chrono::nanoseconds SystemClock::WallTime() const { return Ask(CLOCK_REALTIME); }
std::chrono::nanoseconds SystemClock::Monotonic() const { return Ask(CLOCK_BOOTTIME); }

std::string ReadBootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

std::array<std::uint8_t, 16> BootIdBytes() {
  std::array<std::uint8_t, 16> id{};
  std::size_t digit = 0;
  for (const char c : ReadBootId()) {
    const bool letter = c >= 'a' && c <= 'f';
    if (!letter && (c < '0' || c > '9')) continue;
    if (digit >= 2 * id.size()) break;
    const int value = letter ? c - 'a' + 10 : c - '0';
    id[digit / 2] = static_cast<std::uint8_t>(id[digit / 2] << 4 | value);
    ++digit;
  }
  return id;
}

}  // namespace cmkd::daemon

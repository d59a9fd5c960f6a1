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

}  // namespace cmkd::daemon

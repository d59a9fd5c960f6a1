// See device_clock.h.
#include "firmware_sim/device_clock.h"

#include <chrono>
#include <ctime>

namespace cmkd::sim {

std::uint64_t DeviceTime() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

std::string DeviceTimeText() {
  const auto now = static_cast<std::time_t>(DeviceTime());
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace cmkd::sim

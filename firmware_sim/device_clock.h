// The device's clock: for what it writes down and for limits of time, which do not believe it when it goes back.
#pragma once

#include <cstdint>
#include <string>

namespace cmkd::sim {

// Seconds since 1970.
std::uint64_t DeviceTime();

// As people read it: 2026-11-22T19:00:00Z.
std::string DeviceTimeText();

}  // namespace cmkd::sim

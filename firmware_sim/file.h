// What the device's memory is made of on this side: the names of files that are no records.
#pragma once

#include "common/file.h"

namespace cmkd::sim {

inline constexpr char kDeviceKeyFile[] = "device.key";
inline constexpr char kLockFile[] = "lock";
inline constexpr char kFaultCountsFile[] = "fault-counts";
inline constexpr char kLastFailureFile[] = "last-failure";
inline constexpr char kTemporary[] = ".tmp";

}  // namespace cmkd::sim

// The bounds of what may be asked of a key, per bounds profile: one row for each service whose rules a token may
// follow.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "common/time.h"
#include "keystore/cmk/state.h"

namespace cmkd::cmk {

// Stored in token records: add at the end, never renumber.
enum class BoundsProfile : std::uint8_t { kDefault = 1, kTencent = 2, kAlibaba = 3, kAws = 4 };

struct Bounds {
  BoundsProfile profile;
  std::string_view name;
  Duration window_min;  // between scheduling a deletion and the destruction
  Duration window_max;
  Duration window_default;
  Duration rotation_min;  // period of scheduled rotation
  Duration rotation_max;
  Duration rotation_default;
  Duration rotation_gap;  // least time between two rotations of one key; 0: none
  Duration quiet_min;     // for which a version must not have been used before it is destroyed alone
  Duration quiet_max;
  Duration quiet_default;
  std::uint32_t versions_max;  // per key, destroyed ones included
  bool disable_first;          // only a key that is already out of use may be scheduled for deletion
  CmkState cancel_returns_to;  // where a cancelled deletion leads
};

inline constexpr std::array kBounds{
    Bounds{BoundsProfile::kDefault, "default", Days(7), Days(366), Days(30), Days(1), Days(3650), Days(365), Seconds(0),
           Days(1), Days(366), Days(30), 1000, false, CmkState::kDisabled},
    Bounds{BoundsProfile::kTencent, "tencent", Days(7), Days(30), Days(30), Days(7), Days(365), Days(365), Seconds(0),
           Days(1), Days(366), Days(30), 1000, true, CmkState::kDisabled},
    Bounds{BoundsProfile::kAlibaba, "alibaba", Days(7), Days(366), Days(30), Days(7), Days(730), Days(365), Seconds(0),
           Days(1), Days(366), Days(30), 1000, false, CmkState::kEnabled},
    Bounds{BoundsProfile::kAws, "aws", Days(7), Days(30), Days(30), Days(90), Days(2560), Days(365), Seconds(0),
           Days(1), Days(366), Days(30), 1000, false, CmkState::kDisabled},
};

constexpr const Bounds& BoundsOf(BoundsProfile profile) {
  for (const Bounds& row : kBounds)
    if (row.profile == profile) return row;
  return kBounds.front();
}

constexpr std::optional<BoundsProfile> BoundsProfileFromName(std::string_view name) {
  for (const Bounds& row : kBounds)
    if (row.name == name) return row.profile;
  return std::nullopt;
}

// A general token is a plain PKCS#11 token: its objects may go at once, and do unless a window is asked for.
constexpr Bounds ForGeneralToken(Bounds bounds) {
  bounds.window_min = Seconds(0);
  bounds.window_default = Seconds(0);
  bounds.quiet_min = Seconds(0);
  bounds.quiet_default = Seconds(0);
  bounds.disable_first = false;
  return bounds;
}

}  // namespace cmkd::cmk

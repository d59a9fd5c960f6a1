// The two tables of permitted use, and the dates.
#include "keystore/cmk/permitted_use.h"

#include <array>
#include <cstddef>

#include "keystore/cmk/brown_out.h"
#include "keystore/cmk/lifecycle.h"

namespace cmkd::cmk {
namespace {

constexpr Refusal kYes = Refusal::kNone;

template <class State>
struct UseRow {
  State state;
  Refusal protect;
  Refusal process;
  Refusal describe;
};

// clang-format off
using R = Refusal;
constexpr std::array kByKeyState{
    UseRow<CmkState>{CmkState::kPreActive,       R::kKeyPreActive,       R::kKeyPreActive,       kYes},
    UseRow<CmkState>{CmkState::kPendingImport,   R::kKeyPendingImport,   R::kKeyPendingImport,   kYes},
    UseRow<CmkState>{CmkState::kEnabled,         kYes,                   kYes,                   kYes},
    UseRow<CmkState>{CmkState::kDisabled,        R::kKeyDisabled,        R::kKeyDisabled,        kYes},
    UseRow<CmkState>{CmkState::kArchived,        R::kKeyArchived,        kYes,                   kYes},
    UseRow<CmkState>{CmkState::kPendingDeletion, R::kKeyPendingDeletion, R::kKeyPendingDeletion,
                                                                                                R::kKeyPendingDeletion},
    UseRow<CmkState>{CmkState::kDestroyed,       R::kKeyDestroyed,       R::kKeyDestroyed,       R::kKeyDestroyed},
};

constexpr std::array kByVersionState{
    UseRow<VersionState>{VersionState::kPendingImport, R::kVersionPendingImport, R::kVersionPendingImport, kYes},
    UseRow<VersionState>{VersionState::kCurrent,       kYes,                     kYes,                     kYes},
    UseRow<VersionState>{VersionState::kRetired,       R::kVersionRetired,       kYes,                     kYes},
    UseRow<VersionState>{VersionState::kBlocked,       R::kVersionBlocked,       R::kVersionBlocked,       kYes},
    UseRow<VersionState>{VersionState::kCompromised,   R::kVersionCompromised,   R::kVersionCompromised,   kYes},
    UseRow<VersionState>{VersionState::kDestroyed,     R::kVersionDestroyed,     R::kVersionDestroyed,     kYes},
};
// clang-format on

template <class Rows>
constexpr bool NumbersFollowRows(const Rows& rows) {
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (static_cast<std::size_t>(rows[i].state) != i + 1) return false;
  return true;
}
static_assert(NumbersFollowRows(kByKeyState) && NumbersFollowRows(kByVersionState));

// A state outside the enumeration permits nothing.
template <class Rows, class State>
constexpr Refusal Cell(const Rows& rows, State state, Use use, Refusal unknown) {
  const std::size_t at = static_cast<std::size_t>(state) - 1;
  if (at >= rows.size()) return unknown;
  switch (use) {
    case Use::kProtect: return rows[at].protect;
    case Use::kProcess: return rows[at].process;
    case Use::kDescribe: return rows[at].describe;
  }
  return unknown;
}

Refusal ByDates(const Dates& dates, Use use, Timestamp now) {
  if (use == Use::kDescribe) return kYes;
  if (dates.activation && now < *dates.activation) return Refusal::kKeyPreActive;
  if (BrownOutAt(dates, now)) return Refusal::kKeyBrownOut;
  // SP 800-57 Part 1, 5.3: the originator-usage period ends before the recipient-usage period does.
  if (use == Use::kProtect && dates.expiry && now >= *dates.expiry) return Refusal::kKeyExpired;
  return kYes;
}

}  // namespace

Result<void, Refusal> CheckUse(const Cmk& cmk, VersionState version, Use use, Timestamp now) {
  const Refusal reasons[] = {
      Cell(kByKeyState, EffectiveState(cmk, now), use, Refusal::kKeyDestroyed),
      ByDates(cmk.dates, use, now),
      Cell(kByVersionState, version, use, Refusal::kVersionDestroyed),
  };
  for (const Refusal reason : reasons)
    if (reason != Refusal::kNone) return Failure{reason};
  return {};
}

Result<void, Refusal> CheckUse(const Cmk& cmk, const KeyVersion& version, Use use, Timestamp now) {
  VersionState state = version.state;
  const bool overlaps = version.protects_until && now < *version.protects_until;
  if (state == VersionState::kRetired && use == Use::kProtect && overlaps) state = VersionState::kCurrent;
  if (state == VersionState::kCompromised && use == Use::kProcess && cmk.processes_compromised)
    state = VersionState::kRetired;
  // Expired material is not used, whether or not the scheduler has come by to wipe it.
  if (version.expires && now >= *version.expires && use != Use::kDescribe) state = VersionState::kPendingImport;
  return CheckUse(cmk, state, use, now);
}

}  // namespace cmkd::cmk

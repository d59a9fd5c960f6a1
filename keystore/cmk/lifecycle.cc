// The decision itself: the table's row, then the few rules that look beyond state and date.
#include "keystore/cmk/lifecycle.h"

#include <cstdlib>
#include <limits>
#include <utility>

#include "keystore/cmk/transition_table.h"

namespace cmkd::cmk {
namespace {

// Saturates: a date beyond all time is never reached, which errs on the side of keeping a key.
Timestamp Later(Timestamp now, Duration by) {
  constexpr std::int64_t kEndOfTime = std::numeric_limits<std::int64_t>::max();
  if (by.seconds > 0 && now.seconds > kEndOfTime - by.seconds) return {kEndOfTime};
  return now + by;
}

bool IsService(const Cmk& cmk) { return cmk.key_class == KeyClass::kService; }

std::optional<Refusal> CheckRotation(const Cmk& cmk, Timestamp now, const Bounds& bounds) {
  if (!cmk.rotatable) return Refusal::kNotRotatable;
  if (cmk.versions.size() >= bounds.versions_max) return Refusal::kTooManyVersions;
  const KeyVersion* current = cmk.CurrentVersion();
  if (current != nullptr && now < Later(current->created, bounds.rotation_gap)) return Refusal::kRotatedTooRecently;
  return std::nullopt;
}

std::optional<Refusal> CheckDeletion(const Cmk& cmk, CmkState from, Duration window, Timestamp now,
                                     const Bounds& bounds) {
  if (IsService(cmk)) return Refusal::kServiceOwned;
  if (window < bounds.window_min || window > bounds.window_max) return Refusal::kWindowOutOfBounds;
  if (from == CmkState::kPendingDeletion) {
    const bool later = !cmk.dates.deletion_date.has_value() || Later(now, window) > *cmk.dates.deletion_date;
    return later ? std::nullopt : std::optional(Refusal::kDeletionOnlyExtends);
  }
  if (cmk.deletion_protected) return Refusal::kDeletionProtected;
  const bool in_use = from == CmkState::kEnabled || from == CmkState::kArchived;
  if (bounds.disable_first && in_use) return Refusal::kDisableFirst;
  return std::nullopt;
}

// What the table cannot say because it depends on more than state and date.
std::optional<Refusal> CheckRules(const Cmk& cmk, const TransitionRow& row, Duration window, Timestamp now,
                                  const Bounds& bounds) {
  if (row.effect == Effect::kNewVersion) return CheckRotation(cmk, now, bounds);
  switch (row.event) {
    case CmkEvent::kScheduleDeletion: return CheckDeletion(cmk, row.from, window, now, bounds);
    case CmkEvent::kDisable:
    case CmkEvent::kArchive: return IsService(cmk) ? std::optional(Refusal::kServiceOwned) : std::nullopt;
    default: return std::nullopt;
  }
}

// One rotation brings the schedule up to date, however many periods were missed. A rotation on demand does not move a
// date that still lies ahead.
std::optional<Timestamp> NextRotationAfter(const Cmk& cmk, Timestamp now) {
  if (cmk.rotation_period <= Duration{}) return std::nullopt;
  if (Ahead(cmk.dates.next_rotation, now)) return cmk.dates.next_rotation;
  return Later(now, cmk.rotation_period);
}

void ChangeDates(const Cmk& cmk, const TransitionRow& row, Duration window, Timestamp now, Transition& transition) {
  Dates& dates = transition.dates;
  switch (row.event) {
    case CmkEvent::kActivate: dates.activation = now; break;
    case CmkEvent::kScheduleDeletion:
      if (row.from != CmkState::kPendingDeletion) {
        dates.deletion_scheduled_at = now;
        transition.state_before_deletion = row.from;
      }
      dates.deletion_date = Later(now, window);
      break;
    case CmkEvent::kCancelDeletion:
      dates.deletion_scheduled_at.reset();
      dates.deletion_date.reset();
      transition.state_before_deletion.reset();
      break;
    case CmkEvent::kMaterialGone: dates.destroyed_at = now; break;
    default: break;
  }
  if (row.effect == Effect::kNewVersion) dates.next_rotation = NextRotationAfter(cmk, now);
  if (row.effect == Effect::kDestroyMaterial && !dates.destruction_started_at) dates.destruction_started_at = now;
}

void AddCurrentVersion(Cmk& cmk, Timestamp now, Material material) {
  if (KeyVersion* old = cmk.FindVersion(cmk.current); old != nullptr) {
    old->state = VersionState::kRetired;
    old->retired_at = now;
  }
  KeyVersion version;
  version.number = {cmk.versions.empty() ? 1 : cmk.versions.back().number.value + 1};
  version.created = now;
  version.material = std::move(material);
  cmk.current = version.number;
  cmk.versions.push_back(std::move(version));
}

void FillPendingVersion(Cmk& cmk, Timestamp now, Material material) {
  if (cmk.versions.empty() || cmk.versions.back().state != VersionState::kPendingImport)
    return AddCurrentVersion(cmk, now, std::move(material));
  KeyVersion& version = cmk.versions.back();
  version.state = VersionState::kCurrent;
  version.material = std::move(material);
  cmk.current = version.number;
}

void ForgetMaterial(Cmk& cmk) {
  for (KeyVersion& version : cmk.versions) {
    version.state = VersionState::kDestroyed;
    Wipe(version.material.blob);
    version.material = Material{};
  }
  cmk.current = {};
}

}  // namespace

CmkState EffectiveState(const Cmk& cmk, Timestamp now) {
  const bool reached = cmk.state == CmkState::kPreActive && Reached(cmk.dates.activation, now);
  return reached ? CmkState::kEnabled : cmk.state;
}

CmkState BirthState(bool has_material, std::optional<Timestamp> activation, Timestamp now) {
  if (!has_material) return CmkState::kPendingImport;
  return Ahead(activation, now) ? CmkState::kPreActive : CmkState::kEnabled;
}

Result<Transition, Refusal> Decide(const Cmk& cmk, const Request& request, Timestamp now, const Bounds& bounds) {
  const Duration window = request.window.value_or(bounds.window_default);
  // The tick is what writes an activation down, so it looks at the state as it is written.
  const CmkState from = request.event == CmkEvent::kTick ? cmk.state : EffectiveState(cmk, now);
  const Facts facts{now, cmk.dates, cmk.state_before_deletion, window, bounds.cancel_returns_to};
  const TransitionRow* row = FindTransition(from, request.event, facts);
  if (row == nullptr) return Failure{Refusal::kNothingDue};
  if (row->refusal != Refusal::kNone) return Failure{row->refusal};
  if (const auto refusal = CheckRules(cmk, *row, window, now, bounds)) return Failure{*refusal};

  Transition transition{row->next, row->effect, cmk.dates, cmk.state_before_deletion};
  ChangeDates(cmk, *row, window, now, transition);
  return transition;
}

Cmk Apply(Cmk cmk, const Transition& transition, Timestamp now, std::optional<Material> material) {
  const bool filled = cmk.state == CmkState::kPendingImport && transition.next != CmkState::kPendingDeletion;
  const bool brings_material = filled || transition.effect == Effect::kNewVersion;
  // A transition without the material it was decided for would leave a key that claims what it does not have.
  if (brings_material != material.has_value()) std::abort();

  cmk.state = transition.next;
  cmk.dates = transition.dates;
  cmk.state_before_deletion = transition.state_before_deletion;
  if (filled) FillPendingVersion(cmk, now, std::move(*material));
  if (transition.effect == Effect::kNewVersion) AddCurrentVersion(cmk, now, std::move(*material));
  if (transition.next == CmkState::kDestroyed) ForgetMaterial(cmk);
  return cmk;
}

std::optional<Timestamp> NextDue(const Cmk& cmk) {
  switch (cmk.state) {
    case CmkState::kPreActive: return cmk.dates.activation;
    case CmkState::kEnabled: return cmk.rotatable ? cmk.dates.next_rotation : std::nullopt;
    case CmkState::kPendingDeletion:
      return cmk.dates.destruction_started_at ? cmk.dates.destruction_started_at : cmk.dates.deletion_date;
    default: return std::nullopt;
  }
}

}  // namespace cmkd::cmk

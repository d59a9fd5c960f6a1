// The decision itself: the table's row, then the few rules that look beyond state and date.
#include "keystore/cmk/lifecycle.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "keystore/cmk/transition_table.h"

namespace cmkd::cmk {
namespace {

// Wall time alone destroys nothing: nine tenths of the waiting period must have been seen to pass, on a clock that is
// believed (a machine that was off, and clocks that are set, account for the tenth).
bool HasReallyWaited(const Dates& dates, const Instant& at) {
  if (!at.trusted) return false;
  if (!dates.observed_when_scheduled || !dates.deletion_date || !dates.deletion_scheduled_at) return true;
  const std::int64_t wait = dates.deletion_date->seconds - dates.deletion_scheduled_at->seconds;
  return at.observed.seconds - dates.observed_when_scheduled->seconds >= wait - wait / 10;
}

// Saturates: a date beyond all time is never reached, which errs on the side of keeping a key.
Timestamp Later(Timestamp now, Duration by) {
  constexpr std::int64_t kEndOfTime = std::numeric_limits<std::int64_t>::max();
  if (by.seconds > 0 && now.seconds > kEndOfTime - by.seconds) return {kEndOfTime};
  return now + by;
}

bool IsCondemned(const KeyVersion& version) {
  return version.state == VersionState::kDestroyed && version.material.kind != Material::Kind::kNone;
}

bool IsService(const Cmk& cmk) { return cmk.key_class == KeyClass::kService; }

std::optional<Refusal> CheckRotation(const Cmk& cmk, Timestamp now, const Bounds& bounds) {
  if (!cmk.rotatable) return Refusal::kNotRotatable;
  if (cmk.versions.size() >= bounds.versions_max) return Refusal::kTooManyVersions;
  const KeyVersion* current = cmk.CurrentVersion();
  if (current != nullptr && now < Later(current->created, bounds.rotation_gap)) return Refusal::kRotatedTooRecently;
  return std::nullopt;
}

std::optional<Refusal> CheckDeletion(const Cmk& cmk, const Request& request, CmkState from, Duration window,
                                     Timestamp now, const Bounds& bounds) {
  if (IsService(cmk) && !request.by_owner) return Refusal::kServiceOwned;
  if (window < bounds.window_min || window > bounds.window_max) return Refusal::kWindowOutOfBounds;
  if (from == CmkState::kPendingDeletion) {
    const bool later = !cmk.dates.deletion_date.has_value() || Later(now, window) > *cmk.dates.deletion_date;
    return later ? std::nullopt : std::optional(Refusal::kDeletionOnlyExtends);
  }
  if (cmk.deletion_protected) return Refusal::kDeletionProtected;
  if (!cmk.consumers.empty()) return Refusal::kConsumersRegistered;
  const bool in_use = from == CmkState::kEnabled || from == CmkState::kArchived;
  if (bounds.disable_first && in_use) return Refusal::kDisableFirst;
  return std::nullopt;
}

// What the table cannot say because it depends on more than state and date.
std::optional<Refusal> CheckRules(const Cmk& cmk, const TransitionRow& row, const Request& request, Duration window,
                                  Timestamp now, const Bounds& bounds) {
  if (row.effect == Effect::kNewVersion) return CheckRotation(cmk, now, bounds);
  switch (row.event) {
    case CmkEvent::kAnnounceDeletion:
      if (request.notice < kNoticeMin || request.notice > kNoticeMax || request.notice.seconds % Days(1).seconds != 0)
        return Refusal::kNoticeOutOfBounds;
      return CheckDeletion(cmk, request, row.from, window, now, bounds);
    case CmkEvent::kScheduleDeletion: return CheckDeletion(cmk, request, row.from, window, now, bounds);
    case CmkEvent::kForgetMaterial:
      return cmk.origin == Origin::kUnwrapped ? std::nullopt : std::optional(Refusal::kNotImported);
    case CmkEvent::kDisable:
    case CmkEvent::kArchive:
      if (!IsService(cmk)) return std::nullopt;
      if (!request.by_owner) return Refusal::kServiceOwned;
      return cmk.consumers.empty() ? std::nullopt : std::optional(Refusal::kConsumersRegistered);
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

void BeginToWait(const TransitionRow& row, Duration window, const Instant& at, Transition& transition) {
  Dates& dates = transition.dates;
  if (row.from != CmkState::kPendingDeletion) {
    dates.deletion_scheduled_at = at.now;
    dates.observed_when_scheduled = at.observed;
    transition.state_before_deletion = row.from;
  }
  dates.deletion_date = Later(at.now, window);
  dates.warned_at.reset();
}

void ChangeDates(const Cmk& cmk, const TransitionRow& row, const Request& request, Duration window, const Instant& at,
                 Transition& transition) {
  const Timestamp now = at.now;
  Dates& dates = transition.dates;
  switch (row.event) {
    case CmkEvent::kActivate: dates.activation = now; break;
    case CmkEvent::kScheduleDeletion: BeginToWait(row, window, at, transition); break;
    case CmkEvent::kAnnounceDeletion:
      dates.announced_at = now;
      dates.announced_until = Later(now, request.notice);
      dates.announced_window = window;
      dates.warned_at.reset();
      break;
    case CmkEvent::kTick:
      if (row.from == CmkState::kEnabled && row.next == CmkState::kPendingDeletion)
        BeginToWait(row, dates.announced_window, at, transition);
      break;
    case CmkEvent::kCancelDeletion:
      dates.deletion_scheduled_at.reset();
      dates.observed_when_scheduled.reset();
      dates.warned_at.reset();
      dates.deletion_date.reset();
      EndAnnouncement(dates);
      transition.state_before_deletion.reset();
      break;
    case CmkEvent::kMaterialGone: dates.destroyed_at = now; break;
    case CmkEvent::kForgetMaterial:
      if (row.from == CmkState::kPendingDeletion) transition.state_before_deletion = CmkState::kPendingImport;
      break;
    default: break;
  }
  if (row.from == CmkState::kEnabled && row.next != CmkState::kEnabled) EndAnnouncement(dates);
  if (row.effect == Effect::kWarn) dates.warned_at = now;
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
  for (KeyVersion& version : cmk.versions) {
    if (version.state != VersionState::kPendingImport) continue;
    version.state = VersionState::kCurrent;
    version.material = std::move(material);
    cmk.current = version.number;
    return;
  }
  AddCurrentVersion(cmk, now, std::move(material));
}

void ForgetImported(Cmk& cmk) {
  KeyVersion* version = cmk.FindVersion(cmk.current);
  if (version == nullptr) return;
  version->state = VersionState::kPendingImport;
  version->expires.reset();
  version->material = Material{};
  cmk.current = {};
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

void EndAnnouncement(Dates& dates) {
  if (dates.announced_until && !dates.deletion_date) dates.warned_at.reset();
  dates.announced_at.reset();
  dates.announced_until.reset();
  dates.announced_window = {};
}

CmkState EffectiveState(const Cmk& cmk, Timestamp now) {
  const bool reached = cmk.state == CmkState::kPreActive && Reached(cmk.dates.activation, now);
  return reached ? CmkState::kEnabled : cmk.state;
}

CmkState BirthState(bool has_material, std::optional<Timestamp> activation, Timestamp now) {
  if (!has_material) return CmkState::kPendingImport;
  return Ahead(activation, now) ? CmkState::kPreActive : CmkState::kEnabled;
}

Result<Transition, Refusal> Decide(const Cmk& cmk, const Request& request, const Instant& at, const Bounds& bounds) {
  const Timestamp now = at.now;
  const Duration window = request.window.value_or(bounds.window_default);
  // The tick is what writes an activation down, so it looks at the state as it is written.
  const CmkState from = request.event == CmkEvent::kTick ? cmk.state : EffectiveState(cmk, now);
  const KeyVersion* current = cmk.CurrentVersion();
  Facts facts{now, cmk.dates, cmk.state_before_deletion, window, bounds.cancel_returns_to, {}};
  if (current != nullptr) facts.material_expires = current->expires;
  facts.deletion_confirmed = HasReallyWaited(cmk.dates, at);
  facts.rotation_confirmed = !at.suspect_since || current == nullptr || current->created <= *at.suspect_since;
  const TransitionRow* row = FindTransition(from, request.event, facts);
  if (row == nullptr) return Failure{Refusal::kNothingDue};
  if (row->refusal != Refusal::kNone) return Failure{row->refusal};
  if (const auto refusal = CheckRules(cmk, *row, request, window, now, bounds)) return Failure{*refusal};

  Transition transition{row->next, row->effect, cmk.dates, cmk.state_before_deletion};
  ChangeDates(cmk, *row, request, window, at, transition);
  return transition;
}

Cmk Apply(Cmk cmk, const Transition& transition, Timestamp now, std::optional<Material> material) {
  const bool filled = cmk.state == CmkState::kPendingImport && transition.next != CmkState::kPendingDeletion &&
                      transition.next != CmkState::kPendingImport;
  const bool brings_material = filled || transition.effect == Effect::kNewVersion;
  // A transition without the material it was decided for would leave a key that claims what it does not have.
  if (brings_material != material.has_value()) std::abort();

  cmk.state = transition.next;
  cmk.dates = transition.dates;
  cmk.state_before_deletion = transition.state_before_deletion;
  if (filled) FillPendingVersion(cmk, now, std::move(*material));
  if (transition.effect == Effect::kNewVersion) AddCurrentVersion(cmk, now, std::move(*material));
  if (transition.effect == Effect::kWipeImported) ForgetImported(cmk);
  if (transition.next == CmkState::kDestroyed) ForgetMaterial(cmk);
  return cmk;
}

namespace {

using MaybeTime = std::optional<Timestamp>;

MaybeTime Earlier(MaybeTime a, MaybeTime b) { return !a ? b : !b ? a : std::min(*a, *b); }

MaybeTime DueByAnnouncement(const Dates& dates) {
  const auto next = NextBrownOut(dates);
  return Earlier(dates.announced_until, next ? MaybeTime(next->begins) : std::nullopt);
}

MaybeTime DueByState(const Cmk& cmk) {
  const KeyVersion* current = cmk.CurrentVersion();
  const MaybeTime expires = current == nullptr ? std::nullopt : current->expires;
  switch (cmk.state) {
    case CmkState::kPreActive: return cmk.dates.activation;
    case CmkState::kEnabled: return Earlier(Earlier(cmk.dates.next_rotation, expires), DueByAnnouncement(cmk.dates));
    case CmkState::kDisabled:
    case CmkState::kArchived: return expires;
    case CmkState::kPendingDeletion:
      if (cmk.dates.destruction_started_at) return cmk.dates.destruction_started_at;
      return Earlier(cmk.dates.deletion_date, NextWarning(cmk.dates));
    default: return std::nullopt;
  }
}

}  // namespace

std::optional<Timestamp> NextDue(const Cmk& cmk) {
  MaybeTime due = DueByState(cmk);
  // A version whose destruction was written down but not carried out.
  if (cmk.state != CmkState::kDestroyed)
    for (const KeyVersion& version : cmk.versions)
      if (IsCondemned(version)) due = Earlier(due, version.retired_at.value_or(version.created));
  return due;
}

Result<void, Refusal> CheckRotationPeriod(Duration period, const Bounds& bounds) {
  if (period == Duration{}) return {};
  if (period < bounds.rotation_min || period > bounds.rotation_max) return Failure{Refusal::kRotationPeriodOutOfBounds};
  return {};
}

}  // namespace cmkd::cmk

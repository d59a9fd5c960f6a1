// The lifecycle as one table: for every state and every event, where it leads or why it does not. Read by lifecycle.cc;
// the exhaustive test walks it and prints it for the documents.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "common/time.h"
#include "keystore/cmk/brown_out.h"
#include "keystore/cmk/lifecycle.h"
#include "keystore/cmk/state.h"

namespace cmkd::cmk {

// A row's condition.
enum class When : std::uint8_t {
  kAlways,
  kActivationAhead,      // now is before the activation date
  kActivationReached,    // it is not, and there is one
  kRotationDue,          // now is at or after the date of the next scheduled rotation
  kDeletionDue,          // now is at or after the deletion date, the time has really passed, the clock is believed
  kDeletionDateReached,  // the date alone
  kWarningDue,           // the deletion comes near, and nobody was warned for a day
  kDestructionStarted,   // the point of no return has been passed
  kMaterialExpired,      // imported material has reached its expiry date
  kNoWindow,             // the waiting period asked for is zero
  kHadNoMaterial,        // deletion was scheduled while the key waited for its import
  kAnnounced,            // a deletion is announced
  kAnnouncementOver,     // the brown-outs are over, and the clock is believed
  kBrownOutBegins,       // a brown-out has begun that nobody was told of
  kProfileReenables,  // the bounds profile leads a cancelled deletion back to Enabled, and no activation date is ahead
};

constexpr std::string_view Name(When when) {
  switch (when) {
    case When::kAlways: return "";
    case When::kActivationAhead: return "activation date ahead";
    case When::kActivationReached: return "activation date reached";
    case When::kRotationDue: return "rotation date reached";
    case When::kDeletionDue: return "deletion date reached and time passed";
    case When::kDeletionDateReached: return "deletion date reached";
    case When::kWarningDue: return "last days before the deletion";
    case When::kDestructionStarted: return "destruction has begun";
    case When::kMaterialExpired: return "imported material expired";
    case When::kNoWindow: return "waiting period is zero";
    case When::kHadNoMaterial: return "it had no material";
    case When::kAnnounced: return "deletion announced";
    case When::kAnnouncementOver: return "announced date reached";
    case When::kBrownOutBegins: return "a brown-out begins";
    case When::kProfileReenables: return "bounds profile re-enables";
  }
  return "invalid";
}

// What the conditions look at.
struct Facts {
  Timestamp now;
  Dates dates;
  std::optional<CmkState> state_before_deletion;
  Duration window;
  CmkState cancel_returns_to = CmkState::kDisabled;
  std::optional<Timestamp> material_expires;
  bool deletion_confirmed = true;  // by observed time and a clock without jumps
  bool rotation_confirmed = true;  // not a second rotation in one spell of doubt
};

// Operators are warned once a day from here on before a key is destroyed.
inline constexpr Duration kWarnBefore = Days(3);
inline constexpr Duration kWarnEvery = Days(1);

constexpr std::optional<Timestamp> NextWarning(const Dates& dates) {
  if (!dates.deletion_date || dates.destruction_started_at) return std::nullopt;
  return dates.warned_at ? *dates.warned_at + kWarnEvery : *dates.deletion_date - kWarnBefore;
}

// A date is reached in its very second.
constexpr bool Reached(const std::optional<Timestamp>& date, Timestamp now) { return date.has_value() && now >= *date; }
constexpr bool Ahead(const std::optional<Timestamp>& date, Timestamp now) { return date.has_value() && now < *date; }

constexpr bool Holds(When when, const Facts& facts) {
  switch (when) {
    case When::kAlways: return true;
    case When::kActivationAhead: return Ahead(facts.dates.activation, facts.now);
    case When::kActivationReached: return Reached(facts.dates.activation, facts.now);
    case When::kRotationDue: return facts.rotation_confirmed && Reached(facts.dates.next_rotation, facts.now);
    case When::kDeletionDue: return facts.deletion_confirmed && Reached(facts.dates.deletion_date, facts.now);
    case When::kDeletionDateReached: return Reached(facts.dates.deletion_date, facts.now);
    case When::kWarningDue: return Reached(NextWarning(facts.dates), facts.now);
    case When::kDestructionStarted: return facts.dates.destruction_started_at.has_value();
    case When::kMaterialExpired: return Reached(facts.material_expires, facts.now);
    case When::kNoWindow: return facts.window == Duration{};
    case When::kHadNoMaterial: return facts.state_before_deletion == CmkState::kPendingImport;
    case When::kAnnounced: return facts.dates.announced_until.has_value();
    case When::kAnnouncementOver: return facts.deletion_confirmed && Reached(facts.dates.announced_until, facts.now);
    case When::kBrownOutBegins: {
      const auto next = NextBrownOut(facts.dates);
      return next && facts.now >= next->begins && Ahead(facts.dates.announced_until, facts.now);
    }
    case When::kProfileReenables:
      return facts.cancel_returns_to == CmkState::kEnabled && !Ahead(facts.dates.activation, facts.now);
  }
  return false;
}

struct TransitionRow {
  CmkState from;
  CmkEvent event;
  When when;
  Refusal refusal;  // kNone: the row leads to `next`
  CmkState next;
  Effect effect;
};

namespace rows {

constexpr TransitionRow To(CmkState from, CmkEvent event, When when, CmkState next, Effect effect = Effect::kNone) {
  return {from, event, when, Refusal::kNone, next, effect};
}
constexpr TransitionRow No(CmkState from, CmkEvent event, When when, Refusal refusal) {
  return {from, event, when, refusal, from, Effect::kNone};
}

}  // namespace rows

// Of the rows of one cell the first whose condition holds decides. The last one of a cell has no condition.
// clang-format off
inline constexpr auto kTransitions = [] {
  using enum CmkState;
  using enum CmkEvent;
  using enum When;
  using enum Effect;
  using R = Refusal;
  using rows::No;
  using rows::To;
  return std::array{
    No(kPreActive,       kMaterialReady,    kAlways,             R::kMaterialNotExpected),
    To(kPreActive,       kActivate,         kAlways,             kEnabled),
    No(kPreActive,       kEnable,           kAlways,             R::kKeyPreActive),
    No(kPreActive,       kDisable,          kAlways,             R::kKeyPreActive),
    No(kPreActive,       kArchive,          kAlways,             R::kKeyPreActive),
    No(kPreActive,       kUnarchive,        kAlways,             R::kNotArchived),
    No(kPreActive,       kRotate,           kAlways,             R::kKeyPreActive),
    To(kPreActive,       kScheduleDeletion, kNoWindow,           kPendingDeletion, kDestroyMaterial),
    To(kPreActive,       kScheduleDeletion, kAlways,             kPendingDeletion),
    No(kPreActive,       kCancelDeletion,   kAlways,             R::kDeletionNotScheduled),
    To(kPreActive,       kTick,             kActivationReached,  kEnabled),
    No(kPreActive,       kTick,             kAlways,             R::kNothingDue),
    No(kPreActive,       kMaterialGone,     kAlways,             R::kMaterialStillThere),
    To(kPreActive,       kForgetMaterial,   kAlways,             kPendingImport,   kWipeImported),
    No(kPreActive,       kAnnounceDeletion, kAlways,             R::kKeyPreActive),

    To(kPendingImport,   kMaterialReady,    kActivationAhead,    kPreActive),
    To(kPendingImport,   kMaterialReady,    kAlways,             kEnabled),
    No(kPendingImport,   kActivate,         kAlways,             R::kKeyPendingImport),
    No(kPendingImport,   kEnable,           kAlways,             R::kKeyPendingImport),
    No(kPendingImport,   kDisable,          kAlways,             R::kKeyPendingImport),
    No(kPendingImport,   kArchive,          kAlways,             R::kKeyPendingImport),
    No(kPendingImport,   kUnarchive,        kAlways,             R::kNotArchived),
    No(kPendingImport,   kRotate,           kAlways,             R::kKeyPendingImport),
    To(kPendingImport,   kScheduleDeletion, kNoWindow,           kPendingDeletion, kDestroyMaterial),
    To(kPendingImport,   kScheduleDeletion, kAlways,             kPendingDeletion),
    No(kPendingImport,   kCancelDeletion,   kAlways,             R::kDeletionNotScheduled),
    No(kPendingImport,   kTick,             kAlways,             R::kNothingDue),
    No(kPendingImport,   kMaterialGone,     kAlways,             R::kKeyPendingImport),
    To(kPendingImport,   kForgetMaterial,   kAlways,             kPendingImport),
    No(kPendingImport,   kAnnounceDeletion, kAlways,             R::kKeyPendingImport),

    No(kEnabled,         kMaterialReady,    kAlways,             R::kMaterialNotExpected),
    No(kEnabled,         kActivate,         kAlways,             R::kAlreadyActive),
    To(kEnabled,         kEnable,           kAlways,             kEnabled),
    To(kEnabled,         kDisable,          kAlways,             kDisabled),
    To(kEnabled,         kArchive,          kAlways,             kArchived),
    No(kEnabled,         kUnarchive,        kAlways,             R::kNotArchived),
    To(kEnabled,         kRotate,           kAlways,             kEnabled,         kNewVersion),
    To(kEnabled,         kScheduleDeletion, kNoWindow,           kPendingDeletion, kDestroyMaterial),
    To(kEnabled,         kScheduleDeletion, kAlways,             kPendingDeletion),
    To(kEnabled,         kCancelDeletion,   kAnnounced,          kEnabled),
    No(kEnabled,         kCancelDeletion,   kAlways,             R::kDeletionNotScheduled),
    To(kEnabled,         kTick,             kMaterialExpired,    kPendingImport,   kWipeImported),
    To(kEnabled,         kTick,             kAnnouncementOver,   kPendingDeletion),
    To(kEnabled,         kTick,             kBrownOutBegins,     kEnabled,         kWarn),
    To(kEnabled,         kTick,             kRotationDue,        kEnabled,         kNewVersion),
    No(kEnabled,         kTick,             kAlways,             R::kNothingDue),
    No(kEnabled,         kMaterialGone,     kAlways,             R::kMaterialStillThere),
    To(kEnabled,         kForgetMaterial,   kAlways,             kPendingImport,   kWipeImported),
    To(kEnabled,         kAnnounceDeletion, kAlways,             kEnabled),

    No(kDisabled,        kMaterialReady,    kAlways,             R::kMaterialNotExpected),
    No(kDisabled,        kActivate,         kAlways,             R::kAlreadyActive),
    To(kDisabled,        kEnable,           kActivationAhead,    kPreActive),
    To(kDisabled,        kEnable,           kAlways,             kEnabled),
    To(kDisabled,        kDisable,          kAlways,             kDisabled),
    To(kDisabled,        kArchive,          kAlways,             kArchived),
    No(kDisabled,        kUnarchive,        kAlways,             R::kNotArchived),
    No(kDisabled,        kRotate,           kAlways,             R::kKeyDisabled),
    To(kDisabled,        kScheduleDeletion, kNoWindow,           kPendingDeletion, kDestroyMaterial),
    To(kDisabled,        kScheduleDeletion, kAlways,             kPendingDeletion),
    No(kDisabled,        kCancelDeletion,   kAlways,             R::kDeletionNotScheduled),
    To(kDisabled,        kTick,             kMaterialExpired,    kPendingImport,   kWipeImported),
    No(kDisabled,        kTick,             kAlways,             R::kNothingDue),
    No(kDisabled,        kMaterialGone,     kAlways,             R::kMaterialStillThere),
    To(kDisabled,        kForgetMaterial,   kAlways,             kPendingImport,   kWipeImported),
    No(kDisabled,        kAnnounceDeletion, kAlways,             R::kKeyDisabled),

    No(kArchived,        kMaterialReady,    kAlways,             R::kMaterialNotExpected),
    No(kArchived,        kActivate,         kAlways,             R::kAlreadyActive),
    No(kArchived,        kEnable,           kAlways,             R::kKeyArchived),
    To(kArchived,        kDisable,          kAlways,             kDisabled),
    To(kArchived,        kArchive,          kAlways,             kArchived),
    To(kArchived,        kUnarchive,        kActivationAhead,    kPreActive),
    To(kArchived,        kUnarchive,        kAlways,             kEnabled),
    No(kArchived,        kRotate,           kAlways,             R::kKeyArchived),
    To(kArchived,        kScheduleDeletion, kNoWindow,           kPendingDeletion, kDestroyMaterial),
    To(kArchived,        kScheduleDeletion, kAlways,             kPendingDeletion),
    No(kArchived,        kCancelDeletion,   kAlways,             R::kDeletionNotScheduled),
    To(kArchived,        kTick,             kMaterialExpired,    kPendingImport,   kWipeImported),
    No(kArchived,        kTick,             kAlways,             R::kNothingDue),
    No(kArchived,        kMaterialGone,     kAlways,             R::kMaterialStillThere),
    To(kArchived,        kForgetMaterial,   kAlways,             kPendingImport,   kWipeImported),
    No(kArchived,        kAnnounceDeletion, kAlways,             R::kKeyArchived),

    No(kPendingDeletion, kMaterialReady,    kAlways,             R::kKeyPendingDeletion),
    No(kPendingDeletion, kActivate,         kAlways,             R::kKeyPendingDeletion),
    No(kPendingDeletion, kEnable,           kAlways,             R::kKeyPendingDeletion),
    No(kPendingDeletion, kDisable,          kAlways,             R::kKeyPendingDeletion),
    No(kPendingDeletion, kArchive,          kAlways,             R::kKeyPendingDeletion),
    No(kPendingDeletion, kUnarchive,        kAlways,             R::kKeyPendingDeletion),
    No(kPendingDeletion, kRotate,           kAlways,             R::kKeyPendingDeletion),
    No(kPendingDeletion, kScheduleDeletion, kDestructionStarted, R::kDestructionStarted),
    To(kPendingDeletion, kScheduleDeletion, kAlways,             kPendingDeletion),
    No(kPendingDeletion, kCancelDeletion,   kDestructionStarted, R::kDestructionStarted),
    To(kPendingDeletion, kCancelDeletion,   kHadNoMaterial,      kPendingImport),
    To(kPendingDeletion, kCancelDeletion,   kProfileReenables,   kEnabled),
    To(kPendingDeletion, kCancelDeletion,   kAlways,             kDisabled),
    To(kPendingDeletion, kTick,             kDestructionStarted, kPendingDeletion, kDestroyMaterial),
    To(kPendingDeletion, kTick,             kDeletionDue,        kPendingDeletion, kDestroyMaterial),
    To(kPendingDeletion, kTick,             kWarningDue,         kPendingDeletion, kWarn),
    No(kPendingDeletion, kTick,             kDeletionDateReached, R::kClockSuspect),
    No(kPendingDeletion, kTick,             kAlways,             R::kNothingDue),
    To(kPendingDeletion, kMaterialGone,     kDestructionStarted, kDestroyed),
    No(kPendingDeletion, kMaterialGone,     kAlways,             R::kMaterialStillThere),
    No(kPendingDeletion, kForgetMaterial,   kDestructionStarted, R::kDestructionStarted),
    To(kPendingDeletion, kForgetMaterial,   kHadNoMaterial,      kPendingDeletion),
    To(kPendingDeletion, kForgetMaterial,   kAlways,             kPendingDeletion, kWipeImported),
    No(kPendingDeletion, kAnnounceDeletion, kAlways,             R::kKeyPendingDeletion),

    No(kDestroyed,       kMaterialReady,    kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kActivate,         kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kEnable,           kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kDisable,          kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kArchive,          kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kUnarchive,        kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kRotate,           kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kScheduleDeletion, kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kCancelDeletion,   kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kTick,             kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kMaterialGone,     kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kForgetMaterial,   kAlways,             R::kKeyDestroyed),
    No(kDestroyed,       kAnnounceDeletion, kAlways,             R::kKeyDestroyed),
  };
}();
// clang-format on

inline constexpr int kCmkStateCount = 7;
inline constexpr int kCmkEventCount = 13;

// Each cell has its rows together, in the order of states and events, and ends in a row without condition.
constexpr bool EveryCellDecides() {
  int cell = 0;
  bool open = false;
  for (const TransitionRow& row : kTransitions) {
    const int at = (static_cast<int>(row.from) - 1) * kCmkEventCount + static_cast<int>(row.event) - 1;
    if (at != cell) return false;
    open = row.when != When::kAlways;
    if (!open) ++cell;
  }
  return !open && cell == kCmkStateCount * kCmkEventCount;
}
static_assert(EveryCellDecides());

// nullptr only for values outside the enumerations.
constexpr const TransitionRow* FindTransition(CmkState from, CmkEvent event, const Facts& facts) {
  for (const TransitionRow& row : kTransitions)
    if (row.from == from && row.event == event && Holds(row.when, facts)) return &row;
  return nullptr;
}

}  // namespace cmkd::cmk

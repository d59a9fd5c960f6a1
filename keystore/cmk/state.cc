// The rows of text behind state.h.
#include "keystore/cmk/state.h"

#include <array>

namespace cmkd::cmk {
namespace {

// clang-format off
constexpr std::array kCmkStates{
    CmkStateRow{CmkState::kPreActive,       "PreActive",       "pre-activation"},
    CmkStateRow{CmkState::kPendingImport,   "PendingImport",   "pre-activation"},
    CmkStateRow{CmkState::kEnabled,         "Enabled",         "active"},
    CmkStateRow{CmkState::kDisabled,        "Disabled",        "suspended"},
    CmkStateRow{CmkState::kArchived,        "Archived",        "deactivated"},
    CmkStateRow{CmkState::kPendingDeletion, "PendingDeletion", "deactivated"},
    CmkStateRow{CmkState::kDestroyed,       "Destroyed",       "destroyed"},
};

constexpr std::array kVersionStates{
    VersionStateRow{VersionState::kPendingImport, "PendingImport", "pre-activation"},
    VersionStateRow{VersionState::kCurrent,       "Current",       "active"},
    VersionStateRow{VersionState::kRetired,       "Retired",       "deactivated"},
    VersionStateRow{VersionState::kBlocked,       "Blocked",       "suspended"},
    VersionStateRow{VersionState::kCompromised,   "Compromised",   "compromised"},
    VersionStateRow{VersionState::kDestroyed,     "Destroyed",     "destroyed"},
};

constexpr std::array kCmkEvents{
    CmkEventRow{CmkEvent::kMaterialReady,    "MaterialReady"},
    CmkEventRow{CmkEvent::kActivate,         "Activate"},
    CmkEventRow{CmkEvent::kEnable,           "Enable"},
    CmkEventRow{CmkEvent::kDisable,          "Disable"},
    CmkEventRow{CmkEvent::kArchive,          "Archive"},
    CmkEventRow{CmkEvent::kUnarchive,        "Unarchive"},
    CmkEventRow{CmkEvent::kRotate,           "Rotate"},
    CmkEventRow{CmkEvent::kScheduleDeletion, "ScheduleDeletion"},
    CmkEventRow{CmkEvent::kCancelDeletion,   "CancelDeletion"},
    CmkEventRow{CmkEvent::kTick,             "Tick"},
    CmkEventRow{CmkEvent::kMaterialGone,     "MaterialGone"},
    CmkEventRow{CmkEvent::kForgetMaterial,   "ForgetMaterial"},
    CmkEventRow{CmkEvent::kAnnounceDeletion, "AnnounceDeletion"},
};

constexpr std::array kVersionEvents{
    VersionEventRow{VersionEvent::kMakeCurrent, "MakeCurrent"},
    VersionEventRow{VersionEvent::kBlock,       "Block"},
    VersionEventRow{VersionEvent::kUnblock,     "Unblock"},
    VersionEventRow{VersionEvent::kCompromise,  "Compromise"},
    VersionEventRow{VersionEvent::kDestroy,     "Destroy"},
};

constexpr bool kAlarm = true;
constexpr bool kQuiet = false;

constexpr std::array kRefusals{
    RefusalRow{Refusal::kKeyPreActive, "KEY_PRE_ACTIVE",
               "The key's activation date lies ahead.",
               "A key is neither used nor changed in its use before that date.",
               "Wait for the date, or activate the key.", kQuiet},
    RefusalRow{Refusal::kKeyPendingImport, "KEY_PENDING_IMPORT",
               "The key has no key material.",
               "Without material a key can only be imported into or scheduled for deletion.",
               "Import the key material.", kQuiet},
    RefusalRow{Refusal::kKeyDisabled, "KEY_DISABLED",
               "The key is disabled.",
               "A disabled key neither protects nor processes, and does not rotate.",
               "Enable the key.", kQuiet},
    RefusalRow{Refusal::kKeyArchived, "KEY_ARCHIVED",
               "The key is archived.",
               "An archived key processes what it protected before, applies no new protection and does not rotate.",
               "Unarchive the key, or protect with another one.", kQuiet},
    RefusalRow{Refusal::kKeyPendingDeletion, "KEY_PENDING_DELETION",
               "The key is scheduled for deletion.",
               "Until its deletion date it cannot be used or changed.",
               "Cancel the deletion if the key is still needed, then enable it.", kAlarm},
    RefusalRow{Refusal::kKeyDestroyed, "KEY_DESTROYED",
               "The key has been destroyed.",
               "Destruction is final; only the record of it is left.",
               "None: use another key.", kQuiet},
    RefusalRow{Refusal::kKeyExpired, "KEY_EXPIRED",
               "The key's expiry date has passed.",
               "An expired key processes what it protected before and applies no new protection.",
               "Move the expiry date, or protect with another key.", kQuiet},
    RefusalRow{Refusal::kVersionPendingImport, "VERSION_PENDING_IMPORT",
               "This version of the key has no key material.",
               "Without material a version neither protects nor processes.",
               "Import the same material again.", kQuiet},
    RefusalRow{Refusal::kVersionRetired, "VERSION_RETIRED",
               "This version of the key is retired.",
               "A retired version processes what it protected before and applies no new protection.",
               "Protect with the current version.", kQuiet},
    RefusalRow{Refusal::kVersionBlocked, "VERSION_BLOCKED",
               "This version of the key is blocked.",
               "A blocked version neither protects nor processes.",
               "Unblock the version.", kQuiet},
    RefusalRow{Refusal::kVersionCompromised, "VERSION_COMPROMISED",
               "This version of the key is marked as compromised.",
               "A compromised version does not protect, and processes only where policy says so.",
               "Recover the data under supervision and protect it again with the current version.", kAlarm},
    RefusalRow{Refusal::kVersionDestroyed, "VERSION_DESTROYED",
               "This version of the key has been destroyed.",
               "Destruction is final; what only this version protected is lost.",
               "None.", kQuiet},
    RefusalRow{Refusal::kAlreadyActive, "ALREADY_ACTIVE",
               "The key is not waiting for its activation date.",
               "Only a key whose activation date lies ahead is activated.",
               "Enable the key if it is disabled.", kQuiet},
    RefusalRow{Refusal::kNotArchived, "NOT_ARCHIVED",
               "The key is not archived.",
               "Only an archived key is unarchived.",
               "None needed.", kQuiet},
    RefusalRow{Refusal::kDeletionNotScheduled, "DELETION_NOT_SCHEDULED",
               "The key is not scheduled for deletion.",
               "There is no deletion to cancel.",
               "None needed.", kQuiet},
    RefusalRow{Refusal::kMaterialNotExpected, "MATERIAL_NOT_EXPECTED",
               "The key has its key material.",
               "Material is taken only by a key that waits for it.",
               "Rotate the key to bring in new material.", kQuiet},
    RefusalRow{Refusal::kMaterialStillThere, "MATERIAL_STILL_THERE",
               "The destruction of this key has not begun.",
               "A key is destroyed only after its waiting period, and by its own schedule.",
               "Schedule the deletion and wait for its date.", kAlarm},
    RefusalRow{Refusal::kDestructionStarted, "DESTRUCTION_STARTED",
               "The destruction of this key has begun.",
               "From there on it can be neither cancelled nor put off.",
               "None: use another key.", kQuiet},
    RefusalRow{Refusal::kWindowOutOfBounds, "WINDOW_OUT_OF_BOUNDS",
               "The waiting period asked for is outside the bounds of this token.",
               "Each bounds profile has a least and a greatest waiting period before a key is destroyed.",
               "Ask for a waiting period within the bounds.", kQuiet},
    RefusalRow{Refusal::kDeletionOnlyExtends, "DELETION_ONLY_EXTENDS",
               "The key is already scheduled for deletion at a later date.",
               "A deletion date is moved later, never earlier.",
               "Ask for a longer waiting period, or cancel and schedule again.", kQuiet},
    RefusalRow{Refusal::kDisableFirst, "DISABLE_FIRST",
               "The key is still in use.",
               "On this token a key must be disabled before its deletion is scheduled.",
               "Disable the key, watch for those who miss it, then schedule the deletion.", kQuiet},
    RefusalRow{Refusal::kDeletionProtected, "DELETION_PROTECTED",
               "The key is protected against deletion.",
               "The protection must be lifted before the deletion is scheduled.",
               "Lift the deletion protection, then schedule the deletion.", kQuiet},
    RefusalRow{Refusal::kServiceOwned, "SERVICE_OWNED",
               "The key belongs to a service.",
               "Such a key is used, shown and rotated, but not disabled, archived or deleted.",
               "Ask the owner of the service.", kQuiet},
    RefusalRow{Refusal::kNotRotatable, "NOT_ROTATABLE",
               "The key has a fixed version.",
               "Where nothing in the ciphertext tells the version (CBC, CTR, ECB), a key keeps one version for life.",
               "Make a new key and move the label to it.", kQuiet},
    RefusalRow{Refusal::kTooManyVersions, "TOO_MANY_VERSIONS",
               "The key has as many versions as it may have.",
               "The number of versions of a key is bounded.",
               "Make a new key and move the label to it.", kQuiet},
    RefusalRow{Refusal::kRotatedTooRecently, "ROTATED_TOO_RECENTLY",
               "The current version has only just been made.",
               "Two rotations of one key keep a least distance in time.",
               "Wait a moment and rotate again.", kQuiet},
    RefusalRow{Refusal::kNothingDue, "NOTHING_DUE",
               "No date of this key has been reached.",
               "Time alone changes a key only on its dates.",
               "None needed.", kQuiet},
    RefusalRow{Refusal::kClockSuspect, "CLOCK_SUSPECT",
               "The date has come by a clock that cannot be believed yet.",
               "A key is destroyed only when the time has really passed and the clock has not jumped for a day.",
               "Wait; set the machine's clock right if it is wrong.", kQuiet},
    RefusalRow{Refusal::kVersionCurrent, "VERSION_CURRENT",
               "This is the current version of the key.",
               "The version that protects is not blocked, given up or destroyed.",
               "Rotate the key or make another version current first; to stop every use, disable the key.", kQuiet},
    RefusalRow{Refusal::kNoSuchVersion, "NO_SUCH_VERSION",
               "The key has no version of this number.",
               "Versions are counted from 1 and a number is never used again.",
               "Look at the versions with cmkctl key show.", kQuiet},
    RefusalRow{Refusal::kVersionInUse, "VERSION_IN_USE",
               "This version was used not long ago.",
               "A version is destroyed only when nobody has needed it for some time.",
               "Encrypt its data again with the current version, and wait; or block the version to find who uses it.",
               kQuiet},
    RefusalRow{Refusal::kRotationPeriodOutOfBounds, "ROTATION_PERIOD_OUT_OF_BOUNDS",
               "The rotation period asked for is outside the bounds of this token.",
               "Each bounds profile has a least and a greatest period of scheduled rotation.",
               "Ask for a period within the bounds, or for none.", kQuiet},
    RefusalRow{Refusal::kNotImported, "NOT_IMPORTED",
               "The key's material was not imported.",
               "Only imported material is given or taken away apart from its key.",
               "Make a key of origin external, or schedule this key's deletion.", kQuiet},
    RefusalRow{Refusal::kMaterialMismatch, "MATERIAL_MISMATCH",
               "This is not the material that the key had before.",
               "What is imported again must be the same, byte by byte, or what it protected would be lost.",
               "Import the same material, or make a new key for the new one.", kQuiet},
    RefusalRow{Refusal::kImportParametersStale, "IMPORT_PARAMETERS_STALE",
               "These import parameters are unknown, used already, or more than a day old.",
               "Import parameters are for one key, one import and 24 hours.",
               "Ask for new ones: cmkctl key import-params.", kQuiet},
    RefusalRow{Refusal::kMaterialLength, "MATERIAL_LENGTH",
               "The material has not the length that this key needs.",
               "A key's spec fixes the length of its material.",
               "Import material of the right length, or make a key of another spec.", kQuiet},
    RefusalRow{Refusal::kMaterialUnreadable, "MATERIAL_UNREADABLE",
               "The wrapped material cannot be opened.",
               "It must be wrapped for exactly these import parameters, by the algorithm they name.",
               "Wrap the material again as docs/import.md says, with the public key that came with the token.", kQuiet},
    RefusalRow{Refusal::kDateOutOfBounds, "DATE_OUT_OF_BOUNDS",
               "The date lies in the past, or beyond what this token allows.",
               "Validity and expiry dates lie ahead; an activation date is moved only before it has come.",
               "Give a later date, or none.", kQuiet},
    RefusalRow{Refusal::kVersionNotBlocked, "VERSION_NOT_BLOCKED",
               "This version is not blocked.",
               "Only a blocked version is unblocked.",
               "None needed.", kQuiet},
    RefusalRow{Refusal::kKeyBrownOut, "KEY_BROWN_OUT",
               "The key's deletion is announced, and this is one of the times at which it is refused.",
               "Until its waiting period begins, an announced key is refused for a while each day, longer every day.",
               "If the key is still needed: cmkctl key cancel-deletion. It serves again when the brown-out ends.",
               kAlarm},
    RefusalRow{Refusal::kConsumersRegistered, "CONSUMERS_REGISTERED",
               "Somebody has registered as depending on this key.",
               "A key is not scheduled for deletion, and a service's key not disabled, while it has consumers.",
               "Ask the consumers (cmkctl key show); then cmkctl key release KEY CONSUMER.", kQuiet},
    RefusalRow{Refusal::kQuietTimeOutOfBounds, "QUIET_TIME_OUT_OF_BOUNDS",
               "The quiet time asked for is outside the bounds of this token.",
               "Each bounds profile has a least and a greatest time for which a version must not have been used.",
               "Ask for a time within the bounds.", kQuiet},
    RefusalRow{Refusal::kNoticeOutOfBounds, "NOTICE_OUT_OF_BOUNDS",
               "A deletion is not announced for so long.",
               "Brown-outs go on for 1 to 90 whole days.",
               "Ask for a number of days within the bounds.", kQuiet},
};
// clang-format on

constexpr bool NumbersFollowRows() {
  for (std::size_t i = 0; i < kCmkStates.size(); ++i)
    if (static_cast<std::size_t>(kCmkStates[i].state) != i + 1) return false;
  for (std::size_t i = 0; i < kVersionStates.size(); ++i)
    if (static_cast<std::size_t>(kVersionStates[i].state) != i + 1) return false;
  for (std::size_t i = 0; i < kCmkEvents.size(); ++i)
    if (static_cast<std::size_t>(kCmkEvents[i].event) != i + 1) return false;
  for (std::size_t i = 0; i < kVersionEvents.size(); ++i)
    if (static_cast<std::size_t>(kVersionEvents[i].event) != i + 1) return false;
  for (std::size_t i = 0; i < kRefusals.size(); ++i)
    if (static_cast<std::size_t>(kRefusals[i].refusal) != i + 1) return false;
  return true;
}
static_assert(NumbersFollowRows(), "row i holds number i + 1");
static_assert(kRefusals.back().refusal == Refusal::kNoticeOutOfBounds, "every refusal has its row");

// The row with this number, or nullptr.
template <class Rows>
const auto* RowAt(const Rows& rows, std::uint64_t number) {
  return number >= 1 && number <= rows.size() ? &rows[static_cast<std::size_t>(number - 1)] : nullptr;
}

template <class Rows>
std::string_view NameAt(const Rows& rows, std::uint64_t number) {
  const auto* row = RowAt(rows, number);
  return row == nullptr ? "invalid" : row->name;
}

}  // namespace

std::span<const CmkStateRow> CmkStates() { return kCmkStates; }
std::span<const VersionStateRow> VersionStates() { return kVersionStates; }
std::span<const CmkEventRow> CmkEvents() { return kCmkEvents; }
std::span<const VersionEventRow> VersionEvents() { return kVersionEvents; }
std::span<const RefusalRow> Refusals() { return kRefusals; }

std::string_view Name(CmkState state) { return NameAt(kCmkStates, static_cast<std::uint64_t>(state)); }
std::string_view Name(VersionState state) { return NameAt(kVersionStates, static_cast<std::uint64_t>(state)); }
std::string_view Name(VersionEvent event) { return NameAt(kVersionEvents, static_cast<std::uint64_t>(event)); }
std::string_view Name(CmkEvent event) { return NameAt(kCmkEvents, static_cast<std::uint64_t>(event)); }
std::string_view Name(Refusal refusal) {
  return refusal == Refusal::kNone ? "NONE" : NameAt(kRefusals, static_cast<std::uint64_t>(refusal));
}

std::optional<CmkState> CmkStateFromNumber(std::uint64_t number) {
  const auto* row = RowAt(kCmkStates, number);
  return row == nullptr ? std::nullopt : std::optional(row->state);
}

std::optional<VersionState> VersionStateFromNumber(std::uint64_t number) {
  const auto* row = RowAt(kVersionStates, number);
  return row == nullptr ? std::nullopt : std::optional(row->state);
}

std::optional<Refusal> RefusalFromNumber(std::uint64_t number) {
  const auto* row = RowAt(kRefusals, number);
  return row == nullptr ? std::nullopt : std::optional(row->refusal);
}

std::optional<CmkState> CmkStateFromName(std::string_view name) {
  for (const CmkStateRow& row : kCmkStates)
    if (row.name == name) return row.state;
  return std::nullopt;
}

std::string Explain(Refusal refusal) {
  const auto* row = RowAt(kRefusals, static_cast<std::uint64_t>(refusal));
  if (row == nullptr) return "Nothing was refused.";
  std::string text(row->state);
  text.append(" ").append(row->rule).append(" ").append(row->remedy);
  return text;
}

bool RaisesAlarm(Refusal refusal) {
  const auto* row = RowAt(kRefusals, static_cast<std::uint64_t>(refusal));
  return row != nullptr && row->alarm;
}

}  // namespace cmkd::cmk

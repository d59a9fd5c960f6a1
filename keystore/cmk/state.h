// The states of keys and versions, the events that move them and the reasons for saying no: words only, each with its
// row of text. What follows from them is in transition_table.h and permitted_use.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cmkd::cmk {

// The numbers are stored in records: add at the end, never renumber.
enum class CmkState : std::uint8_t {
  kPreActive = 1,        // its activation date lies ahead
  kPendingImport = 2,    // made, but without key material
  kEnabled = 3,          // protect and process
  kDisabled = 4,         // neither, until an operator enables it
  kArchived = 5,         // process only
  kPendingDeletion = 6,  // neither; destroyed when its deletion date comes
  kDestroyed = 7,        // a tombstone: no material, no way back
};

// The numbers are stored in records: add at the end, never renumber.
enum class VersionState : std::uint8_t {
  kPendingImport = 1,  // no material yet, or no more
  kCurrent = 2,        // protect and process
  kRetired = 3,        // process only
  kBlocked = 4,        // neither; reversible
  kCompromised = 5,    // neither, unless policy lets it process
  kDestroyed = 6,      // no material, no way back
};

enum class CmkEvent : std::uint8_t {
  kMaterialReady = 1,  // the imported material has been verified and is in hand
  kActivate,           // an operator does not wait for the activation date
  kEnable,
  kDisable,
  kArchive,
  kUnarchive,
  kRotate,            // a new current version, on demand
  kScheduleDeletion,  // start the waiting period, or extend it
  kCancelDeletion,
  kTick,              // time has passed: do what is due, if anything is
  kMaterialGone,      // the HSM has confirmed that no material of this key is left
  kForgetMaterial,    // imported material is taken away: its expiry date has come, or an operator says so
  kAnnounceDeletion,  // brown-outs first, then the waiting period
};

// Why something is not allowed. 0 is no refusal and never travels in a Result. The numbers are the detail codes that
// programs see (CK_SESSION_INFO.ulDeviceError): add at the end, never renumber.
enum class Refusal : std::uint8_t {
  kNone = 0,
  kKeyPreActive = 1,
  kKeyPendingImport = 2,
  kKeyDisabled = 3,
  kKeyArchived = 4,
  kKeyPendingDeletion = 5,
  kKeyDestroyed = 6,
  kKeyExpired = 7,
  kVersionPendingImport = 8,
  kVersionRetired = 9,
  kVersionBlocked = 10,
  kVersionCompromised = 11,
  kVersionDestroyed = 12,
  kAlreadyActive = 13,
  kNotArchived = 14,
  kDeletionNotScheduled = 15,
  kMaterialNotExpected = 16,
  kMaterialStillThere = 17,
  kDestructionStarted = 18,
  kWindowOutOfBounds = 19,
  kDeletionOnlyExtends = 20,
  kDisableFirst = 21,
  kDeletionProtected = 22,
  kServiceOwned = 23,
  kNotRotatable = 24,
  kTooManyVersions = 25,
  kRotatedTooRecently = 26,
  kNothingDue = 27,
  kClockSuspect = 28,
  kVersionCurrent = 29,
  kNoSuchVersion = 30,
  kVersionInUse = 31,
  kRotationPeriodOutOfBounds = 32,
  kNotImported = 33,
  kMaterialMismatch = 34,
  kImportParametersStale = 35,
  kMaterialLength = 36,
  kMaterialUnreadable = 37,
  kDateOutOfBounds = 38,
  kVersionNotBlocked = 39,
  kKeyBrownOut = 40,
  kConsumersRegistered = 41,
  kQuietTimeOutOfBounds = 42,
  kNoticeOutOfBounds = 43,
};

// What an operator may do to one version of a key.
enum class VersionEvent : std::uint8_t {
  kMakeCurrent = 1,  // protect with it again
  kBlock,
  kUnblock,
  kCompromise,  // mark as compromised; there is no way back
  kDestroy,     // for good
};

struct CmkStateRow {
  CmkState state;
  std::string_view name;      // the clouds' word, as operators see it
  std::string_view sp800_57;  // the same state in the words of NIST SP 800-57 Part 1 Rev. 5, section 7
};
std::span<const CmkStateRow> CmkStates();

struct VersionStateRow {
  VersionState state;
  std::string_view name;
  std::string_view sp800_57;
};
std::span<const VersionStateRow> VersionStates();

struct CmkEventRow {
  CmkEvent event;
  std::string_view name;
};
std::span<const CmkEventRow> CmkEvents();

struct VersionEventRow {
  VersionEvent event;
  std::string_view name;
};
std::span<const VersionEventRow> VersionEvents();

struct RefusalRow {
  Refusal refusal;
  std::string_view name;    // KEY_DISABLED: the detail code's name in logs, in the audit and in `cmkctl explain`
  std::string_view state;   // what is so
  std::string_view rule;    // what therefore does not go
  std::string_view remedy;  // what to do about it
  bool alarm;               // an attempt is worth waking somebody
};
// Every refusal but kNone, in the order of their numbers.
std::span<const RefusalRow> Refusals();

// "Enabled"; "invalid" for a value outside the enumeration.
std::string_view Name(CmkState state);
std::string_view Name(VersionState state);
std::string_view Name(CmkEvent event);
std::string_view Name(VersionEvent event);
// "KEY_DISABLED"; "NONE" for kNone.
std::string_view Name(Refusal refusal);

// What a stored or received number means; nothing when it means nothing.
std::optional<CmkState> CmkStateFromNumber(std::uint64_t number);
std::optional<VersionState> VersionStateFromNumber(std::uint64_t number);
std::optional<Refusal> RefusalFromNumber(std::uint64_t number);
// By operator-facing name, exactly as Name() writes it.
std::optional<CmkState> CmkStateFromName(std::string_view name);

// State, rule and remedy as three sentences on one line.
std::string Explain(Refusal refusal);
// Whether an attempt that ends in this refusal is alarmed (a key that waits for its deletion is still wanted by
// somebody).
bool RaisesAlarm(Refusal refusal);

}  // namespace cmkd::cmk

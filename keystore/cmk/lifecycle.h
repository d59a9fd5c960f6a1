// Decides what may happen to a customer master key, and applies what was decided to its record. Pure: no I/O, no clock,
// no PKCS#11. The custodian in the daemon reads, decides, writes and then carries out the effect.
#pragma once

#include <optional>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "keystore/cmk/bounds.h"
#include "keystore/cmk/cmk.h"
#include "keystore/cmk/state.h"
#include "keystore/cmk/time_record.h"

namespace cmkd::cmk {

// What the custodian has to do in the HSM for a transition to come true.
enum class Effect : std::uint8_t {
  kNone,
  // Make a new version's material first, then decide again inside the write transaction and Apply with the material.
  kNewVersion,
  // Write the transition first (the intention is durable before the act), then destroy the material of all versions in
  // the HSM, verify that it is gone, and feed kMaterialGone back. After a crash kTick gives the same effect again.
  kDestroyMaterial,
  // Tell the operators that the destruction comes near, or that a brown-out begins.
  kWarn,
  // The imported material of the record as it was before is to be destroyed in the HSM; the record has forgotten it.
  kWipeImported,
};

struct Request {
  Request(CmkEvent what) : event(what) {}  // NOLINT: an event without arguments is a request
  Request(CmkEvent what, Duration how_long) : event(what), window(how_long) {}

  CmkEvent event;
  std::optional<Duration> window;  // of a deletion: the waiting period; the bounds' default when absent
  Duration notice{};               // kAnnounceDeletion: how long brown-outs go on before
  bool by_owner = false;           // of a service's key: asked for by its owner or by root
};

struct Transition {
  CmkState next;
  Effect effect = Effect::kNone;
  Dates dates;  // all of them as they are after the transition
  std::optional<CmkState> state_before_deletion;

  bool operator==(const Transition&) const = default;
};

// Decides, does nothing. `bounds` are those of the token (ForGeneralToken on general ones). Never fails on account of a
// date in the past or far in the future; a refusal leaves the record as it was.
Result<Transition, Refusal> Decide(const Cmk& cmk, const Request& request, const Instant& at, const Bounds& bounds);

// The record after `transition`, decided from this very record at `now`. `material` is the new version's and is taken
// only by transitions that bring material (kNewVersion, kMaterialReady); pass nothing otherwise. Reaching Destroyed
// forgets every version's material.
Cmk Apply(Cmk cmk, const Transition& transition, Timestamp now, std::optional<Material> material = std::nullopt);

// Nothing is announced any more. Any event that takes the key out of Enabled does the same.
void EndAnnouncement(Dates& dates);

// The state a key is born in: PendingImport without material, PreActive when the activation date lies ahead of `now`,
// Enabled otherwise.
CmkState BirthState(bool has_material, std::optional<Timestamp> activation, Timestamp now);

// The state a key is in at `now`: a PreActive key is Enabled from its activation date on, whether or not the scheduler
// has come by to write that down.
CmkState EffectiveState(const Cmk& cmk, Timestamp now);

// The next instant at which kTick would do something, if time alone can bring one. What the store's index of due dates
// holds.
std::optional<Timestamp> NextDue(const Cmk& cmk);

// Whether a key of this token may rotate by itself so often; zero is never, and always allowed.
Result<void, Refusal> CheckRotationPeriod(Duration period, const Bounds& bounds);

// ---- Versions

// The record after an operator's event on one version; nothing is asked of the HSM here. A version that was destroyed
// keeps its material until the custodian has destroyed it there and calls ForgetDestroyed. `quiet`: how long a version
// must not have been used before it may be destroyed.
Result<Cmk, Refusal> ChangeVersion(Cmk cmk, KeyVersionNumber number, VersionEvent event, Timestamp now, Duration quiet);
// Destroyed versions whose material is still in the record.
std::vector<Material> CondemnedMaterial(const Cmk& cmk);
Cmk ForgetDestroyed(Cmk cmk);

}  // namespace cmkd::cmk

// Events on one version: the table's row, and what follows for the key as a whole.
#include <utility>

#include "keystore/cmk/lifecycle.h"
#include "keystore/cmk/version_table.h"

namespace cmkd::cmk {
namespace {

// A key that waits for its deletion or has no material is not worked on version by version.
std::optional<Refusal> CheckKey(const Cmk& cmk) {
  switch (cmk.state) {
    case CmkState::kPendingDeletion: return Refusal::kKeyPendingDeletion;
    case CmkState::kDestroyed: return Refusal::kKeyDestroyed;
    case CmkState::kPendingImport: return Refusal::kKeyPendingImport;
    default: return std::nullopt;
  }
}

bool IsQuiet(const KeyVersion& version, Timestamp now, Duration quiet) {
  return !version.last_used || now - *version.last_used >= quiet;
}

void Retire(KeyVersion& version, Timestamp now) {
  version.state = VersionState::kRetired;
  version.retired_at = now;
}

}  // namespace

Result<Cmk, Refusal> ChangeVersion(Cmk cmk, KeyVersionNumber number, VersionEvent event, Timestamp now,
                                   Duration quiet) {
  if (const auto refusal = CheckKey(cmk)) return Failure{*refusal};
  KeyVersion* version = cmk.FindVersion(number);
  if (version == nullptr) return Failure{Refusal::kNoSuchVersion};
  const VersionRow* row = FindVersionTransition(version->state, event);
  if (row == nullptr) return Failure{Refusal::kNoSuchVersion};
  if (row->refusal != Refusal::kNone) return Failure{row->refusal};
  if (event == VersionEvent::kDestroy && !IsQuiet(*version, now, quiet)) return Failure{Refusal::kVersionInUse};
  if (event == VersionEvent::kMakeCurrent && number != cmk.current) {
    if (KeyVersion* before = cmk.FindVersion(cmk.current)) Retire(*before, now);
    cmk.current = number;
    version->retired_at.reset();
    version->protects_until.reset();
  }
  version->state = row->next;
  if (row->next == VersionState::kDestroyed) version->retired_at = now;
  if (row->next == VersionState::kCompromised || row->next == VersionState::kBlocked) version->protects_until.reset();
  return cmk;
}

std::vector<Material> CondemnedMaterial(const Cmk& cmk) {
  std::vector<Material> condemned;
  for (const KeyVersion& version : cmk.versions) {
    if (version.state == VersionState::kDestroyed && version.material.kind != Material::Kind::kNone)
      condemned.push_back(version.material);
  }
  return condemned;
}

Cmk ForgetDestroyed(Cmk cmk) {
  for (KeyVersion& version : cmk.versions) {
    if (version.state != VersionState::kDestroyed) continue;
    Wipe(version.material.blob);
    version.material = Material{};
  }
  return cmk;
}

}  // namespace cmkd::cmk

// The custodian's changes of CMKs: one named transaction for each, effects after it. Tokens, token objects, rotation
// and epochs have files of their own.
#include "daemon/custody/custodian.h"

#include <algorithm>

#include "daemon/config/config.h"
#include "daemon/crypto/random.h"
#include "daemon/custody/importer.h"
#include "daemon/custody/steps.h"
#include "daemon/service/translate.h"
#include "daemon/system/log.h"
#include "keystore/cmk/bounds.h"

namespace cmkd::daemon {

Fallible<cmk::Cmk> Decided(const cmk::Cmk& key, const cmk::Request& request, const cmk::Instant& at,
                           const cmk::Bounds& bounds, std::optional<cmk::Material> material, cmk::Effect* effect) {
  auto decided = cmk::Decide(key, request, at, bounds);
  if (!decided.ok()) return Translate(decided.error(), Moment::kManage);
  if (effect != nullptr) *effect = decided->effect;
  if (decided->effect == cmk::Effect::kNewVersion && !material)
    return Fail(CKR_ACTION_PROHIBITED, "a rotation is due first", static_cast<CK_ULONG>(cmk::Refusal::kNothingDue));
  return cmk::Apply(key, *decided, at.now, std::move(material));
}

Fallible<std::optional<store::RequestRecord>> Earlier(const store::ReadTxn& txn, const RequestName& name,
                                                      Timestamp now) {
  if (name.tag.empty()) return std::optional<store::RequestRecord>{};
  STORE_OR_RETURN(auto before, txn.FindRequest(name.tag, now));
  if (before && before->body_digest != name.body_digest)
    return Fail(CKR_ARGUMENTS_BAD, "a request id was used for two requests");
  return before;
}

Status Remember(store::WriteTxn& txn, const RequestName& name, Timestamp now) {
  if (name.tag.empty()) return {};
  const store::RequestRecord record{
      .tag = name.tag, .body_digest = name.body_digest, .objects = name.makes, .expires = {}};
  RETURN_IF_STORE_ERROR(txn.PutRequest(record, now));
  return {};
}

KeyName NameOf(const cmk::CmkId& id, cmk::KeyVersionNumber version) {
  KeyName name;
  name.id = id.bytes;
  name.version = version.value;
  return name;
}

cmk::Bounds Custodian::BoundsOf(const store::TokenRecord& token) {
  cmk::Bounds bounds = cmk::BoundsOf(token.bounds);
  if (token.profile == cmk::TokenProfile::kGeneral) bounds = cmk::ForGeneralToken(bounds);
  if (token.deletion_window) bounds.window_default = *token.deletion_window;
  if (token.version_quiet) bounds.quiet_default = *token.version_quiet;
  if (token.disable_first) bounds.disable_first = *token.disable_first;
  return bounds;
}

Fallible<std::vector<ObjectPtr>> Custodian::ObjectsOf(const store::ReadTxn& txn, const cmk::Cmk& key) const {
  const store::Term of_key[] = {store::OfCmk(key.id)};
  STORE_OR_RETURN(const auto serials, txn.FindObjects(key.token, of_key));
  std::vector<ObjectPtr> objects;
  for (const cmk::ObjectSerial serial : serials) {
    STORE_OR_RETURN(auto record, txn.GetObject(serial));
    objects.push_back(DecodeObject(std::move(record)));
  }
  return objects;
}

Fallible<cmk::Cmk> Custodian::Change(const cmk::CmkId& id, const cmk::Request& request, const RequestName& name) {
  cmk::Cmk changed;
  cmk::Cmk as_before;
  cmk::Effect effect = cmk::Effect::kNone;
  {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite(cmk::Name(request.event).data()));
    STORE_OR_RETURN(const auto found, txn->FindCmk(id));
    if (!found) return Fail(CKR_OBJECT_HANDLE_INVALID, "no key has this id", spec::kNotFound);
    ASSIGN_OR_RETURN(const auto earlier, Earlier(*txn, name, clock_.Now()));
    if (earlier) {
      RETURN_IF_STORE_ERROR(txn->Commit());
      return *found;
    }
    as_before = *found;
    STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(found->token));
    RETURN_IF_ERROR(Remember(*txn, name, clock_.Now()));
    ASSIGN_OR_RETURN(changed, Decided(*found, request, clock_.NowWithDoubt(), BoundsOf(token), std::nullopt, &effect));
    if (changed.state == cmk::CmkState::kDestroyed) {
      // The tombstone has no objects; its name is free again.
      ASSIGN_OR_RETURN(const auto objects, ObjectsOf(*txn, changed));
      for (const ObjectPtr& object : objects) RETURN_IF_STORE_ERROR(txn->DeleteObject({object->handle}));
    }
    if (changed.state == cmk::CmkState::kDestroyed || effect == cmk::Effect::kWipeImported)
      RETURN_IF_ERROR(NoteDestroyed(*txn, token));
    RETURN_IF_STORE_ERROR(txn->PutCmk(changed));
    if (name.dry_run) return changed;
    RETURN_IF_STORE_ERROR(txn->Commit());
    urgent_ = true;
  }
  // Out of use, out of the device: a key that may not be used has no business being unwrapped there.
  if (effect == cmk::Effect::kNone && changed.state != cmk::CmkState::kEnabled)
    (void)DropMaterial(changed.token, changed, false);
  if (effect == cmk::Effect::kWipeImported) (void)DropMaterial(changed.token, as_before, true);
  if (effect != cmk::Effect::kDestroyMaterial) return changed;
  // The intention is durable before the act; its completion is an event of its own. What the device cannot do now, the
  // scheduler tries again.
  if (const Status gone = DropMaterial(changed.token, changed, true); !gone.ok()) {
    LogWarning("the material of key " + id.ToHex() + " could not be destroyed yet: " + gone.error().why);
    return changed;
  }
  return Change(id, cmk::CmkEvent::kMaterialGone);
}

Fallible<cmk::Cmk> Custodian::BegunToDestroy(const cmk::Cmk& key, const store::TokenRecord& token) const {
  const cmk::Bounds bounds = BoundsOf(token);
  const cmk::Instant now = clock_.Now();
  cmk::Cmk record = key;
  if (key.state == cmk::CmkState::kEnabled || key.state == cmk::CmkState::kArchived)
    return Translate(cmk::Refusal::kDisableFirst, Moment::kManage);
  if (!key.consumers.empty()) return Translate(cmk::Refusal::kConsumersRegistered, Moment::kManage);
  if (key.state != cmk::CmkState::kPendingDeletion) {
    ASSIGN_OR_RETURN(record, Decided(key, {cmk::CmkEvent::kScheduleDeletion, bounds.window_min}, now, bounds));
  }
  // Its date is now, by decision and not by a clock.
  record.dates.deletion_date = now.now;
  record.dates.deletion_scheduled_at = now.now;
  record.dates.observed_when_scheduled.reset();
  return Decided(record, cmk::CmkEvent::kTick, now, bounds);
}

Status Custodian::CheckDestroyNow(const cmk::Cmk& key) const {
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(key.token));
  const auto begun = BegunToDestroy(key, *token);
  if (!begun.ok()) return Failure{begun.error()};
  return {};
}

Fallible<cmk::Cmk> Custodian::DestroyNow(const cmk::CmkId& id) {
  cmk::Cmk begun;
  {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.destroy-now"));
    STORE_OR_RETURN(const cmk::Cmk key, txn->GetCmk(id));
    STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(key.token));
    ASSIGN_OR_RETURN(begun, BegunToDestroy(key, token));
    RETURN_IF_STORE_ERROR(txn->PutCmk(begun));
    // What is destroyed at once is to be final at once.
    token.epoch_due = clock_.Now();
    RETURN_IF_STORE_ERROR(txn->PutToken(token));
    RETURN_IF_STORE_ERROR(txn->Commit());
    urgent_ = true;
  }
  if (const Status gone = DropMaterial(begun.token, begun, true); !gone.ok()) {
    LogWarning("the material of key " + id.ToHex() + " could not be destroyed yet: " + gone.error().why);
    return begun;
  }
  return Change(id, cmk::CmkEvent::kMaterialGone);
}

void Custodian::NoteWanted(const cmk::CmkId& id) {
  if (config_.attempt_extends_days == 0) return;
  const std::lock_guard lock(wanted_mutex_);
  wanted_.insert(id);
}

std::vector<cmk::Cmk> Custodian::PutOffWanted() {
  std::set<cmk::CmkId> wanted;
  {
    const std::lock_guard lock(wanted_mutex_);
    wanted.swap(wanted_);
  }
  std::vector<cmk::Cmk> put_off;
  const Duration by = Days(config_.attempt_extends_days);
  for (const cmk::CmkId& id : wanted) {
    const auto key = records_.GetCmk(id);
    if (!key.ok() || (*key)->state != cmk::CmkState::kPendingDeletion || !(*key)->dates.deletion_date) continue;
    // Once a day is enough for whoever asks all the time.
    if (clock_.Now() + by < *(*key)->dates.deletion_date + Days(1)) continue;
    cmk::Request later(cmk::CmkEvent::kScheduleDeletion, by);
    later.by_owner = true;
    auto changed = Change(id, later);
    if (changed.ok()) put_off.push_back(std::move(*changed));
  }
  return put_off;
}

Fallible<cmk::Cmk> Custodian::Edit(const char* label, const cmk::CmkId& id, const KeyEdit& edit,
                                   const RequestName& name) {
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite(label));
  STORE_OR_RETURN(auto key, txn->FindCmk(id));
  if (!key) return Fail(CKR_OBJECT_HANDLE_INVALID, "no key has this id", spec::kNotFound);
  ASSIGN_OR_RETURN(const auto earlier, Earlier(*txn, name, clock_.Now()));
  if (earlier) {
    RETURN_IF_STORE_ERROR(txn->Commit());
    return std::move(*key);
  }
  STORE_OR_RETURN(const store::TokenRecord token, txn->GetToken(key->token));
  if (key->state == cmk::CmkState::kDestroyed) return Translate(cmk::Refusal::kKeyDestroyed, Moment::kManage);
  const bool had_imports = !key->imports.empty();
  RETURN_IF_ERROR(edit(*key, token));
  RETURN_IF_ERROR(Remember(*txn, name, clock_.Now()));
  RETURN_IF_STORE_ERROR(txn->PutCmk(*key));
  if (had_imports || !key->imports.empty()) RETURN_IF_ERROR(KeepImportKeys(*txn, *key));
  if (name.dry_run) return std::move(*key);
  RETURN_IF_STORE_ERROR(txn->Commit());
  return std::move(*key);
}

Fallible<cmk::Cmk> Custodian::MoveAlias(const cmk::CmkId& id, const std::string& alias, const RequestName& name) {
  STORE_OR_RETURN(const Txn txn, store_.BeginWrite("key.alias"));
  STORE_OR_RETURN(cmk::Cmk key, txn->GetCmk(id));
  ASSIGN_OR_RETURN(const auto earlier, Earlier(*txn, name, clock_.Now()));
  if (earlier) {
    RETURN_IF_STORE_ERROR(txn->Commit());
    return key;
  }
  if (key.state == cmk::CmkState::kPendingDeletion || key.state == cmk::CmkState::kDestroyed)
    return Translate(cmk::Refusal::kKeyPendingDeletion, Moment::kManage);
  STORE_OR_RETURN(const auto owners, txn->FindCmksByName(key.token, alias));
  for (const cmk::CmkId& owner : owners) {
    if (owner == id) continue;
    STORE_OR_RETURN(cmk::Cmk other, txn->GetCmk(owner));
    if (std::erase(other.aliases, alias) == 0)
      return Fail(CKR_ARGUMENTS_BAD, "another key of the token has this name", spec::kNameTaken);
    RETURN_IF_STORE_ERROR(txn->PutCmk(other));
  }
  if (std::find(key.aliases.begin(), key.aliases.end(), alias) == key.aliases.end()) key.aliases.push_back(alias);
  RETURN_IF_ERROR(Remember(*txn, name, clock_.Now()));
  RETURN_IF_STORE_ERROR(txn->PutCmk(key, store::NameRule::kUnique));
  if (name.dry_run) return key;
  RETURN_IF_STORE_ERROR(txn->Commit());
  return key;
}

Fallible<cmk::Cmk> Custodian::ChangeVersion(const cmk::CmkId& id, cmk::KeyVersionNumber number, cmk::VersionEvent event,
                                            const RequestName& name) {
  const auto edit = [&](cmk::Cmk& key, const store::TokenRecord& token) -> Status {
    // A pair's versions have objects of their own: there is nothing to move back.
    if (event == cmk::VersionEvent::kMakeCurrent && !key.rotatable)
      return Translate(cmk::Refusal::kNotRotatable, Moment::kManage);
    auto changed = cmk::ChangeVersion(key, number, event, clock_.Now(), BoundsOf(token).quiet_default);
    if (!changed.ok()) return Translate(changed.error(), Moment::kManage);
    key = std::move(*changed);
    return {};
  };
  ASSIGN_OR_RETURN(cmk::Cmk changed, Edit("key.version", id, edit, name));
  if (name.dry_run) return changed;
  urgent_ = true;
  if (event == cmk::VersionEvent::kDestroy) {
    auto finished = FinishCondemned(id);
    // The scheduler finishes what the device would not do now.
    return finished.ok() ? std::move(finished) : Fallible<cmk::Cmk>(std::move(changed));
  }
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(changed.token));
  if (const auto backend = backends_.Of(*token); backend.ok()) (*backend)->Forget(NameOf(id, number));
  return changed;
}

Fallible<cmk::Cmk> Custodian::FinishCondemned(const cmk::CmkId& id) {
  ASSIGN_OR_RETURN(const auto key, records_.GetCmk(id));
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(key->token));
  ASSIGN_OR_RETURN(Backend * backend, backends_.Of(*token));
  for (const cmk::KeyVersion& version : key->versions) {
    if (version.state == cmk::VersionState::kDestroyed) backend->Forget(NameOf(id, version.number));
  }
  for (const cmk::Material& material : cmk::CondemnedMaterial(*key)) {
    RETURN_IF_ERROR(backend->DestroyMaterial(material));
  }
  RETURN_IF_ERROR(EditToken("token.epoch-due", token->id, [this](store::TokenRecord& t) { NoteDestroyed(t); }));
  return Edit("key.version-gone", id, [](cmk::Cmk& record, const store::TokenRecord&) -> Status {
    record = cmk::ForgetDestroyed(std::move(record));
    return {};
  });
}

Fallible<Custodian::Ticked> Custodian::Tick(const cmk::CmkId& id) {
  ASSIGN_OR_RETURN(const auto key, records_.GetCmk(id));
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(key->token));
  const bool alive = key->state != cmk::CmkState::kDestroyed && key->state != cmk::CmkState::kPendingDeletion;
  if (alive && !cmk::CondemnedMaterial(*key).empty()) {
    ASSIGN_OR_RETURN(cmk::Cmk finished, FinishCondemned(id));
    return Ticked{std::move(finished), cmk::Effect::kNone};
  }
  const auto decided = cmk::Decide(*key, cmk::CmkEvent::kTick, clock_.NowWithDoubt(), BoundsOf(*token));
  if (!decided.ok() && decided.error() == cmk::Refusal::kNotRotatable) {
    ASSIGN_OR_RETURN(cmk::Cmk moved, RotateByLabel(id));
    return Ticked{std::move(moved), cmk::Effect::kNewVersion};
  }
  if (!decided.ok()) return Translate(decided.error(), Moment::kManage);
  if (decided->effect == cmk::Effect::kNewVersion) {
    ASSIGN_OR_RETURN(cmk::Cmk rotated, RotateBy(cmk::CmkEvent::kTick, id, {}));
    return Ticked{std::move(rotated), cmk::Effect::kNewVersion};
  }
  ASSIGN_OR_RETURN(cmk::Cmk changed, Change(id, cmk::CmkEvent::kTick));
  return Ticked{std::move(changed), decided->effect};
}

}  // namespace cmkd::daemon

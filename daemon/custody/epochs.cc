// Epochs of wrapping keys: a new one follows, what remains is wrapped again under it, and the old key is destroyed, so
// that no copy of the store brings back what was deleted.
//
// What is durable says where to go on: a pending epoch whose key may or may not exist, a retired one of which the store
// still needs something or not, a condemned one whose key may or may not be gone. Each step can be done again.
#include <algorithm>
#include <set>

#include "daemon/config/config.h"
#include "daemon/custody/steps.h"
#include "daemon/system/log.h"

namespace cmkd::daemon {

namespace {

// What one transaction writes.
constexpr std::size_t kMaterialsAtOnce = 64;
constexpr std::size_t kKeysAtOnce = 64;
// Whoever has read a record just before it was wrapped again has loaded its key after so long.
constexpr std::chrono::seconds kGraceTime{2};
// Destroyed epochs that a token's record still names.
constexpr std::size_t kDestroyedKept = 8;
constexpr std::size_t kSessionKeysKept = 4;
// Keys that wait for a mirror to come back and destroy them.
constexpr std::size_t kCondemnedMax = 256;

store::WrappingEpoch* Find(store::TokenRecord& token, store::EpochState state) {
  const auto found = std::find_if(token.epochs.begin(), token.epochs.end(),
                                  [&](const store::WrappingEpoch& epoch) { return epoch.state == state; });
  return found == token.epochs.end() ? nullptr : &*found;
}
const store::WrappingEpoch* Find(const store::TokenRecord& token, store::EpochState state) {
  return Find(const_cast<store::TokenRecord&>(token), state);
}
WrappingKey KeyOf(const store::WrappingEpoch& epoch) { return {epoch.number, epoch.hsm_reference, false}; }

bool InProgress(const store::TokenRecord& token) {
  return Find(token, store::EpochState::kPending) != nullptr || Find(token, store::EpochState::kRetired) != nullptr ||
         Find(token, store::EpochState::kCondemned) != nullptr;
}

void Plan(store::TokenRecord& token, store::EpochState state) {
  token.epochs.push_back({token.next_epoch, NewReference(), state});
  ++token.next_epoch;
}

// The one for session objects that wraps; those before it open what they wrapped.
const store::WrappingEpoch* FindSession(const store::TokenRecord& token) {
  const auto found = std::find_if(token.epochs.rbegin(), token.epochs.rend(), [](const store::WrappingEpoch& epoch) {
    return epoch.state == store::EpochState::kSession;
  });
  return found == token.epochs.rend() ? nullptr : &*found;
}

// Whether a new epoch has to wait. A mirror that is away keeps a condemned key for as long as it likes; what is deleted
// meanwhile is to be final at the others.
bool IsBusy(const store::TokenRecord& token) {
  return token.mirrors.empty() ? InProgress(token)
                               : Find(token, store::EpochState::kPending) != nullptr ||
                                     Find(token, store::EpochState::kRetired) != nullptr;
}

std::size_t CountOf(const store::TokenRecord& token, store::EpochState state) {
  return static_cast<std::size_t>(
      std::count_if(token.epochs.begin(), token.epochs.end(), [&](const auto& epoch) { return epoch.state == state; }));
}

// Session objects of applications that lived through so many catching-ups of mirrors are lost.
void ForgetOldSessionKeys(store::TokenRecord& token) {
  while (CountOf(token, store::EpochState::kSession) > kSessionKeysKept)
    Find(token, store::EpochState::kSession)->state = store::EpochState::kCondemned;
}

bool IsStale(const cmk::Material& material, std::uint32_t current) {
  return material.kind == cmk::Material::Kind::kWrapped && material.epoch != current;
}

// Every material of a record, with what kind of key it is of.
template <class Visit>
void ForEachMaterial(cmk::Cmk& key, Visit visit) {
  for (cmk::KeyVersion& version : key.versions) visit(version.material, &version);
  for (cmk::ImportSlot& slot : key.imports) visit(slot.material, nullptr);
}

void ForgetOldEpochs(store::TokenRecord& token) {
  const auto destroyed = [](const store::WrappingEpoch& epoch) { return epoch.state == store::EpochState::kDestroyed; };
  auto count = static_cast<std::size_t>(std::count_if(token.epochs.begin(), token.epochs.end(), destroyed));
  std::erase_if(token.epochs, [&](const store::WrappingEpoch& epoch) {
    return destroyed(epoch) && count > kDestroyedKept && count-- > 0;
  });
}

}  // namespace

Fallible<WrappingKey> CurrentWrappingKey(const store::TokenRecord& token) {
  if (const store::WrappingEpoch* epoch = Find(token, store::EpochState::kCurrent)) return KeyOf(*epoch);
  return Fail(CKR_DEVICE_ERROR, "the token has no current wrapping key", spec::kInternal);
}

Fallible<Custodian::Under> Custodian::WrappingKeyFor(const cmk::TokenId& id, Keep keep) {
  // The hold comes before the look: whoever retires the key afterwards waits for it.
  Under under{{}, makers_.Begin()};
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(id));
  const store::WrappingEpoch* session = FindSession(*token);
  if (keep == Keep::kSession && session != nullptr) {
    under.key = KeyOf(*session);
  } else {
    ASSIGN_OR_RETURN(under.key, CurrentWrappingKey(*token));
  }
  under.key.session = keep == Keep::kSession;
  return under;
}

Status Custodian::CheckEpoch(const store::TokenRecord& token, const cmk::Material& material) {
  if (material.kind != cmk::Material::Kind::kWrapped) return {};
  for (const store::WrappingEpoch& epoch : token.epochs) {
    const bool opens = epoch.state == store::EpochState::kCurrent || epoch.state == store::EpochState::kRetired;
    if (epoch.number == material.epoch && opens) return {};
  }
  return Fail(CKR_FUNCTION_FAILED, "the key was wrapped under a key that is gone", spec::kInternal);
}

void Custodian::NoteDestroyed(store::TokenRecord& token) const {
  if (!config_.automatic_epochs || token.epoch_due) return;
  token.epoch_due = clock_.Now() + Hours(config_.new_epoch_hours);
}

Status Custodian::NoteDestroyed(store::WriteTxn& txn, store::TokenRecord& token) const {
  const auto before = token.epoch_due;
  NoteDestroyed(token);
  if (token.epoch_due != before) RETURN_IF_STORE_ERROR(txn.PutToken(token));
  return {};
}

// ---- Beginning one

// A token's first wrapping key and the one for session objects; none of it is in use before it is in the store.
Status Custodian::EnsureWrappingKey(const cmk::TokenId& id) {
  const std::lock_guard lock(epochs_mutex_);
  ASSIGN_OR_RETURN(const auto before, records_.GetToken(id));
  RETURN_IF_ERROR(EnsureSessionKey(id));
  if (Find(*before, store::EpochState::kCurrent) != nullptr) return {};
  RETURN_IF_ERROR(PlanPending(id));
  return MakePending(id);
}

// An application may bring its session objects back at any time, and no store holds them: they have a wrapping key of
// their own, which stays. It is named in the store before it is made, so one that is not there is made again.
Status Custodian::EnsureSessionKey(const cmk::TokenId& id) {
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(id));
  MirrorSet* mirrors = backends_.MirrorsOf(*token);
  const store::WrappingEpoch* session = FindSession(*token);
  if (session != nullptr && (mirrors == nullptr || mirrors->AllHold(session->hsm_reference))) return {};
  // Under the number of a pending epoch until it exists; the pending epoch of an interrupted attempt is as good.
  RETURN_IF_ERROR(PlanPending(id));
  ASSIGN_OR_RETURN(const store::WrappingEpoch made, MakeKeyOfPending(id));
  return EditToken("token.epoch-session", id, [](store::TokenRecord& record) {
    Find(record, store::EpochState::kPending)->state = store::EpochState::kSession;
    ForgetOldSessionKeys(record);
  });
}

Status Custodian::PlanPending(const cmk::TokenId& id) {
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(id));
  if (Find(*token, store::EpochState::kPending) != nullptr) return {};
  return EditToken("token.epoch", id, [&](store::TokenRecord& record) {
    if (Find(record, store::EpochState::kPending) != nullptr) return;
    Plan(record, store::EpochState::kPending);
    untried_[id] = record.epochs.back().hsm_reference;
  });
}

// An interrupted attempt may have made the key, and nothing is wrapped under it yet. A device that is there destroys it
// first. A mirror that is away may have it, too, and must not come back with another key of the same name: there the
// name is condemned, and another one is taken.
Fallible<store::WrappingEpoch> Custodian::MakeKeyOfPending(const cmk::TokenId& id) {
  ASSIGN_OR_RETURN(auto token, records_.GetToken(id));
  ASSIGN_OR_RETURN(Backend * backend, backends_.Of(*token));
  store::WrappingEpoch pending = *Find(*token, store::EpochState::kPending);
  const bool untried = untried_[id] == pending.hsm_reference;
  if (token->mirrors.empty()) {
    RETURN_IF_ERROR(backend->DestroyWrappingKey(KeyOf(pending)));
  } else if (!backend->available()) {
    return Fail(CKR_DEVICE_ERROR, "none of the token's HSMs answers", spec::kHsmUnavailable);
  } else if (!untried && !backend->DestroyWrappingKey(KeyOf(pending)).ok()) {
    if (CountOf(*token, store::EpochState::kCondemned) >= kCondemnedMax)
      return Fail(CKR_DEVICE_ERROR, "too many wrapping keys wait for a mirror that is away", spec::kHsmUnavailable);
    RETURN_IF_ERROR(EditToken("token.epoch-again", id, [](store::TokenRecord& record) {
      Find(record, store::EpochState::kPending)->state = store::EpochState::kCondemned;
    }));
    RETURN_IF_ERROR(PlanPending(id));
    ASSIGN_OR_RETURN(token, records_.GetToken(id));
    pending = *Find(*token, store::EpochState::kPending);
  }
  untried_.erase(id);
  RETURN_IF_ERROR(backend->MakeWrappingKey(KeyOf(pending)));
  return pending;
}

// Makes the key of the pending epoch and switches to it.
Status Custodian::MakePending(const cmk::TokenId& id) {
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(id));
  if (Find(*token, store::EpochState::kPending) == nullptr) return {};
  ASSIGN_OR_RETURN(const store::WrappingEpoch made, MakeKeyOfPending(id));
  RETURN_IF_ERROR(EditToken("token.epoch-switch", id, [](store::TokenRecord& record) {
    if (store::WrappingEpoch* current = Find(record, store::EpochState::kCurrent))
      current->state = store::EpochState::kRetired;
    Find(record, store::EpochState::kPending)->state = store::EpochState::kCurrent;
    record.epoch_due.reset();
  }));
  EpochRun& run = epoch_runs_[id];
  run = {};
  run.earlier_makers = makers_.MarkNow();
  return {};
}

Fallible<bool> Custodian::BeginEpoch(const cmk::TokenId& id) {
  const std::lock_guard lock(epochs_mutex_);
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(id));
  if (Find(*token, store::EpochState::kCurrent) == nullptr)
    return Fail(CKR_TOKEN_NOT_RECOGNIZED, "the token has not been initialised");
  if (IsBusy(*token)) return false;
  // Asked first, so that nothing is begun with an HSM that is not there.
  ASSIGN_OR_RETURN(Backend * backend, backends_.Of(*token));
  if (!backend->available()) return Fail(CKR_DEVICE_ERROR, "the HSM does not answer", spec::kHsmUnavailable);
  RETURN_IF_ERROR(EnsureSessionKey(id));
  RETURN_IF_ERROR(PlanPending(id));
  epoch_runs_[id].waits_for.clear();
  return true;
}

// ---- Carrying it through

Custodian::EpochProgress Custodian::ProgressOf(const store::TokenRecord& token) const {
  EpochProgress progress;
  if (const auto* current = Find(token, store::EpochState::kCurrent)) progress.current = current->number;
  progress.in_progress = InProgress(token);
  const std::lock_guard lock(epochs_mutex_);
  if (const auto run = epoch_runs_.find(token.id); run != epoch_runs_.end() && progress.in_progress) {
    progress.rewrapped = run->second.rewrapped;
    progress.left_behind = run->second.left_behind;
    progress.waits_for = run->second.waits_for;
  }
  return progress;
}

Fallible<Custodian::EpochStep> Custodian::StepEpoch(const cmk::TokenId& id) {
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(id));
  if (!IsBusy(*token)) {
    if (token->epoch_due && clock_.Now() >= *token->epoch_due) {
      ASSIGN_OR_RETURN(const bool begun, BeginEpoch(id));
      return begun ? EpochStep::kBegun : EpochStep::kWaits;
    }
    if (!InProgress(*token)) return EpochStep::kNothing;
  }
  const std::lock_guard lock(epochs_mutex_);
  if (Find(*token, store::EpochState::kPending) != nullptr) {
    RETURN_IF_ERROR(MakePending(id));
    return EpochStep::kWorked;
  }
  // Retired first: what a condemned key opened is wrapped again already.
  if (Find(*token, store::EpochState::kRetired) != nullptr) return RewrapSome(*token);
  return DestroyCondemned(*token);
}

namespace {

// One material to be wrapped again, and what came of it.
struct Rewrap {
  KeyName name;
  cmk::CmkId key;
  KeyMaterial before;
  bool drop = false;  // of a destroyed version
  cmk::Material after;
};

// The materials of a key that are not wrapped under the current epoch. `object`: its secret or private object.
void CollectStale(cmk::Cmk& key, const Object* object, std::uint32_t current, std::vector<Rewrap>& work) {
  ForEachMaterial(key, [&](const cmk::Material& material, const cmk::KeyVersion* version) {
    if (!IsStale(material, current)) return;
    Rewrap one;
    one.key = key.id;
    one.name = NameOf(key.id, version == nullptr ? cmk::KeyVersionNumber{} : version->number);
    one.before.material = material;
    one.drop = version != nullptr && version->state == cmk::VersionState::kDestroyed;
    // The keys of import parameters have no object; they are RSA private keys.
    const bool has_object = version != nullptr && object != nullptr;
    one.before.object_class = has_object ? object->object_class : CKO_PRIVATE_KEY;
    one.before.key_type = has_object ? static_cast<CK_KEY_TYPE>(object->key_type) : CKK_RSA;
    work.push_back(std::move(one));
  });
}

// Whether a refusal is the key's own, rather than the device's trouble of the moment.
bool IsAboutTheKey(const Error& error) {
  return error.detail != spec::kHsmUnavailable && error.rv != CKR_DEVICE_REMOVED && error.rv != CKR_TOKEN_NOT_PRESENT;
}

// What cannot be wrapped again is taken out of the work and stays as it is. A device that is away ends the step.
Status RewrapInDevice(Backend& backend, const WrappingKey& under, std::vector<Rewrap>& work, std::size_t& left_behind) {
  std::vector<Rewrap> done;
  for (Rewrap& each : work) {
    if (!each.drop) {
      auto again = backend.Rewrap(each.name, each.before, under);
      if (!again.ok() && !IsAboutTheKey(again.error())) return Failure<Error>{again.error()};
      if (!again.ok()) {
        if (left_behind++ == 0)
          LogWarning("key " + each.key.ToHex() + " could not be wrapped again: " + again.error().why);
        continue;
      }
      each.after = std::move(*again);
      each.after.public_part = each.before.material.public_part;
    }
    done.push_back(std::move(each));
  }
  work = std::move(done);
  return {};
}

// The object whose material a key's is, if it is there.
const Object* ObjectToRewrap(const std::vector<ObjectPtr>& objects) {
  const auto secret = std::find_if(objects.begin(), objects.end(), [](const ObjectPtr& object) {
    return object->has_material() && !object->is_import_key();
  });
  return secret == objects.end() ? nullptr : secret->get();
}

// What was changed or destroyed meanwhile is another material by now, and left alone.
Status PutRewrapped(store::WriteTxn& txn, const std::vector<Rewrap>& work) {
  for (const Rewrap& each : work) {
    STORE_OR_RETURN(auto key, txn.FindCmk(each.key));
    if (!key) continue;
    ForEachMaterial(*key, [&](cmk::Material& material, cmk::KeyVersion*) {
      if (material == each.before.material) material = each.after;
    });
    RETURN_IF_STORE_ERROR(txn.PutCmk(*key));
  }
  return {};
}

}  // namespace

Fallible<Custodian::EpochStep> Custodian::RewrapSome(const store::TokenRecord& token) {
  EpochRun& run = epoch_runs_[token.id];
  ASSIGN_OR_RETURN(Backend * backend, backends_.Of(token));
  ASSIGN_OR_RETURN(const WrappingKey under, CurrentWrappingKey(token));
  if (run.cursor == cmk::CmkId{}) {
    // Only a pass that began when the makers of before had ended sees everything that there will ever be.
    run.pass_is_last = run.earlier_makers.expired();
    run.found_in_pass = run.left_behind = 0;
  }
  std::vector<Rewrap> work;
  bool at_end = false;
  {
    STORE_OR_RETURN(const auto read, store_.BeginRead());
    STORE_OR_RETURN(std::vector<cmk::Cmk> page, read->ListCmksOfToken(token.id, run.cursor, kKeysAtOnce));
    at_end = page.size() < kKeysAtOnce;
    for (cmk::Cmk& key : page) {
      if (work.size() >= kMaterialsAtOnce) {
        at_end = false;
        break;
      }
      run.cursor = key.id;
      ASSIGN_OR_RETURN(const auto objects, ObjectsOf(*read, key));
      CollectStale(key, ObjectToRewrap(objects), under.epoch, work);
    }
  }
  run.found_in_pass += work.size();
  RETURN_IF_ERROR(RewrapInDevice(*backend, under, work, run.left_behind));
  if (!work.empty()) {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("token.epoch-rewrap"));
    RETURN_IF_ERROR(PutRewrapped(*txn, work));
    RETURN_IF_STORE_ERROR(txn->Commit());
    run.rewrapped += work.size();
  }
  if (!at_end) return EpochStep::kWorked;
  run.cursor = {};
  if (run.left_behind != 0)
    return Fail(CKR_FUNCTION_FAILED,
                std::to_string(run.left_behind) + " keys could not be wrapped again, so the old wrapping key stays",
                spec::kHsmRefused);
  if (run.found_in_pass != 0) return EpochStep::kWorked;
  if (!run.pass_is_last) return EpochStep::kWaits;
  RETURN_IF_ERROR(EditToken("token.epoch-condemn", token.id, [](store::TokenRecord& record) {
    for (store::WrappingEpoch& epoch : record.epochs) {
      if (epoch.state == store::EpochState::kRetired) epoch.state = store::EpochState::kCondemned;
    }
  }));
  run.condemned_at = clock_.Monotonic();
  return EpochStep::kWorked;
}

Fallible<Custodian::EpochStep> Custodian::DestroyCondemned(const store::TokenRecord& token) {
  EpochRun& run = epoch_runs_[token.id];
  // After a restart nobody is left who has read a record from before.
  if (run.condemned_at && clock_.Monotonic() - *run.condemned_at < kGraceTime) return EpochStep::kWaits;
  ASSIGN_OR_RETURN(Backend * backend, backends_.Of(token));
  std::set<std::uint32_t> gone;
  std::optional<Error> left;
  for (const store::WrappingEpoch& epoch : token.epochs) {
    if (epoch.state != store::EpochState::kCondemned) continue;
    Status destroyed = backend->DestroyWrappingKey(KeyOf(epoch));
    if (destroyed.ok()) {
      gone.insert(epoch.number);
    } else {
      left = std::move(destroyed.error());
    }
  }
  if (!gone.empty()) {
    RETURN_IF_ERROR(EditToken("token.epoch-done", token.id, [&](store::TokenRecord& record) {
      for (store::WrappingEpoch& epoch : record.epochs) {
        if (gone.contains(epoch.number)) epoch.state = store::EpochState::kDestroyed;
      }
      ForgetOldEpochs(record);
    }));
  }
  if (!left) {
    epoch_runs_.erase(token.id);
    return EpochStep::kDone;
  }
  if (token.mirrors.empty()) return Failure<Error>{std::move(*left)};
  // Until the mirror comes back, or an operator says that it is lost.
  if (run.waits_for.empty()) LogWarning("deletions on token " + token.label + " are not final yet: " + left->why);
  run.waits_for = left->why;
  return EpochStep::kWaits;
}

}  // namespace cmkd::daemon

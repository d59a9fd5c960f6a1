// The HSMs of a mirrored token: put on the list, looked after, taken off it.
//
// What is durable is the list, and the epochs (epochs.cc). Everything else is seen by looking at the devices: whether
// one is there, is the one that was enrolled, and which wrapping keys it has. One that lacks some is brought into step
// by a new epoch, whose key goes to all that are there; so catching up is as interruptible as an epoch is.
#include <algorithm>

#include "daemon/custody/steps.h"
#include "daemon/system/log.h"

namespace cmkd::daemon {

namespace {

using std::chrono::seconds;

constexpr seconds kLookEvery{5};
// Between two epochs for the sake of one that lags: doubled each time, for it may never come into step.
constexpr seconds kPatience{30};
constexpr seconds kPatienceMax{3600};
constexpr std::size_t kPage = 256;

struct References {
  std::vector<Bytes> needed;
  std::vector<Bytes> condemned;
};

// The keys without which something cannot be used there, and those that must go. Of the keys for session objects the
// newest counts: what an older one wrapped is opened where it was made.
References ReferencesOf(const store::TokenRecord& token) {
  References references;
  const store::WrappingEpoch* session = nullptr;
  for (const store::WrappingEpoch& epoch : token.epochs) {
    switch (epoch.state) {
      case store::EpochState::kCurrent:
      case store::EpochState::kRetired: references.needed.push_back(epoch.hsm_reference); break;
      case store::EpochState::kSession: session = &epoch; break;
      case store::EpochState::kCondemned:
      case store::EpochState::kDestroyed: references.condemned.push_back(epoch.hsm_reference); break;
      case store::EpochState::kPending: break;
    }
  }
  if (session != nullptr) references.needed.push_back(session->hsm_reference);
  return references;
}

bool IsBusy(const store::TokenRecord& token) {
  return std::any_of(token.epochs.begin(), token.epochs.end(), [](const store::WrappingEpoch& epoch) {
    return epoch.state == store::EpochState::kPending || epoch.state == store::EpochState::kRetired;
  });
}

auto FindMirror(const store::TokenRecord& token, const std::string& hsm) {
  return std::find_if(token.mirrors.begin(), token.mirrors.end(),
                      [&](const store::TokenMirror& mirror) { return mirror.hsm == hsm; });
}

Fallible<std::size_t> CountResident(const store::ReadTxn& txn, const cmk::TokenId& token) {
  std::size_t count = 0;
  for (cmk::CmkId after;;) {
    STORE_OR_RETURN(const auto page, txn.ListCmksOfToken(token, after, kPage));
    for (const cmk::Cmk& key : page) {
      for (const cmk::KeyVersion& version : key.versions)
        count += version.material.kind == cmk::Material::Kind::kResident ? 1 : 0;
      for (const cmk::ImportSlot& slot : key.imports)
        count += slot.material.kind == cmk::Material::Kind::kResident ? 1 : 0;
    }
    if (page.size() < kPage) return count;
    after = page.back().id;
  }
}

WrappingKey KeyOf(const store::WrappingEpoch& epoch) { return {epoch.number, epoch.hsm_reference, false}; }

}  // namespace

Fallible<std::vector<MirrorSet::Seen>> Custodian::LookAtMirrors(const cmk::TokenId& id) {
  const std::lock_guard lock(mirrors_mutex_);
  ASSIGN_OR_RETURN(const auto token, records_.GetToken(id));
  MirrorSet* mirrors = backends_.MirrorsOf(*token);
  if (mirrors == nullptr) return std::vector<MirrorSet::Seen>{};
  const References references = ReferencesOf(*token);
  auto seen = mirrors->Look(references.needed, references.condemned, clock_.Now());
  MirrorWatch& watch = mirror_watches_[id];
  for (const MirrorSet::Seen& each : seen) {
    MirrorState& known = watch.states[each.name];
    if (known == each.state) continue;
    const bool good = each.state == MirrorState::kInStep || each.state == MirrorState::kOwing;
    const std::string line = "mirror " + each.name + " of token " + token->label + " is " +
                             std::string(RowOf(each.state).name) + (each.trouble.empty() ? "" : ": " + each.trouble);
    good ? LogInfo(line) : LogWarning(line);
    known = each.state;
  }
  return seen;
}

Fallible<bool> Custodian::LookAfterMirrors(const cmk::TokenId& id, bool now) {
  ASSIGN_OR_RETURN(auto token, records_.GetToken(id));
  MirrorSet* mirrors = backends_.MirrorsOf(*token);
  if (mirrors == nullptr) return false;
  {
    const std::lock_guard lock(mirrors_mutex_);
    MirrorWatch& watch = mirror_watches_[id];
    const auto time = clock_.Monotonic();
    // An operator who looks all the time is no reason to look after them less.
    const bool due = !watch.looked_after_at || time - *watch.looked_after_at >= kLookEvery;
    if (!now && !due && !mirrors->WantsLook()) return false;
    watch.looked_after_at = time;
  }
  ASSIGN_OR_RETURN(const auto seen, LookAtMirrors(id));
  const bool owes =
      std::any_of(seen.begin(), seen.end(), [](const auto& each) { return each.state == MirrorState::kOwing; });
  const bool lags =
      std::any_of(seen.begin(), seen.end(), [](const auto& each) { return RowOf(each.state).catches_up; });
  ASSIGN_OR_RETURN(token, records_.GetToken(id));
  if (owes) {
    // A device that was restored from its own backup may bring back what had been destroyed. The condemned ones are
    // the epoch's business, which knows when nobody needs them any more.
    for (const store::WrappingEpoch& epoch : token->epochs) {
      if (epoch.state == store::EpochState::kDestroyed) (void)mirrors->DestroyWrappingKey(KeyOf(epoch));
    }
  }
  const std::lock_guard lock(mirrors_mutex_);
  MirrorWatch& watch = mirror_watches_[id];
  if (!lags) watch.patience = {};
  if (!lags || IsBusy(*token)) return false;
  const auto time = clock_.Monotonic();
  if (!now && watch.caught_up_at && time - *watch.caught_up_at < watch.patience) return false;
  watch.caught_up_at = time;
  watch.patience = std::clamp<std::chrono::nanoseconds>(watch.patience * 2, kPatience, kPatienceMax);
  return BeginEpoch(id);
}

Fallible<Digest> Custodian::TransportFingerprint(const cmk::TokenId& token, const std::string& hsm) {
  ASSIGN_OR_RETURN(Backend * backend, backends_.Get(hsm));
  ASSIGN_OR_RETURN(const spec::Attributes key, backend->TransportKey(TransportIdOf(token), true));
  return FingerprintOf(key);
}

Status Custodian::AddMirror(const cmk::TokenId& id, const std::string& hsm, const Digest& fingerprint) {
  ASSIGN_OR_RETURN(const auto before, records_.GetToken(id));
  if (before->epochs.empty()) return Fail(CKR_TOKEN_NOT_RECOGNIZED, "the token has not been initialised");
  if (hsm == before->hsm || FindMirror(*before, hsm) != before->mirrors.end())
    return Fail(CKR_ARGUMENTS_BAD, "HSM " + hsm + " holds the keys of this token already");
  ASSIGN_OR_RETURN(const Digest shown, TransportFingerprint(id, hsm));
  if (shown != fingerprint)
    return Fail(CKR_ARGUMENTS_BAD, "HSM " + hsm + " shows another transport key, " + Hex(shown));
  ASSIGN_OR_RETURN(const Digest first, TransportFingerprint(id, before->hsm));
  {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("token.mirror-add"));
    STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(id));
    ASSIGN_OR_RETURN(const std::size_t resident, CountResident(*txn, id));
    if (resident != 0)
      return Fail(CKR_ACTION_PROHIBITED, std::to_string(resident) + " keys of the token live in HSM " + token.hsm +
                                             " itself and cannot be copied to another one");
    if (FindMirror(token, hsm) != token.mirrors.end()) return {};
    if (token.mirrors.empty()) token.mirrors.push_back({token.hsm, ToBytes(first)});
    token.mirrors.push_back({hsm, ToBytes(fingerprint)});
    RETURN_IF_STORE_ERROR(txn->PutToken(token));
    RETURN_IF_STORE_ERROR(txn->Commit());
    urgent_ = true;
  }
  auto begun = LookAfterMirrors(id, true);
  if (!begun.ok()) LogWarning("the new mirror " + hsm + " is not caught up yet: " + begun.error().why);
  return {};
}

Status Custodian::RemoveMirror(const cmk::TokenId& id, const std::string& hsm, bool lost) {
  ASSIGN_OR_RETURN(const auto seen, LookAtMirrors(id));
  ASSIGN_OR_RETURN(const auto before, records_.GetToken(id));
  if (FindMirror(*before, hsm) == before->mirrors.end())
    return Fail(CKR_ARGUMENTS_BAD, "HSM " + hsm + " is no mirror of this token");
  const bool others = std::any_of(seen.begin(), seen.end(), [&](const MirrorSet::Seen& each) {
    return each.name != hsm && (each.state == MirrorState::kInStep || each.state == MirrorState::kOwing);
  });
  if (!others) return Fail(CKR_ACTION_PROHIBITED, "no other HSM of this token is there and in step");
  const auto backend = backends_.Get(hsm);
  if (!lost && !backend.ok()) return Failure<Error>{backend.error()};
  const auto destroy = [&](bool condemned) -> Status {
    for (const store::WrappingEpoch& epoch : before->epochs) {
      const bool dead = epoch.state == store::EpochState::kCondemned || epoch.state == store::EpochState::kDestroyed;
      if (dead == condemned) RETURN_IF_ERROR((*backend)->DestroyWrappingKey(KeyOf(epoch)));
    }
    return {};
  };
  // Deletions that wait for this device are not forgotten with it.
  if (!lost) RETURN_IF_ERROR(destroy(true));
  {
    STORE_OR_RETURN(const Txn txn, store_.BeginWrite("token.mirror-remove"));
    STORE_OR_RETURN(store::TokenRecord token, txn->GetToken(id));
    std::erase_if(token.mirrors, [&](const store::TokenMirror& mirror) { return mirror.hsm == hsm; });
    if (token.mirrors.empty()) return Fail(CKR_ACTION_PROHIBITED, "it is the token's last HSM");
    token.hsm = token.mirrors.front().hsm;
    // Whoever finds it again has the wrapping keys of today in it.
    if (lost) token.epoch_due = clock_.Now();
    RETURN_IF_STORE_ERROR(txn->PutToken(token));
    RETURN_IF_STORE_ERROR(txn->Commit());
    urgent_ = true;
  }
  if (lost) return {};
  if (const Status gone = destroy(false); !gone.ok())
    LogWarning("wrapping keys are left in HSM " + hsm + " (cmkctl hsm reconcile): " + gone.error().why);
  return {};
}

}  // namespace cmkd::daemon

// What makes devices mirrors of each other: how a wrapping key comes into all of them, and which of them hold what.
#include <algorithm>

#include "daemon/crypto/random.h"
#include "daemon/crypto/rsa_public_key.h"
#include "daemon/hsm/mirror_set.h"
#include "daemon/system/log.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

// What a key does with a block of zeros: the same in two devices only if it is the same key.
Fallible<Bytes> AnswerOf(Backend& backend, const KeyMaterial& key) {
  KeyName name;
  name.id = RandomId();
  Bytes answer(32);
  const Status done = backend.Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
    const auto handle = lease.Load(name, key);
    if (!handle.ok()) return handle.error().rv;
    CK_MECHANISM mechanism{CKM_AES_ECB, nullptr, 0};
    CK_BYTE zeros[16] = {};
    CK_ULONG length = 32;
    answer.assign(length, 0);
    if (const CK_RV rv = device->C_EncryptInit(lease.session(), &mechanism, *handle); rv != CKR_OK) return rv;
    const CK_RV rv = device->C_Encrypt(lease.session(), zeros, sizeof zeros, answer.data(), &length);
    if (rv == CKR_OK) answer.resize(length);
    return rv;
  });
  backend.Forget(name);
  if (!done.ok()) return Failure<Error>{done.error()};
  return answer;
}

}  // namespace

Digest FingerprintOf(const spec::Attributes& transport_key) {
  return Sha256(RsaPublicKeyInfo(transport_key.View(CKA_MODULUS), transport_key.View(CKA_PUBLIC_EXPONENT)));
}

// ---- Wrapping keys: in all of them

Fallible<spec::Attributes> MirrorSet::Recognise(Slot& slot) {
  ASSIGN_OR_RETURN(spec::Attributes key, slot.member.backend->TransportKey(transport_id_, false));
  if (FingerprintOf(key) == slot.member.fingerprint) return key;
  return Fail(CKR_KEY_CHANGED, "its transport key is not the one that was enrolled");
}

std::vector<MirrorSet::Recipient> MirrorSet::Recipients() {
  std::vector<Recipient> recipients;
  for (const auto& slot : slots_) {
    if (!slot->there()) {
      slot->state.store(MirrorState::kAway, std::memory_order_relaxed);
      continue;
    }
    auto key = Recognise(*slot);
    if (key.ok()) {
      recipients.push_back({slot.get(), std::move(*key)});
      continue;
    }
    slot->Note(key.error());
    LogWarning("HSM " + slot->member.name + " gets no wrapping key: " + key.error().why);
    const bool foreign = slot->there() && !IsTrouble(key.error());
    slot->state.store(foreign ? MirrorState::kForeign : MirrorState::kAway, std::memory_order_relaxed);
  }
  return recipients;
}

Status MirrorSet::MakeWrappingKey(const WrappingKey& planned) {
  const std::vector<Recipient> recipients = Recipients();
  Status status = NoneServes();
  for (const Recipient& maker : recipients) {
    // Not every device does OAEP with SHA-256; with SHA-1 it is as good, for no collision helps anybody here.
    for (const CK_MECHANISM_TYPE hash : {CKM_SHA256, CKM_SHA_1}) {
      status = Carry(planned, *maker.slot, recipients, hash);
      if (status.ok()) return status;
    }
  }
  return status;
}

Status MirrorSet::Carry(const WrappingKey& planned, Slot& maker, const std::vector<Recipient>& recipients,
                        CK_MECHANISM_TYPE hash) {
  std::vector<spec::Attributes> transport_keys;
  for (const Recipient& recipient : recipients) transport_keys.push_back(recipient.transport_key);
  ASSIGN_OR_RETURN(const std::vector<Bytes> carried, maker.member.backend->MakeCarried(transport_keys, hash));
  std::vector<Slot*> holders;
  std::optional<Error> refused;
  for (std::size_t i = 0; i < recipients.size(); ++i) {
    Slot& slot = *recipients[i].slot;
    Status received = slot.member.backend->ReceiveCarried(planned, transport_id_, carried[i], hash);
    if (received.ok()) {
      holders.push_back(&slot);
      continue;
    }
    slot.Note(received.error());
    if (!refused) refused = std::move(received.error());
  }
  Status status =
      refused && hash == CKM_SHA256 ? Status(Failure<Error>{std::move(*refused)}) : Compare(planned, holders);
  if (!status.ok()) {
    for (Slot* slot : holders) (void)slot->member.backend->DestroyWrappingKey(planned);
    return status;
  }
  for (const auto& slot : slots_) {
    if (std::find(holders.begin(), holders.end(), slot.get()) == holders.end() &&
        RowOf(slot->state.load(std::memory_order_relaxed)).receives)
      slot->state.store(MirrorState::kLagging, std::memory_order_relaxed);
  }
  return {};
}

Status MirrorSet::Compare(const WrappingKey& planned, std::vector<Slot*>& holders) {
  if (holders.empty()) return Fail(CKR_DEVICE_ERROR, "no HSM takes the wrapping key", spec::kHsmRefused);
  Backend& first = *holders.front()->member.backend;
  const CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  ASSIGN_OR_RETURN(const Made probe, first.GenerateKey(mechanism, CKK_AES, 32, planned));
  KeyMaterial key;
  key.material = probe.material;
  ASSIGN_OR_RETURN(const Bytes answer, AnswerOf(first, key));
  std::vector<Slot*> same;
  for (Slot* slot : holders) {
    const auto theirs = AnswerOf(*slot->member.backend, key);
    if (theirs.ok() && *theirs == answer) {
      same.push_back(slot);
      continue;
    }
    const Error error =
        theirs.ok() ? Error{CKR_FUNCTION_FAILED, "it holds another wrapping key", spec::kHsmRefused} : theirs.error();
    slot->Note(error);
    LogWarning("HSM " + slot->member.name + " does not open what the others wrap: " + error.why);
    (void)slot->member.backend->DestroyWrappingKey(planned);
  }
  holders = std::move(same);
  return {};
}

Status MirrorSet::DestroyWrappingKey(const WrappingKey& key) {
  std::string left;
  for (const auto& slot : slots_) {
    Status gone = Fail(CKR_DEVICE_ERROR, "it is away", spec::kHsmUnavailable);
    if (slot->there()) {
      auto recognised = Recognise(*slot);
      gone = recognised.ok() ? slot->member.backend->DestroyWrappingKey(key) : Failure<Error>{recognised.error()};
    }
    if (!gone.ok()) left += (left.empty() ? "" : ", ") + slot->member.name + " (" + gone.error().why + ")";
  }
  if (left.empty()) return {};
  return Fail(CKR_DEVICE_ERROR, "a wrapping key may be left in HSM " + left, spec::kHsmUnavailable);
}

Fallible<bool> MirrorSet::HasWrappingKey(ByteView reference) {
  for (const auto& slot : slots_) {
    if (slot->member.backend == nullptr) return false;
    ASSIGN_OR_RETURN(const bool has, slot->member.backend->HasWrappingKey(reference));
    if (!has) return false;
  }
  return true;
}

bool MirrorSet::AllHold(ByteView reference) {
  return std::all_of(slots_.begin(), slots_.end(), [&](const auto& slot) {
    if (!slot->there() || slot->state.load(std::memory_order_relaxed) == MirrorState::kForeign) return true;
    const auto has = slot->member.backend->HasWrappingKey(reference);
    return !has.ok() || *has;
  });
}

// ---- Looking

MirrorFacts MirrorSet::FactsOf(Slot& slot, const std::vector<Bytes>& needed, const std::vector<Bytes>& condemned) {
  MirrorFacts facts;
  facts.there = slot.there();
  if (!facts.there) return facts;
  const auto key = Recognise(slot);
  if (!key.ok() && IsTrouble(key.error())) {
    facts.there = slot.there();
    if (!facts.there) return facts;
  }
  facts.known = key.ok();
  if (!key.ok()) {
    slot.Note(key.error());
    return facts;
  }
  const auto count = [&](const std::vector<Bytes>& references, bool wanted, std::size_t& counted) {
    for (const Bytes& reference : references) {
      const auto has = slot.member.backend->HasWrappingKey(reference);
      if (!has.ok()) {
        facts.there = false;
        slot.Note(has.error());
        return;
      }
      if (*has == wanted) ++counted;
    }
  };
  count(needed, false, facts.missing);
  count(condemned, true, facts.condemned);
  return facts;
}

std::vector<MirrorSet::Seen> MirrorSet::Look(const std::vector<Bytes>& needed, const std::vector<Bytes>& condemned,
                                             Timestamp now) {
  std::vector<Seen> all;
  for (const auto& slot : slots_) {
    slot->troubled.store(false, std::memory_order_relaxed);
    Seen seen;
    seen.name = slot->member.name;
    seen.facts = FactsOf(*slot, needed, condemned);
    seen.state = MirrorStateOf(seen.facts);
    slot->state.store(seen.state, std::memory_order_relaxed);
    const bool away = seen.state == MirrorState::kAway;
    const std::lock_guard lock(slot->mutex);
    if (!away) slot->away_since.reset();
    if (away && !slot->away_since) slot->away_since = now;
    if (seen.state == MirrorState::kInStep) slot->trouble.clear();
    seen.away_since = slot->away_since;
    seen.trouble = slot->member.backend == nullptr ? "the configuration has no HSM of this name" : slot->trouble;
    all.push_back(std::move(seen));
  }
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Backend* backend = slots_[i]->member.backend;
    if (backend == nullptr || backend->FindMechanism(CKM_AES_KEY_GEN) == nullptr) continue;
    for (const spec::MechanismRow& row : spec::Mechanisms()) {
      const bool others = std::any_of(slots_.begin(), slots_.end(), [&](const auto& slot) {
        return slot->member.backend != nullptr && slot->member.backend->FindMechanism(row.type) != nullptr;
      });
      if (others && backend->FindMechanism(row.type) == nullptr) all[i].lacks.emplace_back(row.name);
    }
  }
  return all;
}

bool MirrorSet::WantsLook() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const auto& slot) {
    const MirrorState state = slot->state.load(std::memory_order_relaxed);
    return slot->troubled.load(std::memory_order_relaxed) || state == MirrorState::kUnseen ||
           slot->there() == (state == MirrorState::kAway);
  });
}

}  // namespace cmkd::daemon

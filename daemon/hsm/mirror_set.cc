// The devices one after the other, and how a wrapping key comes into all of them.
#include "daemon/hsm/mirror_set.h"

#include <algorithm>
#include <utility>

#include "daemon/crypto/random.h"
#include "daemon/crypto/rsa_public_key.h"
#include "daemon/hsm/device_link.h"
#include "daemon/hsm/loss.h"
#include "daemon/system/log.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

// Trouble of the device rather than an answer about the call: another device may do better.
bool IsTrouble(const Error& error) {
  return error.detail == spec::kHsmUnavailable || error.detail == spec::kHsmRefused ||
         ClassifyLoss(error.rv) != Loss::kNone || error.rv == CKR_DEVICE_MEMORY || error.rv == CKR_GENERAL_ERROR;
}

Failure<Error> NoneServes() {
  return Fail(CKR_DEVICE_ERROR, "none of the token's HSMs is there and in step", spec::kHsmUnavailable);
}

const cmk::Material& MaterialOf(const Made& made) { return made.material; }
const cmk::Material& MaterialOf(const MadePair& made) { return made.material; }
const cmk::Material& MaterialOf(const cmk::Material& made) { return made; }

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

MirrorSet::MirrorSet(std::vector<MirrorMember> members, Bytes transport_id) : transport_id_(std::move(transport_id)) {
  for (MirrorMember& member : members) {
    name_ += (name_.empty() ? "" : "+") + member.name;
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->member = std::move(member);
  }
}

void MirrorSet::Slot::Note(const Error& error) {
  troubled.store(true, std::memory_order_relaxed);
  const std::lock_guard lock(mutex);
  trouble = error.why;
}

// ---- One after the other

std::vector<MirrorSet::Slot*> MirrorSet::InOrder() const {
  std::vector<Slot*> there, away;
  std::vector<Slot*> back;  // as long as nobody has looked: they open what they can open
  for (const auto& slot : slots_) {
    const MirrorState state = slot->state.load(std::memory_order_relaxed);
    if (slot->member.backend == nullptr) continue;
    if (RowOf(state).serves) {
      (slot->there() ? there : away).push_back(slot.get());
    } else if (state == MirrorState::kAway) {
      (slot->there() ? back : away).push_back(slot.get());
    }
  }
  there.insert(there.end(), back.begin(), back.end());
  there.insert(there.end(), away.begin(), away.end());
  return there;
}

template <class Do>
auto MirrorSet::Each(Do work) -> decltype(work(std::declval<Backend&>())) {
  std::optional<Error> first;
  bool hasty = false;
  // As long as another one is there, nobody waits for one that was lost. When all were lost, somebody must.
  for (bool patient = false; !patient || std::exchange(hasty, false); patient = true) {
    const std::vector<Slot*> order = InOrder();
    for (std::size_t i = 0; i < order.size(); ++i) {
      const bool another = std::any_of(order.begin() + static_cast<std::ptrdiff_t>(i) + 1, order.end(),
                                       [](const Slot* slot) { return slot->there(); });
      const Impatience impatience(!patient && another);
      hasty = hasty || Impatience::Now();
      auto done = work(*order[i]->member.backend);
      if (done.ok() || !IsTrouble(done.error())) return done;
      order[i]->Note(done.error());
      if (!first) first = std::move(done.error());
    }
  }
  if (!first) return NoneServes();
  return Failure<Error>{std::move(*first)};
}

Fallible<std::unique_ptr<Backend::Lease>> MirrorSet::Acquire() {
  return Each([](Backend& backend) { return backend.Acquire(); });
}
Status MirrorSet::Run(const Work& work) {
  return Each([&](Backend& backend) { return backend.Run(work); });
}
Fallible<std::unique_ptr<Backend::Lease>> MirrorSet::Begin(const Work& work) {
  return Each([&](Backend& backend) { return backend.Begin(work); });
}
Status MirrorSet::FillRandom(MutableBytes out) {
  return Each([&](Backend& backend) { return backend.FillRandom(out); });
}
Fallible<Bytes> MirrorSet::WrapKey(const CK_MECHANISM& mechanism, const KeyName& wrapping_name,
                                   const KeyMaterial& wrapping, const KeyName& name, const KeyMaterial& key) {
  return Each([&](Backend& backend) { return backend.WrapKey(mechanism, wrapping_name, wrapping, name, key); });
}
Fallible<Bytes> MirrorSet::WrapKeyAuthenticated(const CK_MECHANISM& mechanism, const KeyName& wrapping_name,
                                                const KeyMaterial& wrapping, const KeyName& name,
                                                const KeyMaterial& key, ByteView associated_data) {
  return Each([&](Backend& backend) {
    return backend.WrapKeyAuthenticated(mechanism, wrapping_name, wrapping, name, key, associated_data);
  });
}
Fallible<spec::Attributes> MirrorSet::ReadSecret(const KeyName& name, const KeyMaterial& key,
                                                 std::span<const CK_ATTRIBUTE_TYPE> types) {
  return Each([&](Backend& backend) { return backend.ReadSecret(name, key, types); });
}
Fallible<std::vector<DeviceObject>> MirrorSet::ListObjects() {
  return Each([](Backend& backend) { return backend.ListObjects(); });
}
Fallible<spec::Attributes> MirrorSet::ReadObject(const DeviceObject& object, std::span<const CK_ATTRIBUTE_TYPE> types) {
  return Each([&](Backend& backend) { return backend.ReadObject(object, types); });
}
Status MirrorSet::DestroyObject(const DeviceObject& object) {
  return Each([&](Backend& backend) { return backend.DestroyObject(object); });
}
Fallible<spec::Attributes> MirrorSet::TransportKey(ByteView id, bool make) {
  return Each([&](Backend& backend) { return backend.TransportKey(id, make); });
}
Fallible<std::vector<Bytes>> MirrorSet::MakeCarried(std::span<const spec::Attributes> recipients,
                                                    CK_MECHANISM_TYPE hash) {
  return Each([&](Backend& backend) { return backend.MakeCarried(recipients, hash); });
}
Status MirrorSet::ReceiveCarried(const WrappingKey& planned, ByteView transport_id, ByteView carried,
                                 CK_MECHANISM_TYPE hash) {
  return Each([&](Backend& backend) { return backend.ReceiveCarried(planned, transport_id, carried, hash); });
}
Status MirrorSet::Opens(const KeyMaterial& key) {
  return Each([&](Backend& backend) { return backend.Opens(key); });
}

bool MirrorSet::software() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const auto& slot) {
    return slot->member.backend != nullptr && slot->member.backend->software();
  });
}

bool MirrorSet::available() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const auto& slot) {
    const MirrorState state = slot->state.load(std::memory_order_relaxed);
    return slot->there() && (RowOf(state).serves || state == MirrorState::kAway);
  });
}

const CK_MECHANISM_INFO* MirrorSet::FindMechanism(CK_MECHANISM_TYPE type) const {
  const CK_MECHANISM_INFO* found = nullptr;
  for (const auto& slot : slots_) {
    // A device that has never been there says nothing, not even that it makes AES keys.
    if (slot->member.backend == nullptr || slot->member.backend->FindMechanism(CKM_AES_KEY_GEN) == nullptr) continue;
    const CK_MECHANISM_INFO* info = slot->member.backend->FindMechanism(type);
    if (info == nullptr) return nullptr;
    if (found == nullptr) found = info;
  }
  return found;
}

bool MirrorSet::IsWrongKey(CK_MECHANISM_TYPE mechanism, CK_RV rv) const {
  return std::any_of(slots_.begin(), slots_.end(), [&](const auto& slot) {
    return slot->member.backend != nullptr && slot->member.backend->IsWrongKey(mechanism, rv);
  });
}

void MirrorSet::Forget(const KeyName& name) {
  for (const auto& slot : slots_) {
    if (slot->member.backend != nullptr) slot->member.backend->Forget(name);
  }
}

void MirrorSet::SetOwner(const std::string& words) {
  for (const auto& slot : slots_) {
    if (slot->member.backend != nullptr) slot->member.backend->SetOwner(words);
  }
}

// ---- Making keys: on one, seen by the others

Status MirrorSet::SeenByOthers(Backend& maker, const KeyMaterial& key) {
  for (Slot* slot : InOrder()) {
    Backend& other = *slot->member.backend;
    if (&other == &maker || !slot->there()) continue;
    const Status opens = other.Opens(key);
    // One that has just gone is no reason not to make a key: it needs nothing that it does not have.
    if (opens.ok() || opens.error().detail == spec::kHsmUnavailable || !slot->there()) continue;
    slot->Note(opens.error());
    return Fail(CKR_FUNCTION_FAILED,
                "HSM " + other.name() + " does not open what HSM " + maker.name() + " made: " + opens.error().why,
                spec::kHsmRefused);
  }
  return {};
}

template <class Do>
auto MirrorSet::MakeOnOne(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, const WrappingKey& under, Do make)
    -> decltype(make(std::declval<Backend&>())) {
  return Each([&](Backend& backend) -> decltype(make(backend)) {
    auto made = make(backend);
    // Session objects are short-lived and many: they are not looked at in every device.
    if (!made.ok() || under.session) return made;
    const cmk::Material& material = MaterialOf(*made);
    if (material.kind == cmk::Material::Kind::kResident) {
      RETURN_IF_ERROR(backend.DestroyMaterial(material));
      return Fail(CKR_FUNCTION_FAILED,
                  "HSM " + backend.name() + " keeps such a key to itself, so it cannot be on a mirrored token",
                  spec::kHsmRefused);
    }
    KeyMaterial key;
    key.object_class = object_class;
    key.key_type = type;
    key.material = material;
    RETURN_IF_ERROR(SeenByOthers(backend, key));
    return made;
  });
}

Fallible<Made> MirrorSet::GenerateKey(const CK_MECHANISM& mechanism, CK_KEY_TYPE type, CK_ULONG value_bytes,
                                      const WrappingKey& under) {
  return MakeOnOne(CKO_SECRET_KEY, type, under,
                   [&](Backend& backend) { return backend.GenerateKey(mechanism, type, value_bytes, under); });
}
Fallible<MadePair> MirrorSet::GenerateKeyPair(const CK_MECHANISM& mechanism, CK_KEY_TYPE type,
                                              const spec::Attributes& parameters, const WrappingKey& under) {
  return MakeOnOne(CKO_PRIVATE_KEY, type, under,
                   [&](Backend& backend) { return backend.GenerateKeyPair(mechanism, type, parameters, under); });
}
Fallible<Made> MirrorSet::Import(const spec::Attributes& key, const WrappingKey& under) {
  return MakeOnOne(key.Ulong(CKA_CLASS).value_or(CKO_SECRET_KEY), key.Ulong(CKA_KEY_TYPE).value_or(CKK_AES), under,
                   [&](Backend& backend) { return backend.Import(key, under); });
}
Fallible<cmk::Material> MirrorSet::Rewrap(const KeyName& name, const KeyMaterial& key, const WrappingKey& under) {
  return MakeOnOne(key.object_class, key.key_type, under,
                   [&](Backend& backend) { return backend.Rewrap(name, key, under); });
}
Fallible<Made> MirrorSet::UnwrapKey(const CK_MECHANISM& mechanism, const KeyName& name, const KeyMaterial& with,
                                    ByteView wrapped, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type,
                                    CK_ULONG value_bytes, const WrappingKey& under) {
  return MakeOnOne(object_class, type, under, [&](Backend& backend) {
    return backend.UnwrapKey(mechanism, name, with, wrapped, object_class, type, value_bytes, under);
  });
}
Fallible<Made> MirrorSet::DeriveKey(const CK_MECHANISM& mechanism, const KeyName& name, const KeyMaterial& base,
                                    std::span<const OtherKey> others, CK_KEY_TYPE type, CK_ULONG value_bytes,
                                    const WrappingKey& under) {
  return MakeOnOne(CKO_SECRET_KEY, type, under, [&](Backend& backend) {
    return backend.DeriveKey(mechanism, name, base, others, type, value_bytes, under);
  });
}
Fallible<Made> MirrorSet::UnwrapKeyAuthenticated(const CK_MECHANISM& mechanism, const KeyName& name,
                                                 const KeyMaterial& with, ByteView wrapped, ByteView associated_data,
                                                 CK_OBJECT_CLASS object_class, CK_KEY_TYPE type,
                                                 const WrappingKey& under) {
  return MakeOnOne(object_class, type, under, [&](Backend& backend) {
    return backend.UnwrapKeyAuthenticated(mechanism, name, with, wrapped, associated_data, object_class, type, under);
  });
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

Status MirrorSet::DestroyMaterial(const cmk::Material& material) {
  if (material.kind != cmk::Material::Kind::kResident) return {};
  Status status;
  for (const auto& slot : slots_) {
    Status gone =
        slot->member.backend == nullptr ? Status(NoneServes()) : slot->member.backend->DestroyMaterial(material);
    if (!gone.ok()) status = std::move(gone);
  }
  return status;
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

// ---- Notes

Fallible<std::vector<Bytes>> MirrorSet::ReadNotes(std::string_view name) {
  std::vector<Bytes> all;
  std::optional<Error> error;
  bool read = false;
  for (const auto& slot : slots_) {
    if (!slot->there()) continue;
    auto notes = slot->member.backend->ReadNotes(name);
    if (notes.ok()) {
      all.insert(all.end(), notes->begin(), notes->end());
    } else if (!error) {
      error = std::move(notes.error());
    }
    read = read || notes.ok();
  }
  if (read) return all;
  if (!error) return NoneServes();
  return Failure<Error>{std::move(*error)};
}

Status MirrorSet::ReplaceNote(std::string_view name, ByteView value) {
  Status status = NoneServes();
  bool replaced = false;
  for (const auto& slot : slots_) {
    if (!slot->there()) continue;
    Status done = slot->member.backend->ReplaceNote(name, value);
    replaced = replaced || done.ok();
    if (!done.ok()) status = std::move(done);
  }
  return replaced ? Status{} : status;
}

}  // namespace cmkd::daemon

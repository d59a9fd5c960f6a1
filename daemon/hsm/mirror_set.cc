// The devices one after the other, as one Backend. mirror_domain.cc has how they come to hold the same wrapping keys.
#include "daemon/hsm/mirror_set.h"

#include <algorithm>
#include <utility>

#include "daemon/hsm/device_link.h"
#include "daemon/hsm/loss.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

const cmk::Material& MaterialOf(const Made& made) { return made.material; }
const cmk::Material& MaterialOf(const MadePair& made) { return made.material; }
const cmk::Material& MaterialOf(const cmk::Material& made) { return made; }

}  // namespace

bool MirrorSet::IsTrouble(const Error& error) {
  return error.detail == spec::kHsmUnavailable || error.detail == spec::kHsmRefused ||
         ClassifyLoss(error.rv) != Loss::kNone || error.rv == CKR_DEVICE_MEMORY || error.rv == CKR_GENERAL_ERROR;
}

Failure<Error> MirrorSet::NoneServes() {
  return Fail(CKR_DEVICE_ERROR, "none of the token's HSMs is there and in step", spec::kHsmUnavailable);
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

// ---- In all of them

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

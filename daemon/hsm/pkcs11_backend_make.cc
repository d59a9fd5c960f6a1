// Keys out of the device: made there, wrapped there, and gone from it before the call returns; or kept there as
// residents.
//
// Everything here may be done twice (Attempt), so each job begins anew and leaves nothing behind: objects of the
// session go with their TemporaryObject, and token objects are known by an id that was chosen before.
#include <algorithm>
#include <utility>

#include "daemon/crypto/random.h"
#include "daemon/hsm/loss.h"
#include "daemon/hsm/pkcs11_backend.h"
#include "daemon/hsm/public_key_info.h"
#include "daemon/system/log.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

bool IsEmpty(const ShortBytes* value) { return value == nullptr || value->empty(); }

// Codes with which a device refuses to make a key that may leave it.
bool RefusesExtractable(CK_RV rv) {
  return rv == CKR_TEMPLATE_INCONSISTENT || rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_ATTRIBUTE_READ_ONLY ||
         rv == CKR_ACTION_PROHIBITED;
}

// Whether a refusal at this stage may be about leaving the device, and not about the key.
bool MayBeAboutWrapping(const Error& error, bool wrapping) {
  if (ClassifyLoss(error.rv) != Loss::kNone || error.rv == CKR_DEVICE_MEMORY || error.rv == CKR_HOST_MEMORY)
    return false;
  return wrapping || RefusesExtractable(error.rv);
}

// A device that wraps keys of this kind refuses or loses some lengths: then this one key is a resident.
constexpr CK_RV kLengthIsLost = CKR_KEY_SIZE_RANGE;

// A key of the same kind, planned with nothing else said.
ObjectPlan KindOf(const ObjectPlan& plan) {
  ObjectPlan kind;
  kind.object_class = plan.object_class;
  kind.key_type = plan.key_type;
  return kind;
}

// The length of a secret key as the device has it; 0 when it does not say.
CK_ULONG LengthOf(CK_FUNCTION_LIST_PTR device, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  CK_ULONG bytes = 0;
  CK_ATTRIBUTE wanted{CKA_VALUE_LEN, &bytes, sizeof bytes};
  return device->C_GetAttributeValue(session, key, &wanted, 1) == CKR_OK ? bytes : 0;
}

// PKCS#11 says DER of an OCTET STRING; some devices give the point itself.
void NormalizePoint(spec::Attributes& attributes) {
  const ShortBytes* point = attributes.Find(CKA_EC_POINT);
  const spec::Curve* curve = spec::FindCurve(attributes.View(CKA_EC_PARAMS));
  if (point == nullptr || curve == nullptr || point->size() != curve->point_bytes) return;
  Bytes der{0x04};
  if (point->size() > 127) der.push_back(0x81);
  der.push_back(static_cast<std::uint8_t>(point->size()));
  der.insert(der.end(), point->begin(), point->end());
  attributes.Set(CKA_EC_POINT, der);
}

// Not every device computes CKA_PUBLIC_KEY_INFO, and what everybody may know of a private key is there only.
void AddPublicKeyInfo(CK_KEY_TYPE type, MadePair& made) {
  if (IsEmpty(made.public_computed.Find(CKA_PUBLIC_KEY_INFO)))
    made.public_computed.Set(CKA_PUBLIC_KEY_INFO, PublicKeyInfo(type, made.public_computed));
  if (IsEmpty(made.private_computed.Find(CKA_PUBLIC_KEY_INFO)))
    made.private_computed.Set(CKA_PUBLIC_KEY_INFO, made.public_computed.View(CKA_PUBLIC_KEY_INFO));
}

bool IsAesLength(CK_ULONG bytes) { return bytes == 16 || bytes == 24 || bytes == 32; }

}  // namespace

Fallible<Made> Pkcs11Backend::MakeKey(ObjectPlan plan, const WrappingKey& under, const Maker& make) {
  plan.key_type = DeviceKeyType(plan.key_type);
  std::atomic<Keeping>& keeping = keeping_[KindIndex(plan.object_class, plan.key_type)];
  const Keeping known = keeping.load(std::memory_order_relaxed);
  Made made;
  Status status;
  bool lost = false;  // the device wraps such keys, but not of this length
  if (known != Keeping::kResident) {
    bool wrapping = false;
    status = Attempt([&](Session& session) {
      made = {};
      wrapping = false;
      return MakeWrapped(session, plan, under, make, made, wrapping);
    });
    if (status.ok()) return made;
    const bool length_is_lost = wrapping && status.error().rv == kLengthIsLost;
    if (!length_is_lost && (known == Keeping::kWraps || !MayBeAboutWrapping(status.error(), wrapping)))
      return Failure<Error>{status.error()};
    lost = length_is_lost;
  }
  made = {};
  const std::string label = ResidentLabel(under);
  const Status kept = KeepResident(
      plan.object_class,
      [&](Session& session, ByteView id) {
        ObjectPlan resident = plan;
        resident.stays_as = nullptr;
        resident.resident_id = id;
        resident.resident_label = AsBytes(label);
        // Who can log in to the device could unwrap any key that it wraps so that it may be read; this one is no worse.
        resident.sensitive = !lost;
        resident.extractable = lost;
        return MakeResident(session, resident, make, made);
      },
      made.material);
  if (!kept.ok()) return Failure<Error>{known == Keeping::kResident || lost ? kept.error() : status.error()};
  if (!lost) keeping.store(Keeping::kResident, std::memory_order_relaxed);
  return made;
}

Status Pkcs11Backend::MakeObject(Session& session, const ObjectPlan& plan, const Maker& make, CK_OBJECT_HANDLE* key) {
  const CK_RV rv = tolerance_.Try(plan, [&](ObjectTemplate& attributes) { return make(session, attributes, key); });
  if (rv == CKR_OK) return {};
  if (const Error* error = session.load_error(); error != nullptr && error->rv == rv) return Failure<Error>{*error};
  return DeviceRefused("making a key", rv);
}

Status Pkcs11Backend::MakeWrapped(Session& session, ObjectPlan plan, const WrappingKey& under, const Maker& make,
                                  Made& made, bool& wrapping) {
  plan.sensitive = plan.extractable = true;
  TemporaryObject key(functions(), session.session());
  RETURN_IF_ERROR(MakeObject(session, plan, make, key.out()));
  wrapping = true;
  Status status = WrapUnder(session, plan, key.handle(), under, made.material);
  if (status.ok()) status = CheckWrapped(session, plan, made.material);
  // SoftHSM 2.6.1 fills a secret up with zeros to a multiple of eight bytes and does not note how long it was.
  CK_ULONG bytes = plan.value_bytes;
  if (plan.object_class == CKO_SECRET_KEY && bytes == 0) bytes = LengthOf(functions(), session.session(), key.handle());
  if (status.ok() && bytes % 8 != 0) {
    status = WithUnwrapped(session, made.material.blob, KindOf(plan), [&](CK_OBJECT_HANDLE copy) -> Status {
      if (LengthOf(functions(), session.session(), copy) == bytes) return {};
      return Fail(kLengthIsLost, "the device does not keep the length of a key that it wraps");
    });
  }
  if (status.ok()) {
    wrapping = false;
    status = ReadComputed(session, plan, key.handle(), made.computed);
  }
  if (status.ok()) status = CompleteSecret(session, plan, key.handle(), made.material, made.computed);
  if (status.ok() && plan.stays_as != nullptr) {
    made.loaded_as = plan.stays_as->id;
    return KeepLoaded(*plan.stays_as, {key.Release(), session.generation(), HomeOf(*plan.stays_as), true,
                                       plan.extractable, under.reference});
  }
  // What does not go by itself goes with its session.
  if (key.Destroy() != CKR_OK) session.Break();
  return status;
}

Status Pkcs11Backend::WithUnwrapped(Session& session, ByteView blob, const ObjectPlan& plan,
                                    const std::function<Status(CK_OBJECT_HANDLE)>& look) {
  TemporaryObject copy(functions(), session.session());
  ASSIGN_OR_RETURN(*copy.out(), UnwrapBlob(session.session(), session.generation(), blob, plan));
  Status status = look(copy.handle());
  // What does not go by itself goes with its session.
  if (copy.Destroy() != CKR_OK) session.Break();
  return status;
}

Status Pkcs11Backend::MakeResident(Session& session, const ObjectPlan& plan, const Maker& make, Made& made) {
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  RETURN_IF_ERROR(MakeObject(session, plan, make, &key));
  made.computed = {};
  RETURN_IF_ERROR(ReadComputed(session, plan, key, made.computed));
  return CompleteSecret(session, plan, key, {}, made.computed);
}

Status Pkcs11Backend::KeepResident(CK_OBJECT_CLASS object_class,
                                   const std::function<Status(Session&, ByteView id)>& resident,
                                   cmk::Material& material) {
  const Id16 id = RandomId();
  bool again = false;
  const auto once = [&](Session& session) -> Status {
    if (std::exchange(again, true)) {
      RETURN_IF_ERROR(link_.device().DestroyById(session.session(), object_class, id));
    }
    return resident(session, id);
  };
  const Status status = Attempt([&](Session& session) -> Status {
    Status first = once(session);
    // This code says nothing of the call. SoftHSM 2.6.1 was seen to give it for a good key on a busy machine: it is
    // asked a second time, when what the first may have left is gone.
    return !first.ok() && first.error().rv == CKR_GENERAL_ERROR ? once(session) : first;
  });
  if (!status.ok()) {
    DestroyLater(object_class, id);
    return status;
  }
  material.kind = cmk::Material::Kind::kResident;
  material.epoch = 0;
  material.blob.assign(id.begin(), id.end());
  return {};
}

Fallible<WrapFormat> Pkcs11Backend::FormatFor(const ObjectPlan& plan) const {
  for (const WrapFormat format : {WrapFormat::kKwp, WrapFormat::kKwpOld}) {
    const CK_MECHANISM_INFO* info = FindMechanism(MechanismOf(format));
    if (info != nullptr && (info->flags & CKF_WRAP) != 0 && (info->flags & CKF_UNWRAP) != 0) return format;
  }
  if (plan.object_class == CKO_SECRET_KEY && FindMechanism(CKM_AES_KEY_WRAP) != nullptr) return WrapFormat::kKw;
  return Fail(CKR_KEY_NOT_WRAPPABLE, "the device wraps no such key with AES");
}

Status Pkcs11Backend::WrapUnder(Session& session, const ObjectPlan& plan, CK_OBJECT_HANDLE key,
                                const WrappingKey& under, cmk::Material& material) {
  ASSIGN_OR_RETURN(const WrapFormat format, FormatFor(plan));
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE wrapping,
                   wrapping_.Find(session.session(), session.generation(), under.reference));
  const CK_MECHANISM mechanism{MechanismOf(format), nullptr, 0};
  ASSIGN_OR_RETURN(const Bytes wrapped, link_.device().WrapKey(session.session(), mechanism, wrapping, key));
  // AES key wrap makes whole blocks of 8 bytes (RFC 3394, RFC 5649). Anything else would be a key that is lost.
  if (wrapped.size() < 16 || wrapped.size() % 8 != 0)
    return Fail(CKR_DEVICE_ERROR, "C_WrapKey gave what cannot be a wrapped key");
  material.kind = cmk::Material::Kind::kWrapped;
  material.epoch = under.epoch;
  material.blob = EncodeBlob({format, under.reference, wrapped});
  return {};
}

Status Pkcs11Backend::CheckWrapped(Session& session, const ObjectPlan& plan, const cmk::Material& material) {
  std::atomic<Keeping>& keeping = keeping_[KindIndex(plan.object_class, plan.key_type)];
  if (keeping.load(std::memory_order_relaxed) == Keeping::kWraps) return {};
  RETURN_IF_ERROR(WithUnwrapped(session, material.blob, KindOf(plan), [](CK_OBJECT_HANDLE) { return Status(); }));
  keeping.store(Keeping::kWraps, std::memory_order_relaxed);
  return {};
}

Status Pkcs11Backend::ReadComputed(Session& session, const ObjectPlan& plan, CK_OBJECT_HANDLE key,
                                   spec::Attributes& computed) {
  ASSIGN_OR_RETURN(
      const spec::Attributes read,
      link_.device().ReadAttributes(session.session(), key, PublicAttributes(plan.object_class, plan.key_type)));
  for (const spec::Attribute& attribute : read) {
    // SoftHSM says CKA_VALUE_LEN 0 of keys that it unwrapped, and shows what it has not as empty.
    const bool zero = attribute.type == CKA_VALUE_LEN && read.Ulong(CKA_VALUE_LEN).value_or(0) == 0;
    if (!attribute.value.empty() && !zero) computed.Set(attribute.type, attribute.value);
  }
  // A device that does not show what it was given.
  for (const CK_ATTRIBUTE_TYPE type : {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_EC_POINT}) {
    const ShortBytes* given = plan.parts == nullptr ? nullptr : plan.parts->Find(type);
    if (!IsEmpty(given) && !computed.Has(type)) computed.Set(type, *given);
  }
  NormalizePoint(computed);
  return {};
}

Status Pkcs11Backend::CompleteSecret(Session& session, const ObjectPlan& plan, CK_OBJECT_HANDLE key,
                                     const cmk::Material& material, spec::Attributes& computed) {
  if (plan.object_class != CKO_SECRET_KEY) return {};
  if (!computed.Has(CKA_VALUE_LEN)) {
    if (plan.value_bytes != 0) {
      computed.SetUlong(CKA_VALUE_LEN, plan.value_bytes);
    } else if (plan.parts != nullptr && plan.parts->Has(CKA_VALUE)) {
      computed.SetUlong(CKA_VALUE_LEN, plan.parts->View(CKA_VALUE).size());
    } else if (material.kind == cmk::Material::Kind::kWrapped) {
      // Asked of a copy that may be read; only its length leaves the device.
      ObjectPlan open = plan;
      open.parts = nullptr;
      open.value_bytes = 0;
      open.sensitive = false;
      open.extractable = true;
      RETURN_IF_ERROR(WithUnwrapped(session, material.blob, open, [&](CK_OBJECT_HANDLE copy) -> Status {
        CK_ATTRIBUTE value{CKA_VALUE, nullptr, 0};
        const CK_RV rv = functions()->C_GetAttributeValue(session.session(), copy, &value, 1);
        if (rv != CKR_OK) return DeviceRefused("C_GetAttributeValue", rv);
        computed.SetUlong(CKA_VALUE_LEN, value.ulValueLen);
        return {};
      }));
    }
  }
  const auto bytes = computed.Ulong(CKA_VALUE_LEN);
  const std::size_t fixed = spec::FixedSecretBytes(plan.key_type);
  if (bytes && ((plan.key_type == CKK_AES && !IsAesLength(*bytes)) || (fixed != 0 && *bytes != fixed))) {
    return Fail(CKR_WRAPPED_KEY_LEN_RANGE, "no key of this type has " + std::to_string(*bytes) + " bytes");
  }
  if (!IsEmpty(computed.Find(CKA_CHECK_VALUE)) || plan.key_type != CKK_AES || FindMechanism(CKM_AES_ECB) == nullptr)
    return {};
  // 3.2, "CKA_CHECK_VALUE": the first three bytes of a block of zeros, encrypted. A device that refuses leaves it out.
  CK_MECHANISM mechanism{CKM_AES_ECB, nullptr, 0};
  CK_BYTE block[16] = {};
  CK_BYTE encrypted[32];
  CK_ULONG length = sizeof encrypted;
  if (functions()->C_EncryptInit(session.session(), &mechanism, key) != CKR_OK) return {};
  if (functions()->C_Encrypt(session.session(), block, sizeof block, encrypted, &length) != CKR_OK) {
    session.Break();
    return {};
  }
  computed.Set(CKA_CHECK_VALUE, {encrypted, 3});
  return {};
}

void Pkcs11Backend::DestroyLater(CK_OBJECT_CLASS object_class, ByteView id) {
  const std::lock_guard lock(leftovers_mutex_);
  leftovers_.push_back({object_class, ToBytes(id)});
  has_leftovers_.store(true, std::memory_order_relaxed);
}

void Pkcs11Backend::DestroyLeftovers(Session& session) {
  std::vector<Leftover> mine;
  {
    const std::lock_guard lock(leftovers_mutex_);
    mine.swap(leftovers_);
    has_leftovers_.store(false, std::memory_order_relaxed);
  }
  for (const Leftover& leftover : mine) {
    const Status gone = link_.device().DestroyById(session.session(), leftover.object_class, leftover.id);
    if (!gone.ok()) DestroyLater(leftover.object_class, leftover.id);
  }
}

// ---- Pairs

Fallible<MadePair> Pkcs11Backend::GenerateKeyPair(const CK_MECHANISM& mechanism, CK_KEY_TYPE type,
                                                  const spec::Attributes& parameters, const WrappingKey& under) {
  ObjectPlan public_plan;
  public_plan.object_class = CKO_PUBLIC_KEY;
  public_plan.key_type = type;
  public_plan.parts = &parameters;
  ObjectPlan private_plan;
  private_plan.object_class = CKO_PRIVATE_KEY;
  private_plan.key_type = type;
  std::atomic<Keeping>& keeping = keeping_[KindIndex(CKO_PRIVATE_KEY, type)];
  const Keeping known = keeping.load(std::memory_order_relaxed);
  MadePair made;
  Status status;
  if (known != Keeping::kResident) {
    private_plan.extractable = true;
    bool wrapping = false;
    status = Attempt([&](Session& session) {
      made = {};
      wrapping = false;
      return MakePair(session, mechanism, public_plan, private_plan, under, made, wrapping);
    });
    if (status.ok()) return made;
    if (known == Keeping::kWraps || !MayBeAboutWrapping(status.error(), wrapping))
      return Failure<Error>{status.error()};
    private_plan.extractable = false;
  }
  made = {};
  const std::string label = ResidentLabel(under);
  const Status kept = KeepResident(
      CKO_PRIVATE_KEY,
      [&](Session& session, ByteView id) {
        ObjectPlan resident = private_plan;
        resident.resident_id = id;
        resident.resident_label = AsBytes(label);
        bool wrapping = false;
        return MakePair(session, mechanism, public_plan, resident, under, made, wrapping);
      },
      made.material);
  if (!kept.ok()) return Failure<Error>{known == Keeping::kResident ? kept.error() : status.error()};
  keeping.store(Keeping::kResident, std::memory_order_relaxed);
  return made;
}

Status Pkcs11Backend::MakePair(Session& session, const CK_MECHANISM& mechanism, ObjectPlan public_plan,
                               ObjectPlan private_plan, const WrappingKey& under, MadePair& made, bool& wrapping) {
  const bool resident = !private_plan.resident_id.empty();
  TemporaryObject public_key(functions(), session.session());
  TemporaryObject wrapped_key(functions(), session.session());
  CK_OBJECT_HANDLE resident_key = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE* private_out = resident ? &resident_key : wrapped_key.out();
  const CK_RV rv = tolerance_.Try(private_plan, [&](ObjectTemplate& private_attributes) {
    return tolerance_.Try(public_plan, [&](ObjectTemplate& public_attributes) {
      return functions()->C_GenerateKeyPair(session.session(), Mutable(mechanism), public_attributes.data(),
                                            public_attributes.size(), private_attributes.data(),
                                            private_attributes.size(), public_key.out(), private_out);
    });
  });
  if (rv != CKR_OK) return DeviceRefused("C_GenerateKeyPair", rv);
  Status status;
  if (!resident) {
    wrapping = true;
    status = WrapUnder(session, private_plan, *private_out, under, made.material);
    if (status.ok()) status = CheckWrapped(session, private_plan, made.material);
    wrapping = !status.ok();
  }
  if (status.ok()) status = ReadComputed(session, public_plan, public_key.handle(), made.public_computed);
  if (status.ok()) status = ReadComputed(session, private_plan, *private_out, made.private_computed);
  AddPublicKeyInfo(public_plan.key_type, made);
  if (public_key.Destroy() != CKR_OK || wrapped_key.Destroy() != CKR_OK) session.Break();
  return status;
}

}  // namespace cmkd::daemon

// Keys into the device: from a blob, from the attributes of a public key, or found where they reside.
#include "daemon/hsm/loss.h"
#include "daemon/hsm/pkcs11_backend.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

Fallible<CachedKey> Pkcs11Backend::LoadKey(const KeyName& name, const KeyMaterial& key, std::uint64_t generation) {
  Fallible<CachedKey> loaded = LoadInHome(name, key, generation);
  if (!loaded.ok() && loaded.error().rv == CKR_DEVICE_MEMORY) {
    cache_.EvictUnpinned();
    loaded = LoadInHome(name, key, generation);
  }
  if (loaded.ok() || ClassifyLoss(loaded.error().rv) != Loss::kNone) return loaded;
  // What the device says of our own wrapping is not for the caller: CKR_WRAPPED_KEY_INVALID from C_Decrypt would send
  // him looking for another version of the key.
  return Fail(CKR_FUNCTION_FAILED, "a key could not be loaded: " + loaded.error().why, spec::kHsmRefused);
}

Fallible<CachedKey> Pkcs11Backend::LoadInHome(const KeyName& name, const KeyMaterial& key, std::uint64_t generation) {
  CachedKey cached;
  cached.generation = generation;
  cached.home = HomeOf(name);
  cached.extractable = key.extractable;
  cached.owned = true;
  const bool is_public = key.object_class == CKO_PUBLIC_KEY;
  if (!is_public && key.material.kind == cmk::Material::Kind::kNone)
    return Fail(CKR_FUNCTION_FAILED, "the key has no material");
  if (const auto blob = DecodeBlob(key.material.blob); blob && key.material.kind == cmk::Material::Kind::kWrapped) {
    cached.wrapping_reference = ToBytes(blob->reference);
  }
  ASSIGN_OR_RETURN(cached.handle, link_.InHome(cached.home, generation, [&](CK_SESSION_HANDLE session) {
    if (is_public) return CreatePublic(session, key);
    if (key.material.kind == cmk::Material::Kind::kResident) {
      cached.owned = false;
      return link_.device().FindOne(session, DeviceClass(key.object_class), key.material.blob);
    }
    ObjectPlan plan;
    plan.object_class = DeviceClass(key.object_class);
    plan.key_type = key.key_type;
    plan.extractable = key.extractable;
    return UnwrapBlob(session, generation, key.material.blob, plan);
  }));
  return cached;
}

Fallible<CK_OBJECT_HANDLE> Pkcs11Backend::CreatePublic(CK_SESSION_HANDLE session, const KeyMaterial& key) {
  if (key.public_key == nullptr) return Fail(CKR_FUNCTION_FAILED, "the public key has no attributes");
  ObjectPlan plan;
  plan.object_class = CKO_PUBLIC_KEY;
  plan.key_type = key.key_type;
  plan.parts = key.public_key;
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  const CK_RV rv = tolerance_.Try(plan, [&](ObjectTemplate& attributes) {
    return functions()->C_CreateObject(session, attributes.data(), attributes.size(), &handle);
  });
  if (rv != CKR_OK) return DeviceRefused("C_CreateObject", rv);
  return handle;
}

// Both names stand for RFC 5649 in the devices that have one of them only, and what a mirror wrapped may have the
// other. A device that means something else by it fails the integrity check.
CK_MECHANISM_TYPE Pkcs11Backend::UnwrapperOf(WrapFormat format) const {
  const CK_MECHANISM_TYPE named = MechanismOf(format);
  if (format == WrapFormat::kKw || FindMechanism(named) != nullptr) return named;
  return MechanismOf(format == WrapFormat::kKwp ? WrapFormat::kKwpOld : WrapFormat::kKwp);
}

Fallible<CK_OBJECT_HANDLE> Pkcs11Backend::UnwrapBlob(CK_SESSION_HANDLE session, std::uint64_t generation,
                                                     ByteView bytes, ObjectPlan plan) {
  const auto blob = DecodeBlob(bytes);
  if (!blob) return Fail(CKR_FUNCTION_FAILED, "the key's material is no blob of this daemon");
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE wrapping, wrapping_.Find(session, generation, blob->reference));
  plan.key_type = DeviceKeyType(plan.key_type);
  CK_MECHANISM mechanism{UnwrapperOf(blob->format), nullptr, 0};
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  const CK_RV rv = tolerance_.Try(plan, [&](ObjectTemplate& attributes) {
    return functions()->C_UnwrapKey(session, &mechanism, wrapping, const_cast<CK_BYTE_PTR>(blob->wrapped.data()),
                                    blob->wrapped.size(), attributes.data(), attributes.size(), &handle);
  });
  if (rv != CKR_OK) return DeviceRefused("C_UnwrapKey", rv);
  return handle;
}

CK_RV Pkcs11Backend::MakeInHome(const Session& session, const KeyName& name,
                                const std::function<CK_RV(CK_SESSION_HANDLE)>& make) {
  const Fallible<CK_RV> rv = link_.InHome(HomeOf(name), session.generation(),
                                          [&](CK_SESSION_HANDLE home) -> Fallible<CK_RV> { return make(home); });
  return rv.ok() ? *rv : rv.error().rv;
}

Status Pkcs11Backend::KeepLoaded(const KeyName& name, CachedKey key) {
  const auto kept = cache_.FindOrLoad(name, key.generation, key.extractable, [&] { return std::move(key); });
  if (!kept.ok()) return Failure<Error>{kept.error()};
  return {};
}

void Pkcs11Backend::DestroyCached(const CachedKey& key) {
  // Of another generation, it went with its session.
  (void)link_.InHome(key.home, key.generation, [&](CK_SESSION_HANDLE session) -> Status {
    (void)functions()->C_DestroyObject(session, key.handle);
    return {};
  });
}

}  // namespace cmkd::daemon

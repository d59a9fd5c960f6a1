// The calls that make a key in the device, and those by which one leaves it. How what they make is kept is in
// pkcs11_backend_make.cc.
#include <algorithm>

#include "daemon/crypto/random.h"
#include "daemon/hsm/pkcs11_backend.h"

namespace cmkd::daemon {

namespace {

// Mechanisms whose output does not say how long the key in it is; only these want CKA_VALUE_LEN (3.2, "C_UnwrapKey").
bool NeedsLength(CK_MECHANISM_TYPE mechanism) {
  return mechanism == CKM_RSA_X_509 || mechanism == CKM_AES_ECB || mechanism == CKM_AES_CBC ||
         mechanism == CKM_AES_KEY_WRAP;
}

}  // namespace

Fallible<Made> Pkcs11Backend::GenerateKey(const CK_MECHANISM& mechanism, CK_KEY_TYPE type, CK_ULONG value_bytes,
                                          const WrappingKey& under) {
  ObjectPlan plan;
  plan.key_type = type;
  plan.value_bytes = value_bytes;
  KeyName name;
  if (under.stays_loaded) {
    name.id = RandomId();
    plan.stays_as = &name;
  }
  return MakeKey(plan, under, [&](Session& session, ObjectTemplate& attributes, CK_OBJECT_HANDLE* key) {
    const auto make = [&](CK_SESSION_HANDLE where) {
      return functions()->C_GenerateKey(where, Mutable(mechanism), attributes.data(), attributes.size(), key);
    };
    return under.stays_loaded ? MakeInHome(session, name, make) : make(session.session());
  });
}

Fallible<Made> Pkcs11Backend::Import(const spec::Attributes& key, const WrappingKey& under) {
  const auto object_class = key.Ulong(CKA_CLASS);
  const auto type = key.Ulong(CKA_KEY_TYPE);
  if (!object_class || !type) return Fail(CKR_TEMPLATE_INCOMPLETE, "a key to import has a class and a key type");
  ObjectPlan plan;
  plan.object_class = DeviceClass(*object_class);
  plan.key_type = *type;
  plan.parts = &key;
  return MakeKey(plan, under, [&](Session& session, ObjectTemplate& attributes, CK_OBJECT_HANDLE* made) {
    return functions()->C_CreateObject(session.session(), attributes.data(), attributes.size(), made);
  });
}

Fallible<cmk::Material> Pkcs11Backend::Rewrap(const KeyName& name, const KeyMaterial& key, const WrappingKey& under) {
  (void)name;  // the copy in the cache cannot be wrapped; a fresh one is made
  cmk::Material material;
  if (key.material.kind == cmk::Material::Kind::kResident) {
    const std::string label = ResidentLabel(under);
    RETURN_IF_ERROR(KeepResident(
        DeviceClass(key.object_class),
        [&](Session& session, ByteView id) -> Status {
          ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE from,
                           link_.device().FindOne(session.session(), DeviceClass(key.object_class), key.material.blob));
          ObjectTemplate changed;
          changed.AddBytes(CKA_ID, id);
          changed.AddBytes(CKA_LABEL, AsBytes(label));
          CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
          const CK_RV rv = functions()->C_CopyObject(session.session(), from, changed.data(), changed.size(), &copy);
          if (rv != CKR_OK) return DeviceRefused("C_CopyObject", rv);
          return {};
        },
        material));
    return material;
  }
  ObjectPlan plan;
  plan.object_class = DeviceClass(key.object_class);
  plan.key_type = DeviceKeyType(key.key_type);
  plan.extractable = true;
  RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
    RETURN_IF_ERROR(WithUnwrapped(session, key.material.blob, plan, [&](CK_OBJECT_HANDLE copy) {
      return WrapUnder(session, plan, copy, under, material);
    }));
    // The old blob goes for good: the new one must be seen to open.
    return WithUnwrapped(session, material.blob, plan, [](CK_OBJECT_HANDLE) { return Status(); });
  }));
  return material;
}

Fallible<Made> Pkcs11Backend::UnwrapKey(const CK_MECHANISM& mechanism, const KeyName& name, const KeyMaterial& with,
                                        ByteView wrapped, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type,
                                        CK_ULONG value_bytes, const WrappingKey& under) {
  ObjectPlan plan;
  plan.object_class = DeviceClass(object_class);
  plan.key_type = type;
  if (NeedsLength(mechanism.mechanism)) plan.value_bytes = value_bytes;
  return MakeKey(plan, under, [&](Session& session, ObjectTemplate& attributes, CK_OBJECT_HANDLE* made) -> CK_RV {
    const Fallible<CK_OBJECT_HANDLE> key = session.Load(name, with);
    if (!key.ok()) return key.error().rv;
    return functions()->C_UnwrapKey(session.session(), Mutable(mechanism), *key,
                                    const_cast<CK_BYTE_PTR>(wrapped.data()), wrapped.size(), attributes.data(),
                                    attributes.size(), made);
  });
}

Fallible<Made> Pkcs11Backend::DeriveKey(const CK_MECHANISM& mechanism, const KeyName& name, const KeyMaterial& base,
                                        std::span<const OtherKey> others, CK_KEY_TYPE type, CK_ULONG value_bytes,
                                        const WrappingKey& under) {
  ObjectPlan plan;
  plan.key_type = type;
  plan.value_bytes = value_bytes;
  // The new key must leave the device under the wrapping key, and devices derive no key that may leave of one that may
  // not. What may leave cmkd is said by its own records (WrapKey).
  const auto to_derive = [](KeyMaterial key) {
    if (key.object_class == CKO_SECRET_KEY) key.extractable = true;
    return key;
  };
  return MakeKey(plan, under, [&](Session& session, ObjectTemplate& attributes, CK_OBJECT_HANDLE* made) -> CK_RV {
    const Fallible<CK_OBJECT_HANDLE> key = session.Load(name, to_derive(base));
    if (!key.ok()) return key.error().rv;
    for (const OtherKey& other : others) {
      const Fallible<CK_OBJECT_HANDLE> loaded = session.Load(other.name, to_derive(other.material));
      if (!loaded.ok()) return loaded.error().rv;
      *other.handle = *loaded;
    }
    const auto derive = [&] {
      return functions()->C_DeriveKey(session.session(), Mutable(mechanism), *key, attributes.data(), attributes.size(),
                                      made);
    };
    // This code says nothing of the call. SoftHSM 2.6.1 gives it for a bad point, and was seen to give it for a good
    // one on a busy machine, once in some ten thousand: it is asked a second time before anybody is told.
    const CK_RV rv = derive();
    return rv == CKR_GENERAL_ERROR ? derive() : rv;
  });
}

// ---- What leaves the device for the application

Fallible<Bytes> Pkcs11Backend::WrapKey(const CK_MECHANISM& mechanism, const KeyName& wrapping_name,
                                       const KeyMaterial& wrapping, const KeyName& name, const KeyMaterial& key) {
  // NSS's softoken wraps whatever it is asked to.
  if (!key.extractable) return Fail(CKR_KEY_UNEXTRACTABLE, "the key is not extractable");
  Bytes wrapped;
  RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
    ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE with, session.Load(wrapping_name, wrapping));
    ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE what, session.Load(name, key));
    ASSIGN_OR_RETURN(wrapped, link_.device().WrapKey(session.session(), mechanism, with, what));
    return {};
  }));
  return wrapped;
}

Fallible<Bytes> Pkcs11Backend::WrapKeyAuthenticated(const CK_MECHANISM& mechanism, const KeyName& wrapping_name,
                                                    const KeyMaterial& wrapping, const KeyName& name,
                                                    const KeyMaterial& key, ByteView associated_data) {
  if (functions_3_2_ == nullptr) return Fail(CKR_FUNCTION_NOT_SUPPORTED, "the device knows no PKCS#11 3.2");
  if (!key.extractable) return Fail(CKR_KEY_UNEXTRACTABLE, "the key is not extractable");
  // No key is longer: RSA of 16384 bits has about 9 KiB.
  Bytes wrapped(std::size_t{16} << 10);
  RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
    ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE with, session.Load(wrapping_name, wrapping));
    ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE what, session.Load(name, key));
    CK_ULONG length = wrapped.size();
    const CK_RV rv = functions_3_2_->C_WrapKeyAuthenticated(session.session(), Mutable(mechanism), with, what,
                                                            const_cast<CK_BYTE_PTR>(associated_data.data()),
                                                            associated_data.size(), wrapped.data(), &length);
    if (rv != CKR_OK) return DeviceRefused("C_WrapKeyAuthenticated", rv);
    wrapped.resize(std::min<std::size_t>(length, wrapped.size()));
    return {};
  }));
  return wrapped;
}

Fallible<Made> Pkcs11Backend::UnwrapKeyAuthenticated(const CK_MECHANISM& mechanism, const KeyName& name,
                                                     const KeyMaterial& with, ByteView wrapped,
                                                     ByteView associated_data, CK_OBJECT_CLASS object_class,
                                                     CK_KEY_TYPE type, const WrappingKey& under) {
  if (functions_3_2_ == nullptr) return Fail(CKR_FUNCTION_NOT_SUPPORTED, "the device knows no PKCS#11 3.2");
  ObjectPlan plan;
  plan.object_class = DeviceClass(object_class);
  plan.key_type = type;
  return MakeKey(plan, under, [&](Session& session, ObjectTemplate& attributes, CK_OBJECT_HANDLE* made) -> CK_RV {
    const Fallible<CK_OBJECT_HANDLE> key = session.Load(name, with);
    if (!key.ok()) return key.error().rv;
    return functions_3_2_->C_UnwrapKeyAuthenticated(
        session.session(), Mutable(mechanism), *key, const_cast<CK_BYTE_PTR>(wrapped.data()), wrapped.size(),
        attributes.data(), attributes.size(), const_cast<CK_BYTE_PTR>(associated_data.data()), associated_data.size(),
        made);
  });
}

Fallible<spec::Attributes> Pkcs11Backend::ReadSecret(const KeyName& name, const KeyMaterial& key,
                                                     std::span<const CK_ATTRIBUTE_TYPE> types) {
  (void)name;  // the copy in the cache cannot be read; a fresh one is made
  spec::Attributes read;
  if (key.material.kind != cmk::Material::Kind::kWrapped) {
    // One that the device would not have wrapped whole; it says CKR_ATTRIBUTE_SENSITIVE unless it was made to be read.
    RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
      ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE kept,
                       link_.device().FindOne(session.session(), DeviceClass(key.object_class), key.material.blob));
      ASSIGN_OR_RETURN(read, link_.device().ReadAttributes(session.session(), kept, types));
      return {};
    }));
    const bool all = std::all_of(types.begin(), types.end(), [&](CK_ATTRIBUTE_TYPE type) { return read.Has(type); });
    if (!all) return Fail(CKR_ATTRIBUTE_SENSITIVE, "the key resides in the device and cannot be read");
    return read;
  }
  ObjectPlan plan;
  plan.object_class = DeviceClass(key.object_class);
  plan.key_type = DeviceKeyType(key.key_type);
  plan.sensitive = false;
  plan.extractable = true;
  RETURN_IF_ERROR(Attempt([&](Session& session) -> Status {
    return WithUnwrapped(session, key.material.blob, plan, [&](CK_OBJECT_HANDLE copy) -> Status {
      ASSIGN_OR_RETURN(read, link_.device().ReadAttributes(session.session(), copy, types));
      return {};
    });
  }));
  return read;
}

Status Pkcs11Backend::DestroyMaterial(const cmk::Material& material) {
  if (material.kind != cmk::Material::Kind::kResident) return {};
  return Attempt([&](Session& session) -> Status {
    // The record does not say of which class the object is; its id is random, so both may be asked.
    for (const CK_OBJECT_CLASS object_class : {CKO_PRIVATE_KEY, CKO_SECRET_KEY}) {
      RETURN_IF_ERROR(link_.device().DestroyById(session.session(), object_class, material.blob));
    }
    return {};
  });
}

}  // namespace cmkd::daemon

// Object: a PKCS#11 object as the handlers see it, token or session object alike. Immutable once made: a change makes a
// new one, so a handler may keep what it found while others change it.
#pragma once

#include <memory>
#include <optional>

#include "daemon/hsm/backend.h"
#include "keystore/cmk/cmk.h"
#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/attributes.h"

namespace cmkd::daemon {

// Handles of session objects start here; below are the serials of token objects, the same in every process and for
// ever.
inline constexpr CK_OBJECT_HANDLE kSessionObjectBase = CK_OBJECT_HANDLE{1} << 48;

// And from here on are the objects that every token has by itself (service/built_in_objects.h). They are kept nowhere.
inline constexpr CK_OBJECT_HANDLE kBuiltInObjectBase = CK_OBJECT_HANDLE{1} << 56;

struct Object {
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  cmk::TokenId token;
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;  // of session objects: the session that made it
  std::optional<cmk::CmkId> cmk;  // of token keys with material: secret and private keys, and the public half
  std::optional<cmk::KeyVersionNumber> version;
  spec::Attributes attributes;          // never the secret parts: those are in the material
  cmk::Material material;               // of session keys; a token key's is in its CMK
  std::array<std::uint8_t, 16> name{};  // in the HSM's key cache, for keys without a CMK

  CK_OBJECT_CLASS object_class = CKO_DATA;
  CK_ULONG key_type = CK_UNAVAILABLE_INFORMATION;

  bool is_token() const { return handle < kSessionObjectBase || handle >= kBuiltInObjectBase; }
  bool is_private() const { return attributes.Bool(CKA_PRIVATE); }
  bool is_key() const { return has_material() || object_class == CKO_PUBLIC_KEY; }
  // The wrapping key of import parameters, private or public: it belongs to the key that the material is for, and to
  // none of its versions. What it is good for is C_UnwrapKey, and only there (service/import_by_unwrap.h).
  bool is_import_key() const { return cmk && version && version->value == 0; }
  // Keys whose material is secret.
  bool has_material() const { return spec::IsSecretKeyClass(object_class) || object_class == CKO_PRIVATE_KEY; }

  // Takes class and type from the attributes.
  void Describe() {
    object_class = attributes.Ulong(CKA_CLASS).value_or(CKO_DATA);
    const auto type = object_class == CKO_CERTIFICATE ? CKA_CERTIFICATE_TYPE : CKA_KEY_TYPE;
    key_type = attributes.Ulong(type).value_or(CK_UNAVAILABLE_INFORMATION);
  }
};

using ObjectPtr = std::shared_ptr<const Object>;

}  // namespace cmkd::daemon

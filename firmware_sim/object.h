// An object of the device: its attributes, and for keys the material. Immutable: a change of attributes makes a new
// Object in the old one's place, so an operation in progress keeps the key it began with.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "firmware_sim/key.h"
#include "firmware_sim/key_usage.h"
#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/attributes.h"

namespace cmkd::sim {

class Object;
using ObjectPtr = std::shared_ptr<const Object>;

class Object {
 public:
  // `attributes` as spec::Complete() makes them; `key` is nullptr for data objects and certificates. `owner` is the
  // session of a session object, 0 for a token object. `name` is its unique id and, for token objects, its name in the
  // flash. `usage` is that of the object in whose place it comes, or of what the flash has; nullptr: a new key's.
  using UsagePtr = std::shared_ptr<KeyUsage>;
  Object(spec::Attributes attributes, KeyPtr key, CK_SESSION_HANDLE owner, std::string name, UsagePtr usage = nullptr);

  const KeyPtr& key() const { return key_; }
  CK_OBJECT_CLASS object_class() const { return object_class_; }
  bool is_token() const { return owner_ == 0; }
  bool is_private() const { return is_private_; }
  CK_SESSION_HANDLE owner() const { return owner_; }
  const std::string& name() const { return name_; }
  // How much the key has been used; nullptr for public keys and what is no key.
  const UsagePtr& usage() const { return usage_; }

  // Without what comes from the material; All() has that too.
  const spec::Attributes& attributes() const { return attributes_; }

  // One attribute as C_GetAttributeValue shows it; the caller wipes it. Errors: CKR_ATTRIBUTE_TYPE_INVALID,
  // CKR_ATTRIBUTE_SENSITIVE.
  Fallible<Bytes> Reveal(CK_ATTRIBUTE_TYPE type) const;

  // All attributes, the secret ones included if they may be shown.
  spec::Attributes All() const;

  // Whether C_FindObjects finds it.
  bool FoundBy(std::span<const CK_ATTRIBUTE> wanted) const;

  // Whether the key may be used so: CKA_ENCRYPT and its kin for the flag of mechanism rows.
  bool Permits(CK_FLAGS operation) const { return (usages_ & operation) != 0; }
  bool AllowsMechanism(CK_MECHANISM_TYPE type) const;
  bool always_authenticate() const { return always_authenticate_; }

  // The record that the flash keeps.
  SecretBytes Encode() const;
  // `spent`: what the flash has of its use; `origin`: the device whose backup it comes from, empty for this one's own.
  static Fallible<ObjectPtr> Decode(ByteView record, std::string name, const Spent& spent = {},
                                    std::string_view origin = {});

 private:
  // A part of the material, or what is computed from it; empty when the key has no such attribute.
  Fallible<Bytes> FromMaterial(CK_ATTRIBUTE_TYPE type) const;

  spec::Attributes attributes_;
  KeyPtr key_;
  CK_SESSION_HANDLE owner_;
  std::string name_;
  UsagePtr usage_;
  CK_OBJECT_CLASS object_class_;
  CK_FLAGS usages_ = 0;
  bool is_private_;
  bool always_authenticate_;
  bool restricts_mechanisms_;
};

// Whether what a template claims about the material (CKA_CHECK_VALUE, CKA_PUBLIC_KEY_INFO, …) is so.
// Errors: CKR_ATTRIBUTE_VALUE_INVALID.
Status CheckMaterial(const Object& object, std::span<const CK_ATTRIBUTE> given);

// The key that a C_CreateObject template describes. Errors: those of Key.
Fallible<KeyPtr> KeyFromTemplate(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, const spec::Attributes& attributes);

}  // namespace cmkd::sim

// Keys that an operator asks for by spec and usage.
#pragma once

#include "daemon/admin/verbs.h"
#include "daemon/service/key_specs.h"
#include "pkcs11/spec/attribute_rules.h"

namespace cmkd::daemon {

struct KeyRequest {
  const KeySpec* spec = nullptr;
  const KeyUsage* usage = nullptr;
  std::string name;
  std::string description;
  Bytes id;
  Duration rotation_period;
  std::optional<Timestamp> activation;
  std::optional<Timestamp> expiry;
  std::uint64_t usage_limit = 0;
  bool deletion_protected = false;
  bool external = false;  // made without material, which is imported
  cmk::KeyClass key_class = cmk::KeyClass::kCustomer;
  std::optional<std::uint32_t> owner;  // kService: the user whose service it is
  bool fixed_version = false;          // every mechanism of its type, also those that cannot find a version again
};

// Reads name, class, spec, usage, id, description, rotation_days and what else KeyRequest has. CKR_ARGUMENTS_BAD with a
// sentence.
Fallible<KeyRequest> ReadKeyRequest(const Json& arguments);

// Whether such a key may be made on this token now.
Status CheckKeyRequest(const KeyRequest& request, const store::TokenRecord& token, Timestamp now);

// Makes the material in the HSM and the objects and record that go with it; nothing is stored yet.
Fallible<NewObjects> MakeKey(Backend& backend, const WrappingKey& under, const KeyRequest& request,
                             spec::Profile profile, Timestamp now);

}  // namespace cmkd::daemon

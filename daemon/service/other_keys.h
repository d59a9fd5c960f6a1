// The keys that a derivation's parameter names beside the base key: the other half of CKM_CONCATENATE_BASE_AND_KEY, the
// salt of HKDF, parts of SP 800-108's input.
#pragma once

#include <vector>

#include "daemon/service/key_template.h"
#include "daemon/service/key_use.h"

namespace cmkd::daemon {

struct OtherKeys {
  std::vector<ObjectPtr> objects;
  std::vector<OtherKey> keys;  // the same for the device; each points to its handle's place in the parameter
};

// Finds them, and takes their handles out of the parameter, which the caller gave and the device would misunderstand.
// Each must be a secret key that may derive. Errors: CKR_KEY_HANDLE_INVALID; CheckKeyUse's; those of a key's state.
// Call after CheckParameter, once for a parameter.
Fallible<OtherKeys> FindOtherKeys(Invocation& invocation, const spec::MechanismRow& row, const CK_MECHANISM& mechanism);

// What a derived key has of the base key's secrecy and, where it is as secret as what it is made of, of the others'.
spec::Attributes JoinedSecrecy(const spec::MechanismRow& row, const Object& base, const OtherKeys& others);
inline bool InheritsSecrecy(const spec::MechanismRow& row, const OtherKeys& others) {
  return spec::InheritsSecrecy(row.recipe, !others.objects.empty());
}

}  // namespace cmkd::daemon

// See other_keys.h.
#include "daemon/service/other_keys.h"

#include <utility>

#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {

Fallible<OtherKeys> FindOtherKeys(Invocation& invocation, const spec::MechanismRow& row,
                                  const CK_MECHANISM& mechanism) {
  spec::MechanismRow any = row;
  any.key_type = spec::kAnyKeyType;
  OtherKeys others;
  for (const auto& [handle, used] : spec::OtherKeysIn(row, mechanism)) {
    const CK_OBJECT_HANDLE named = std::exchange(*handle, CK_INVALID_HANDLE);
    if (!used) continue;
    ASSIGN_OR_RETURN(const ObjectPtr object, FindVisible(invocation, named, CKR_KEY_HANDLE_INVALID));
    if (object->object_class != CKO_SECRET_KEY)
      return Fail(CKR_KEY_HANDLE_INVALID, "the key in the parameter is no secret key");
    RETURN_IF_ERROR(CheckKeyUse(invocation, any, *object, CKA_DERIVE));
    ASSIGN_OR_RETURN(const Candidate with, CurrentCandidate(invocation, *object, cmk::Use::kProcess, Moment::kDerive));
    others.objects.push_back(object);
    others.keys.push_back({with.name, with.material, handle});
  }
  return others;
}

spec::Attributes JoinedSecrecy(const spec::MechanismRow& row, const Object& base, const OtherKeys& others) {
  spec::Attributes secrecy = base.attributes;
  if (!InheritsSecrecy(row, others)) return secrecy;
  for (const ObjectPtr& other : others.objects) secrecy = spec::JoinSecrecy(secrecy, other->attributes);
  return secrecy;
}

}  // namespace cmkd::daemon

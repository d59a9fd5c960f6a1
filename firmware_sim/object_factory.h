// Making objects from templates: the standard's rules (spec/attribute_rules.h) applied, then the material, then the
// object itself.
#pragma once

#include "firmware_sim/handlers.h"
#include "pkcs11/spec/attribute_rules.h"

namespace cmkd::sim {

using Template = std::span<const CK_ATTRIBUTE>;

// The attributes of the object that a template describes, the limits of a key (key_usage.h) among them, after all
// checks that need no material: the template itself, and whether this session may make such an object. Errors: those of
// spec::CheckTemplate; CKR_SESSION_READ_ONLY, CKR_USER_NOT_LOGGED_IN.
Fallible<spec::Attributes> DescribeObject(const Context& context, spec::TemplateContext rules, Template given,
                                          CK_MECHANISM_TYPE key_gen_mechanism = CK_UNAVAILABLE_INFORMATION);

// The object, stored; its handle. Errors: CKR_ATTRIBUTE_VALUE_INVALID when `given` contradicts the material; those of
// the flash.
Fallible<CK_OBJECT_HANDLE> MakeObject(const Context& context, spec::Attributes attributes, KeyPtr key, Template given);

// Whether the session may change or destroy this object. Errors: CKR_SESSION_READ_ONLY.
Status CheckMayChange(const Context& context, const Object& object);

}  // namespace cmkd::sim

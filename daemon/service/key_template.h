// The template of a key that comes out of another: derived, unwrapped, decapsulated, opened with associated data. It is
// described, completed and judged here, whichever way the key takes.
#pragma once

#include "daemon/service/key_role.h"
#include "daemon/service/new_object.h"

namespace cmkd::daemon {

// What the rules of templates need to know of the session and the token.
spec::TemplateContext ContextFor(const Invocation& invocation, const store::TokenRecord& token, spec::Verb verb,
                                 CK_OBJECT_CLASS object_class, CK_ULONG key_type);

// The secrecy that a key has from the one it is derived from.
struct Inheritance {
  const spec::Attributes* from = nullptr;  // borrowed; none: all is as the template says
  bool always = false;                     // it is as secret as that, whatever the template says
};

// A key that is to be.
struct KeyToBe {
  CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_GENERIC_SECRET;
  spec::Attributes attributes;  // all of them, but what comes from the material
};

// The key that `whole` describes, and whether it may be. `whole` has what the other key forces on it already
// (spec::MergeForced). `verb` is kUnwrap, or kDerive: then it is a secret key, and a generic one if no type is named
// (PKCS#11 section 5.18.5). Errors: those of templates; CKR_TEMPLATE_INCONSISTENT for another class; CheckNewObject's.
Fallible<KeyToBe> DescribeKey(const Invocation& invocation, spec::Verb verb, std::span<const CK_ATTRIBUTE> whole,
                              const Inheritance& inheritance = {});

}  // namespace cmkd::daemon

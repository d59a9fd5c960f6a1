// Domain parameters to make keys with: groups that everybody may look up.
#pragma once

#include "pkcs11/spec/owned_template.h"

namespace cmkd::conformance {

using Template = spec::OwnedTemplate;

// CKA_PRIME and CKA_BASE, and CKA_SUBPRIME for key types that have one (DSA, X9.42); empty for other key types.
Template DomainOf(CK_KEY_TYPE type);

}  // namespace cmkd::conformance

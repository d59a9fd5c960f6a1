// Domain parameters to make keys with: groups that everybody may look up.
#pragma once

#include "conformance/template.h"

namespace cmkd::conformance {

// CKA_PRIME and CKA_BASE, and CKA_SUBPRIME for key types that have one (DSA, X9.42); empty for other key types.
Template DomainOf(CK_KEY_TYPE type);

}  // namespace cmkd::conformance

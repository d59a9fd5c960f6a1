// SP 800-108 derivations that give more than one key (PKCS#11 3.2, "Deriving Additional Keys"). The device derives the
// keying material of all as one secret, in which no two keys share a segment, and CKM_EXTRACT_KEY_FROM_KEY cuts it
// there. Each key has a template of its own, under the same rules as that of the call. All of them, in whole segments,
// have as many bytes as one secret of the device at most (4,096).
#pragma once

#include "daemon/service/access.h"
#include "daemon/service/key_use.h"

namespace cmkd::daemon {

// The key of `given`, whose handle comes back, and those of the parameter, whose handles go there: all of them or none.
// A template of the parameter that is why there are none is named to the client (wire::TrailerKind::kRefusedKey).
// CheckParameter and CheckKeyUse have been passed. Errors: those of templates; CKR_TEMPLATE_INCOMPLETE without a
// length; CKR_KEY_SIZE_RANGE; CKR_MECHANISM_PARAM_INVALID when the device cannot cut.
Fallible<CK_OBJECT_HANDLE> DeriveSeveralKeys(Invocation& invocation, const spec::MechanismRow& row,
                                             const CK_MECHANISM& mechanism, const Object& base,
                                             std::span<const CK_ATTRIBUTE> given);

}  // namespace cmkd::daemon

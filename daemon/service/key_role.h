// The rules of wrapping and unwrapping, and the role of a key, decided at the first use that matters (spec/key_role.h).
#pragma once

#include "daemon/dispatch/invocation.h"
#include "pkcs11/spec/key_role.h"

namespace cmkd::daemon {

// Whether the key may be used so, by its type, size, usages and allowed mechanisms (CheckKeyFits) and by its role; a
// use on data decides the role. Errors: those of CheckKeyFits; CKR_KEY_FUNCTION_NOT_PERMITTED for a key that wraps.
Status CheckKeyUse(Invocation& invocation, const spec::MechanismRow& row, const Object& key, CK_ATTRIBUTE_TYPE usage);

// Whether `key` may leave under `wrapping` by this mechanism. A sensitive key goes only by mechanisms that keep it
// whole, under a key as strong, made here, that never works on data; or under a public key that the SO trusts. Errors:
// CKR_MECHANISM_INVALID, CKR_WRAPPING_KEY_SIZE_RANGE, CKR_KEY_NOT_WRAPPABLE.
Status CheckWrap(Invocation& invocation, const spec::MechanismRow& row, const Object& wrapping, const Object& key);

// Whether this mechanism may unwrap into a key of these attributes. What comes out readable, or by a mechanism that can
// be probed, makes the unwrapping key one for data. Errors: CKR_MECHANISM_INVALID, CKR_TEMPLATE_INCONSISTENT.
Status CheckUnwrap(Invocation& invocation, const spec::MechanismRow& row, const Object& unwrapping,
                   const spec::Attributes& made);

// A copy could go another way than its original, so copying an undecided key decides that both are for data.
Status CheckCopy(Invocation& invocation, const Object& source);

}  // namespace cmkd::daemon

// The rules of wrapping and unwrapping, and the role of a key, decided at the first use that matters (spec/key_role.h).
#pragma once

#include "daemon/dispatch/invocation.h"
#include "pkcs11/spec/key_role.h"

namespace cmkd::daemon {

// Whether the key may be used so, by its type, size, usages and allowed mechanisms (CheckKeyFits) and by its role; a
// use on data decides the role. Errors: those of CheckKeyFits; CKR_KEY_FUNCTION_NOT_PERMITTED for a key that wraps.
Status CheckKeyUse(Invocation& invocation, const spec::MechanismRow& row, const Object& key, CK_ATTRIBUTE_TYPE usage);

// Who chose the IV under which something is wrapped.
enum class IvFrom : std::uint8_t { kNobody, kCaller, kToken };

// Whether a key of the attributes `key` may leave under `wrapping` by this mechanism. A sensitive key goes only by
// mechanisms that keep it whole, under a key as strong, made here, that never works on data; or under a public key that
// the SO trusts. A caller's IV tells the keystream to whoever wraps a key of known value under it again, so it is for
// keys that are no secret, and makes the wrapping key one for data. Errors: CKR_MECHANISM_INVALID,
// CKR_MECHANISM_PARAM_INVALID, CKR_WRAPPING_KEY_SIZE_RANGE, CKR_KEY_NOT_WRAPPABLE.
Status CheckWrap(Invocation& invocation, const spec::MechanismRow& row, const Object& wrapping,
                 const spec::Attributes& key, IvFrom iv);

// The same for a secret that C_EncapsulateKey makes, which leaves under the public key at once. An agreed secret (ECDH)
// is had again, readable, by deriving with the private key, so a sensitive one is agreed only with a public key that
// the SO trusts. Errors: those of CheckWrap, with CKR_TEMPLATE_INCONSISTENT for CKR_KEY_NOT_WRAPPABLE.
Status CheckEncapsulation(Invocation& invocation, const spec::MechanismRow& row, const Object& public_key,
                          const spec::Attributes& secret);

// Whether this mechanism may unwrap into a key of these attributes. What comes out readable, or by a mechanism that can
// be probed, makes the unwrapping key one for data. Errors: CKR_MECHANISM_INVALID, CKR_TEMPLATE_INCONSISTENT.
Status CheckUnwrap(Invocation& invocation, const spec::MechanismRow& row, const Object& unwrapping,
                   const spec::Attributes& made);

// A copy could go another way than its original, so copying an undecided key decides that both are for data.
Status CheckCopy(Invocation& invocation, const Object& source);

}  // namespace cmkd::daemon

// CKA_PUBLIC_KEY_INFO for devices that do not compute it: the SubjectPublicKeyInfo (RFC 5280, RFC 3279, RFC 5480,
// RFC 8410) of a public key's attributes. Any thread.
#pragma once

#include "pkcs11/spec/attributes.h"

namespace cmkd::daemon {

// DER; empty when the type or an attribute is not there to make it of.
Bytes PublicKeyInfo(CK_KEY_TYPE type, const spec::Attributes& public_key);

}  // namespace cmkd::daemon

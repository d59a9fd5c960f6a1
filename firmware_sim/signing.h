// Ed25519 as the device itself uses it: to attest, to look at updates and approvals. Keys are PKCS #8 and
// SubjectPublicKeyInfo.
#pragma once

#include "common/secret.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

Fallible<SecretBytes> MakeSigningKey();
Fallible<Bytes> PublicHalf(ByteView signing_key);
Fallible<Bytes> SignText(ByteView signing_key, ByteView text);
// Errors: CKR_SIGNATURE_INVALID, also for a key that is none.
Status VerifyText(ByteView public_key, ByteView text, ByteView signature);
// SHA-256.
Fallible<Bytes> DigestOf(ByteView bytes);

}  // namespace cmkd::sim

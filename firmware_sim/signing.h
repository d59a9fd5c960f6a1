// Ed25519 as the device itself uses it: to attest, to look at updates and approvals. Keys are PKCS #8 and
// SubjectPublicKeyInfo.
#pragma once

#include "common/secret.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

// Any thread. Errors, where nothing else is said: CKR_DEVICE_ERROR when the library refuses.

// A new private key as PKCS #8, wiped by its owner.
Fallible<SecretBytes> MakeSigningKey();
// The public key of one as SubjectPublicKeyInfo.
Fallible<Bytes> PublicHalf(ByteView signing_key);
// The signature over `text`, 64 bytes.
Fallible<Bytes> SignText(ByteView signing_key, ByteView text);
// Errors: CKR_SIGNATURE_INVALID, also for a key that is none.
Status VerifyText(ByteView public_key, ByteView text, ByteView signature);
// SHA-256 of `bytes`, 32 bytes.
Fallible<Bytes> DigestOf(ByteView bytes);

}  // namespace cmkd::sim

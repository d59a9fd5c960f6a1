// RSA decryption on foreign devices: the device does the private-key operation, the padding comes off here. Some do
// OAEP with one hash only; and all of them tell a wrong PKCS #1 v1.5 padding, by an error or by time, which opens
// whatever was encrypted under the key (Bleichenbacher). Here a wrong v1.5 padding gives made-up bytes.
#pragma once

#include "daemon/dispatch/invocation.h"
#include "daemon/service/key_use.h"

namespace cmkd::daemon {

// Whether the padding of this mechanism is taken off here, with the token's device.
bool IsUnpaddedHere(const Invocation& invocation, const spec::MechanismRow& row);

// Whether this device may decrypt or unwrap by this mechanism at all: v1.5 only where a wrong padding does not show.
bool HidesWrongPadding(const Backend& backend, const spec::MechanismRow& row);

// Decrypts with one version of the key. Errors: CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID (OAEP), and
// the device's.
Fallible<SecretBytes> DecryptRsaHere(Invocation& invocation, const spec::MechanismRow& row,
                                     const CK_MECHANISM& mechanism, const Object& key, const Candidate& candidate,
                                     ByteView input);

// Backend::UnwrapKey, or, for a v1.5 block whose padding the device would tell of, the same done here: the secret key
// in it passes through the daemon's locked memory.
Fallible<Made> UnwrapWithRsaHere(Invocation& invocation, Backend& backend, const spec::MechanismRow& row,
                                 const CK_MECHANISM& mechanism, const Object& unwrapping, const Candidate& candidate,
                                 ByteView input, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, CK_ULONG value_bytes,
                                 const WrappingKey& under);

}  // namespace cmkd::daemon

// The managed mechanism (CKM_CMKD_AES_MANAGED): ciphertexts that say which key and version made them. The daemon writes
// and reads the header and makes the IV; the key stays in the device, which is asked for AES-GCM, and for two blocks of
// AES-ECB, by which the header commits to the key.
#pragma once

#include "common/secret.h"
#include "daemon/service/key_use.h"

namespace cmkd::daemon {

// Both ask the key's state of the store, now, and count the use; `moment` says how a refusal is put. The key fits the
// mechanism (CheckKeyUse).

// Header, ciphertext and tag of `plain` under the current version. CKR_DATA_LEN_RANGE above CMKD_MANAGED_PLAINTEXT_MAX.
Fallible<Bytes> EncryptManaged(Invocation& invocation, const Object& key, ByteView context, ByteView plain,
                               Moment moment);

// What was encrypted so, by the version that the header names. CKR_ENCRYPTED_DATA_INVALID for what is no ciphertext of
// this key, was made with another context, or was changed (the detail says which, as far as the header tells);
// CKR_ENCRYPTED_DATA_LEN_RANGE for impossible lengths.
Fallible<SecretBytes> DecryptManaged(Invocation& invocation, const Object& key, ByteView context, ByteView ciphertext,
                                     Moment moment);

}  // namespace cmkd::daemon

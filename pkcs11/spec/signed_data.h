// What may be given to mechanisms that sign a hash made elsewhere: they cannot know the hash, but they can see that it
// is none. Pure, any thread.
#pragma once

#include "common/bytes.h"
#include "pkcs11/spec/error.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::spec {

// For CKM_RSA_PKCS a DigestInfo (RFC 8017 section 9.2) must hold a hash as long as its algorithm makes; other data
// passes, since protocols before TLS 1.2 sign two hashes without any DigestInfo. For CKM_ECDSA 1 to 128 bytes. Errors:
// CKR_DATA_INVALID, CKR_DATA_LEN_RANGE.
Status CheckSignedData(const MechanismRow& row, ByteView data);

}  // namespace cmkd::spec

// An RSA public key as SubjectPublicKeyInfo.
#pragma once

#include "common/bytes.h"

namespace cmkd::daemon {

// DER of RFC 3279 section 2.3.1. Both numbers big-endian; leading zeros do not count. Any thread.
Bytes RsaPublicKeyInfo(ByteView modulus, ByteView exponent);

}  // namespace cmkd::daemon

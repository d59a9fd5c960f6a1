// The pseudorandom function of TLS 1.0 to 1.2, which finished messages and keys are made with.
#pragma once

#include <span>

#include "pkcs11/spec/error.h"

namespace cmkd::sim {

// Fills `out` from the secret and the seeds, one after another, the label first. `hash` is a digest mechanism of TLS
// 1.2, or 0 for the function of TLS 1.0 and 1.1 (RFC 2246 section 5). Errors: CKR_DEVICE_ERROR.
Status TlsPrf(CK_MECHANISM_TYPE hash, ByteView secret, std::span<const ByteView> seeds, MutableBytes out);

}  // namespace cmkd::sim

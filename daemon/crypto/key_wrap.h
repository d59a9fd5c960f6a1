// AES key wrap with padding (RFC 5649), for material that arrives under a key of its own.
#pragma once

#include <optional>

#include "common/bytes.h"
#include "common/secret.h"

namespace cmkd::daemon {

// Unwraps with a 32-byte key. Nothing when the integrity check fails or the lengths make no sense.
std::optional<SecretBytes> UnwrapPadded(ByteView key, ByteView wrapped);

}  // namespace cmkd::daemon

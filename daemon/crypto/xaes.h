// XAES-256-GCM (C2SP): AES-256-GCM with 24-byte nonces, which may be random without a bound on their number. The bare
// function; AesGcmSealer chooses nonces and keys.
#pragma once

#include "common/bytes.h"

namespace cmkd::daemon {

inline constexpr std::size_t kXaesKeyBytes = 32;
inline constexpr std::size_t kXaesNonceBytes = 24;
inline constexpr std::size_t kXaesTagBytes = 16;

// Writes ciphertext and tag (plain.size() + 16 bytes) to `out`. Key and nonce have exactly the sizes above; `out` does
// not overlap `plain`. Any thread.
void XaesSeal(ByteView key, ByteView nonce, ByteView associated, ByteView plain, std::uint8_t* out);

// Writes the plaintext (sealed.size() - 16 bytes) to `out` and returns true; false, and `out` wiped, when `sealed` is
// not what XaesSeal made of the same key, nonce and associated data.
bool XaesOpen(ByteView key, ByteView nonce, ByteView associated, ByteView sealed, std::uint8_t* out);

}  // namespace cmkd::daemon

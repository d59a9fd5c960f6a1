// Random bytes for the daemon: ids and nonces (public) and keys (private). OpenSSL stays in the .cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "common/bytes.h"
#include "common/secret.h"

namespace cmkd::daemon {

using Id16 = std::array<std::uint8_t, 16>;

// All four are safe from any thread. A generator that cannot deliver leaves nothing to go on with: the process is ended
// with a message, because every answer given after that would be worth nothing.

// Fills with bytes that may become public: nonces, ids, salts.
void FillRandom(MutableBytes out);

// Fills with bytes that stay secret; drawn from a generator of its own, so that public output says nothing about them.
void FillSecretRandom(MutableBytes out);

// 16 public random bytes; two calls never agree in practice.
Id16 RandomId();

// A fresh secret of `size` bytes.
SecretBytes RandomKey(std::size_t size);

}  // namespace cmkd::daemon

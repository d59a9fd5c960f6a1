// The door to the store's cryptography. The store says what is to be sealed and bound; how, and with which key, is
// decided by whoever implements this (the daemon, over an AEAD with a key held by the HSM side). No crypto library
// here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "common/bytes.h"
#include "common/result.h"

namespace cmkd::store {

enum class SealError : std::uint8_t {
  kDamaged,      // the bytes, or what they were bound to, are not what was sealed (or another key sealed them)
  kUnavailable,  // no key or no randomness at the moment; nothing is known about the bytes
};

// Implementations must be safe from any thread and keep one key for their whole life.
class Sealer {
 public:
  static constexpr std::size_t kTagBytes = 16;
  using KeyedTag = std::array<std::uint8_t, kTagBytes>;

  virtual ~Sealer() = default;

  // Encrypts `plain` and binds `associated` to it. Two calls never give the same bytes (a fresh nonce each, part of the
  // result). The result may have any length of at least kTagBytes, and differs from every other one in its first or
  // last sixteen bytes.
  virtual Result<Bytes, SealError> Seal(ByteView associated, ByteView plain) const = 0;

  // The plaintext, if `sealed` is what Seal gave for the same `associated`. Nothing unverified is ever returned.
  virtual Result<Bytes, SealError> Open(ByteView associated, ByteView sealed) const = 0;

  // A keyed, deterministic message authentication code: a pseudo-random function of `message` for those without the
  // key. Its key must not be the sealing key. Cannot fail; an implementation that could not compute it stops the
  // process.
  virtual KeyedTag Tag(ByteView message) const = 0;
};

}  // namespace cmkd::store

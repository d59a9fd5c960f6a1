// AesGcmSealer: authenticated encryption of what leaves the daemon's memory: records of the store, resume tickets,
// session objects held by clients. One root key, one independent sealer for each purpose.
//
// The construction is XAES-256-GCM (C2SP): 24-byte nonces, of which twelve and the key make a key for this one record
// (the KDF of SP 800-108 with AES-CMAC), under which AES-256-GCM takes the other twelve. A nonce is a counter of this
// sealer and 16 random bytes drawn when it was made, so it never comes twice within a process and does not across
// restarts or copies of the same key. Sealed = nonce (24) ‖ ciphertext ‖ tag (16).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/bytes.h"
#include "common/secret.h"
#include "daemon/crypto/random.h"
#include "keystore/store/seal.h"

namespace cmkd::daemon {

// The purposes of the root key; the label goes into HKDF, so data sealed for one purpose never opens as another.
inline constexpr std::string_view kSealStore = "cmkd seal store 1";
inline constexpr std::string_view kSealIndex = "cmkd seal index 1";
inline constexpr std::string_view kSealTicket = "cmkd seal ticket 1";
inline constexpr std::string_view kSealSessionObject = "cmkd seal session object 1";

class AesGcmSealer final : public store::Sealer {
 public:
  // `root` is 32 bytes, needed only during the construction; `label` one of the above.
  AesGcmSealer(ByteView root, std::string_view label);

  static constexpr std::size_t kNonceBytes = 24;
  static constexpr std::size_t kOverheadBytes = kNonceBytes + 16;

  // See store::Sealer. Any thread, no lock, about 1 µs for a small record.
  Result<Bytes, store::SealError> Seal(ByteView associated, ByteView plain) const override;
  Result<Bytes, store::SealError> Open(ByteView associated, ByteView sealed) const override;
  // The first 16 bytes of HMAC-SHA-256 under a key of its own.
  KeyedTag Tag(ByteView message) const override;

 private:
  SecretBytes seal_key_;
  SecretBytes tag_key_;
  Id16 prefix_;
  mutable std::atomic<std::uint64_t> counter_{0};
};

}  // namespace cmkd::daemon

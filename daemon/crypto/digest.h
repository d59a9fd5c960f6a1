// SHA-256, HMAC-SHA-256 and HKDF for the daemon's own records: the audit chain, sealing keys, remembered PINs. Not a
// service to applications: theirs run in the HSM.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>

#include "common/bytes.h"
#include "common/secret.h"

namespace cmkd::daemon {

using Digest = std::array<std::uint8_t, 32>;

// SHA-256 of one piece, or of several pieces as if they stood in a row. Any thread.
Digest Sha256(ByteView data);
Digest Sha256(std::initializer_list<ByteView> pieces);

// HMAC-SHA-256 (FIPS 198-1) over the pieces in a row, under a key of any length. Any thread.
Digest HmacSha256(ByteView key, std::initializer_list<ByteView> pieces);

// A key of `size` bytes (at most 8160) for one purpose: HKDF-SHA-256 (RFC 5869) without salt, `label` as info.
// Different labels give independent keys. Any thread.
SecretBytes DeriveKey(ByteView root, std::string_view label, std::size_t size = 32);

// SHA-256 over data that arrives in pieces, reusable after each Finish. One thread at a time.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(Sha256Stream&&) noexcept;
  Sha256Stream& operator=(Sha256Stream&&) noexcept;

  Sha256Stream& Update(ByteView data);
  // The digest of all updates since construction or the last Finish; starts anew.
  Digest Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cmkd::daemon

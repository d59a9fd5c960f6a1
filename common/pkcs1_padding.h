// Taking PKCS #1 v1.5 encryption padding off without telling anybody whether it was right: a wrong padding gives bytes
// that were made up beforehand (implicit rejection, draft-irtf-cfrg-rsa-guidance section 7). No branch and no address
// depends on the block. Whoever has the device's raw result and a secret of the key makes the bytes; the choosing is
// here, once.
#pragma once

#include <functional>
#include <optional>

#include "common/bytes.h"

namespace cmkd {

// What came out stands at the end of `block`, from `start` on; wiped when it goes.
struct Pkcs1Message {
  Bytes block;
  std::size_t start = 0;

  Pkcs1Message() = default;
  Pkcs1Message(Bytes bytes, std::size_t begin) : block(std::move(bytes)), start(begin) {}
  Pkcs1Message(Pkcs1Message&&) = default;
  Pkcs1Message& operator=(Pkcs1Message&&) = default;
  ~Pkcs1Message() { Wipe(block); }
  ByteView message() const { return ByteView(block).subspan(start); }
};

// HMAC-SHA-256 under a key that only ciphertext and the key's secret determine, over the pieces in a row.
using RejectionPrf = std::function<Bytes(std::initializer_list<ByteView> pieces)>;

// `encoded` is the whole decrypted block, as long as the modulus, at least 12 bytes. With `message_bytes` (at most
// encoded.size() - 11), a message of another length counts as wrong padding, and what is made up has that length.
Pkcs1Message RemovePkcs1Padding(ByteView encoded, const RejectionPrf& prf, std::optional<std::size_t> message_bytes);

}  // namespace cmkd

// Taking PKCS #1 v1.5 encryption padding off without telling anybody whether it was right. A wrong padding gives,
// instead of an error, bytes that depend on key and ciphertext only: the same each time, and not to be told from a real
// message (draft-irtf-cfrg-rsa-guidance, section 7). OpenSSL has this from 3.2 on.
#pragma once

#include <optional>

#include "common/secret.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

class RejectedOrMessage {
 public:
  RejectedOrMessage() = default;
  RejectedOrMessage(Bytes buffer, std::size_t start) : buffer_(std::move(buffer)), start_(start) {}
  RejectedOrMessage(RejectedOrMessage&&) = default;
  RejectedOrMessage& operator=(RejectedOrMessage&&) = default;
  ~RejectedOrMessage() { Wipe(buffer_); }
  ByteView message() const { return ByteView(buffer_).subspan(start_); }

 private:
  Bytes buffer_;
  std::size_t start_ = 0;
};

// `encoded` is the whole decrypted block, as long as the modulus (at least 12 bytes); `secret` the key's rejection
// secret. With `message_bytes`, a message of another length counts as wrong padding, and what is made up has that
// length.
Fallible<RejectedOrMessage> RemovePkcs1(ByteView encoded, ByteView secret, ByteView ciphertext,
                                        std::optional<std::size_t> message_bytes);

}  // namespace cmkd::sim

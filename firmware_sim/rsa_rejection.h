// Taking PKCS #1 v1.5 encryption padding off without telling anybody whether it was right. A wrong padding gives,
// instead of an error, bytes that depend on key and ciphertext only: the same each time, and not to be told from a real
// message (draft-irtf-cfrg-rsa-guidance, section 7). OpenSSL has this from 3.2 on.
#pragma once

#include <optional>

#include "common/pkcs1_padding.h"
#include "common/secret.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

// `encoded` is the whole decrypted block, as long as the modulus (at least 12 bytes); `secret` the key's rejection
// secret. With `message_bytes`, a message of another length counts as wrong padding, and what is made up has that
// length.
Fallible<Pkcs1Message> RemovePkcs1(ByteView encoded, ByteView secret, ByteView ciphertext,
                                   std::optional<std::size_t> message_bytes);

}  // namespace cmkd::sim

// Private keys as bytes, on their way from the device to the caller that they were made for.
#pragma once

#include <optional>

#include "common/bytes.h"
#include "common/secret.h"

namespace cmkd::daemon {

struct EncodedPair {
  SecretBytes private_key;  // PKCS #8, DER
  Bytes public_key;         // SubjectPublicKeyInfo, DER
};

// What a device wrapped as a private key, encoded in one way whatever the device's habits, and its public half. Nothing
// when it cannot be read. Any thread.
std::optional<EncodedPair> EncodePair(ByteView private_key);

}  // namespace cmkd::daemon

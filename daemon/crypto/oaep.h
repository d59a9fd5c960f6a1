// Takes OAEP off a block that a device has decrypted without padding. For devices that do only part of OAEP
// (SoftHSM 2.6.1: SHA-1 only), so that a token on them decrypts what any other does.
#pragma once

#include <optional>
#include <string_view>

#include "common/bytes.h"
#include "common/secret.h"

namespace cmkd::daemon {

// `block` is as long as the modulus. Hash names are OpenSSL's ("SHA256"). Nothing when the padding is wrong, by a check
// whose time does not depend on where (RFC 8017 section 7.1.2 warns of Manger's attack); nothing too for a hash that is
// not there.
std::optional<SecretBytes> RemoveOaep(ByteView block, std::string_view hash, std::string_view mgf_hash, ByteView label);

}  // namespace cmkd::daemon

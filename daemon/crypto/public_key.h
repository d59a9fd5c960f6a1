// What a SubjectPublicKeyInfo (RFC 5280) holds, without a look at what it means. Any thread.
#pragma once

#include <optional>

#include "common/bytes.h"

namespace cmkd::daemon {

// The bytes of the key: of a curve, its point. Nothing when `info` is no such structure.
std::optional<Bytes> PublicPoint(ByteView info);

// The number that the key is, for DSA and Diffie-Hellman: big endian, no leading zero.
std::optional<Bytes> PublicNumber(ByteView info);

// A DER OCTET STRING around the bytes.
Bytes AsOctetString(ByteView bytes);

}  // namespace cmkd::daemon

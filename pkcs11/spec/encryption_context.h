// The canonical form of an encryption context that is a map of names to values: one map has one sequence of bytes,
// whoever writes it and in whatever order. Pure. docs/ciphertext.md says the same in words.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "common/bytes.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {

// In order of the names' bytes. Names and values are text of the caller's; names are not empty.
using EncryptionContext = std::map<std::string, std::string>;

// The map's bytes: none for an empty map; otherwise 01, then for each pair in order of the names' bytes the name and
// the value, each after its length in two bytes, big-endian. Nothing when a name is empty, a part is longer than 65,535
// bytes, or all of it than CMKD_CONTEXT_MAX.
std::optional<Bytes> EncodeContext(const EncryptionContext& context);

// The map that was encoded so; nothing for all other bytes, also for those that say a map in another order or way. A
// context may be any bytes: those that are no map are none the worse as contexts.
std::optional<EncryptionContext> DecodeContext(ByteView bytes);

}  // namespace cmkd::spec

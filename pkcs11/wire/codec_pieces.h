// What the codecs of templates and of parameters share: what stands in front of either, and a list of attributes.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "common/bytes.h"
#include "pkcs11/spec/cryptoki.h"
#include "pkcs11/wire/arena.h"
#include "pkcs11/wire/reader.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::wire {

// What stands in front of a mechanism, template or parameter.
enum class Presence : std::uint8_t {
  kNull = 0,
  kGiven = 1,
  kBeyondLimits = 2,  // refused by the reader, so that the caller hears of it as for any other bad value
};

// A number that none of them has fails the reader.
inline Presence ReadPresence(Reader& r) {
  const std::uint8_t presence = r.U8();
  if (presence > static_cast<std::uint8_t>(Presence::kBeyondLimits)) r.Fail();
  return static_cast<Presence>(presence);
}

// The templates within a template, flat, each where it stands in the list; nothing when the list is beyond the limits.
std::optional<std::vector<Bytes>> FlatTemplates(std::span<const CK_ATTRIBUTE> list, std::size_t limit);
// Attributes by type and value. `nested` is what FlatTemplates gave of them.
void WriteAttributes(Writer& w, std::span<const CK_ATTRIBUTE> list, std::span<const Bytes> nested);
// The same read into a list that is as long. Values point into the frame and the arena. A value that is longer than any
// attribute's is refused with its code; a frame that ends is for the reader to say.
CK_RV ReadAttributes(Reader& r, Arena& arena, std::span<CK_ATTRIBUTE> list);

}  // namespace cmkd::wire

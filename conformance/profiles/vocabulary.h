// The names that the XML representation uses for numbers: the standard's without their prefix.
#pragma once

#include <optional>
#include <string>

#include "common/bytes.h"
#include "pkcs11/spec/cryptoki.h"

namespace cmkd::conformance {

enum class Flags { kSlot, kToken, kSession, kMechanism, kNone };

// "RW_SESSION|SERIAL_SESSION" or "0x0" as a number; nullopt for a name that is not known.
std::optional<CK_ULONG> FlagsFrom(Flags kind, const std::string& text);
// A decimal or hexadecimal number, or the names of special values.
std::optional<CK_ULONG> NumberFrom(const std::string& text);
// A name of the group, or a number.
std::optional<CK_ULONG> MechanismFrom(const std::string& text);
std::optional<CK_ULONG> AttributeTypeFrom(const std::string& text);
std::optional<CK_ULONG> ReturnValueFrom(const std::string& text);
std::optional<CK_ULONG> UserFrom(const std::string& text);

// An attribute's value as bytes, by the kind of the attribute.
std::optional<Bytes> ValueFrom(CK_ATTRIBUTE_TYPE type, const std::string& text);
// And back, as the representation writes it.
std::string ValueText(CK_ATTRIBUTE_TYPE type, ByteView value);
std::optional<Bytes> FromHex(const std::string& text);

}  // namespace cmkd::conformance

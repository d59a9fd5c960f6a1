// Names come from the tables of pkcs11/spec; the few that no table has stand here.
#include "conformance/profiles/vocabulary.h"

#include <charconv>
#include <cstring>

#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::conformance {
namespace {

struct Word {
  Flags kind;
  const char* name;
  CK_ULONG value;
};
constexpr Word kWords[] = {
    {Flags::kSlot, "TOKEN_PRESENT", CKF_TOKEN_PRESENT},
    {Flags::kSlot, "REMOVABLE_DEVICE", CKF_REMOVABLE_DEVICE},
    {Flags::kSlot, "HW_SLOT", CKF_HW_SLOT},
    {Flags::kToken, "RNG", CKF_RNG},
    {Flags::kToken, "WRITE_PROTECTED", CKF_WRITE_PROTECTED},
    {Flags::kToken, "LOGIN_REQUIRED", CKF_LOGIN_REQUIRED},
    {Flags::kToken, "USER_PIN_INITIALIZED", CKF_USER_PIN_INITIALIZED},
    {Flags::kToken, "RESTORE_KEY_NOT_NEEDED", CKF_RESTORE_KEY_NOT_NEEDED},
    {Flags::kToken, "DUAL_CRYPTO_OPERATIONS", CKF_DUAL_CRYPTO_OPERATIONS},
    {Flags::kToken, "TOKEN_INITIALIZED", CKF_TOKEN_INITIALIZED},
    {Flags::kSession, "RW_SESSION", CKF_RW_SESSION},
    {Flags::kSession, "SERIAL_SESSION", CKF_SERIAL_SESSION},
    {Flags::kMechanism, "HW", CKF_HW},
    {Flags::kMechanism, "ENCRYPT", CKF_ENCRYPT},
    {Flags::kMechanism, "DECRYPT", CKF_DECRYPT},
    {Flags::kMechanism, "DIGEST", CKF_DIGEST},
    {Flags::kMechanism, "SIGN", CKF_SIGN},
    {Flags::kMechanism, "SIGN_RECOVER", CKF_SIGN_RECOVER},
    {Flags::kMechanism, "VERIFY", CKF_VERIFY},
    {Flags::kMechanism, "VERIFY_RECOVER", CKF_VERIFY_RECOVER},
    {Flags::kMechanism, "GENERATE", CKF_GENERATE},
    {Flags::kMechanism, "GENERATE_KEY_PAIR", CKF_GENERATE_KEY_PAIR},
    {Flags::kMechanism, "WRAP", CKF_WRAP},
    {Flags::kMechanism, "UNWRAP", CKF_UNWRAP},
    {Flags::kMechanism, "DERIVE", CKF_DERIVE},
};

struct ClassName {
  const char* name;
  CK_OBJECT_CLASS value;
};
constexpr ClassName kClasses[] = {{"DATA", CKO_DATA},
                                  {"CERTIFICATE", CKO_CERTIFICATE},
                                  {"PUBLIC_KEY", CKO_PUBLIC_KEY},
                                  {"PRIVATE_KEY", CKO_PRIVATE_KEY},
                                  {"SECRET_KEY", CKO_SECRET_KEY}};

std::optional<CK_ULONG> Word1(Flags kind, const std::string& name) {
  for (const Word& word : kWords) {
    if (word.kind == kind && name == word.name) return word.value;
  }
  return NumberFrom(name);
}

}  // namespace

std::optional<CK_ULONG> NumberFrom(const std::string& text) {
  if (text == "UnavailableInformation") return CK_UNAVAILABLE_INFORMATION;
  if (text == "EffectivelyInfinite") return CK_EFFECTIVELY_INFINITE;
  const bool hex = text.starts_with("0x");
  const char* begin = text.data() + (hex ? 2 : 0);
  const char* end = text.data() + text.size();
  CK_ULONG value = 0;
  const auto read = std::from_chars(begin, end, value, hex ? 16 : 10);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return value;
}

std::optional<CK_ULONG> FlagsFrom(Flags kind, const std::string& text) {
  CK_ULONG all = 0;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find_first_of("| ", at), text.size());
    const auto one = Word1(kind, text.substr(at, end - at));
    if (!one) return std::nullopt;
    all |= *one;
    at = end + 1;
  }
  return all;
}

std::optional<CK_ULONG> MechanismFrom(const std::string& text) {
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    if (row.name == "CKM_" + text) return row.type;
  }
  return NumberFrom(text);
}

std::optional<CK_ULONG> AttributeTypeFrom(const std::string& text) {
  for (const spec::AttributeRow& row : spec::AttributeTable()) {
    if (row.name == "CKA_" + text) return row.type;
  }
  return NumberFrom(text);
}

std::optional<CK_ULONG> ReturnValueFrom(const std::string& text) {
  const spec::ReturnValueRow* row = spec::FindReturnValue("CKR_" + text);
  return row != nullptr ? std::optional<CK_ULONG>(row->rv) : NumberFrom(text);
}

std::optional<CK_ULONG> UserFrom(const std::string& text) {
  if (text == "SO") return CKU_SO;
  if (text == "USER") return CKU_USER;
  if (text == "CONTEXT_SPECIFIC") return CKU_CONTEXT_SPECIFIC;
  return NumberFrom(text);
}

std::optional<Bytes> FromHex(const std::string& text) {
  if (text.size() % 2 != 0) return std::nullopt;
  Bytes bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    std::uint8_t byte = 0;
    const auto read = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    if (read.ec != std::errc() || read.ptr != text.data() + i + 2) return std::nullopt;
    bytes.push_back(byte);
  }
  return bytes;
}

std::optional<Bytes> ValueFrom(CK_ATTRIBUTE_TYPE type, const std::string& text) {
  const spec::AttributeRow* row = spec::FindAttribute(type);
  if (row == nullptr) return FromHex(text);
  switch (row->kind) {
    case spec::AttributeKind::kBool:
      return Bytes{static_cast<std::uint8_t>(text == "TRUE" || text == "true" ? CK_TRUE : CK_FALSE)};
    case spec::AttributeKind::kText: return ToBytes(AsBytes(text));
    case spec::AttributeKind::kUlong: {
      std::optional<CK_ULONG> number = NumberFrom(text);
      for (const ClassName& one : kClasses) {
        if (type == CKA_CLASS && text == one.name) number = one.value;
      }
      if (!number) return std::nullopt;
      Bytes bytes(sizeof(CK_ULONG));
      std::memcpy(bytes.data(), &*number, bytes.size());
      return bytes;
    }
    default: return FromHex(text);
  }
}

std::string ValueText(CK_ATTRIBUTE_TYPE type, ByteView value) {
  const spec::AttributeRow* row = spec::FindAttribute(type);
  if (row == nullptr || row->kind != spec::AttributeKind::kText) return Hex(value);
  // A label that was stored with its terminator is written without it.
  std::string text(AsText(value));
  while (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

}  // namespace cmkd::conformance

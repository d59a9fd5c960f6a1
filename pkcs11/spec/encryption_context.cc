// Encoding and strict decoding of encryption contexts.
#include "pkcs11/spec/encryption_context.h"

namespace cmkd::spec {
namespace {

constexpr std::uint8_t kForm = 1;
constexpr std::size_t kPartMax = 0xFFFF;

bool Append(Bytes& bytes, std::string_view part) {
  if (part.size() > kPartMax) return false;
  bytes.push_back(static_cast<std::uint8_t>(part.size() >> 8));
  bytes.push_back(static_cast<std::uint8_t>(part.size() & 0xFF));
  bytes.insert(bytes.end(), part.begin(), part.end());
  return true;
}

std::optional<std::string> Take(ByteView& bytes) {
  if (bytes.size() < 2) return std::nullopt;
  const std::size_t length = static_cast<std::size_t>(bytes[0]) << 8 | bytes[1];
  if (bytes.size() - 2 < length) return std::nullopt;
  std::string part(AsText(bytes.subspan(2, length)));
  bytes = bytes.subspan(2 + length);
  return part;
}

}  // namespace

std::optional<Bytes> EncodeContext(const EncryptionContext& context) {
  if (context.empty()) return Bytes{};
  Bytes bytes = {kForm};
  for (const auto& [name, value] : context) {
    if (name.empty() || !Append(bytes, name) || !Append(bytes, value)) return std::nullopt;
  }
  if (bytes.size() > CMKD_CONTEXT_MAX) return std::nullopt;
  return bytes;
}

std::optional<EncryptionContext> DecodeContext(ByteView bytes) {
  EncryptionContext context;
  if (bytes.empty()) return context;
  if (bytes.size() > CMKD_CONTEXT_MAX || bytes[0] != kForm) return std::nullopt;
  bytes = bytes.subspan(1);
  if (bytes.empty()) return std::nullopt;  // an empty map has no bytes at all
  while (!bytes.empty()) {
    const auto name = Take(bytes);
    if (!name || name->empty()) return std::nullopt;
    const auto value = Take(bytes);
    if (!value) return std::nullopt;
    if (!context.empty() && *name <= context.rbegin()->first) return std::nullopt;
    context.emplace_hint(context.end(), *name, *value);
  }
  return context;
}

}  // namespace cmkd::spec

// The verbs about imported material.
#include <nlohmann/json.hpp>

#include "daemon/admin/verbs.h"
#include "daemon/custody/importer.h"

namespace cmkd::daemon {

namespace {

constexpr std::size_t kWrappedBytesMax = 8192;

// RFC 7468: the public key as openssl reads it.
std::string Pem(ByteView der) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text = "-----BEGIN PUBLIC KEY-----\n";
  std::size_t column = 0;
  for (std::size_t at = 0; at < der.size(); at += 3) {
    const std::size_t left = std::min<std::size_t>(3, der.size() - at);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) bits = bits << 8 | (i < left ? der[at + i] : 0u);
    for (std::size_t i = 0; i < 4; ++i) text.push_back(i <= left ? kDigits[bits >> (18 - 6 * i) & 63] : '=');
    column += 4;
    if (column == 64 || at + 3 >= der.size()) {
      text.push_back('\n');
      column = 0;
    }
  }
  return text + "-----END PUBLIC KEY-----\n";
}

Fallible<Json> GetParameters(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  ASSIGN_OR_RETURN(const std::string name, TextArgument(call.arguments, "algorithm", "RSAES_OAEP_SHA_256"));
  const auto algorithm = ImportAlgorithmFromName(name);
  if (!algorithm)
    return Fail(CKR_ARGUMENTS_BAD, "an algorithm is RSA_AES_KEY_WRAP_SHA_256, RSAES_OAEP_SHA_256 or RSAES_OAEP_SHA_1");
  ASSIGN_OR_RETURN(const auto bits, BoundedArgument(call.arguments, "bits", 2048, 4096));
  const std::int64_t size = bits.value_or(3072);
  if (size % 1024 != 0) return Fail(CKR_ARGUMENTS_BAD, "bits is 2048, 3072 or 4096");
  call.WillChange();
  ASSIGN_OR_RETURN(const ImportParameters made,
                   MakeImportParameters(call.daemon(), id, *algorithm, static_cast<CK_ULONG>(size)));
  return Json{{"import_token", made.token},
              {"algorithm", Name(*algorithm)},
              {"public_key", Pem(made.public_key)},
              {"expires", TimeText(made.expires)}};
}

Fallible<Bytes> HexArgument(const AdminCall& call, const char* name) {
  ASSIGN_OR_RETURN(const std::string text, TextArgument(call.arguments, name));
  if (text.size() % 2 != 0 || text.size() > 2 * kWrappedBytesMax)
    return Fail(CKR_ARGUMENTS_BAD, std::string(name) + " is at most 8192 bytes in hexadecimal");
  Bytes bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    char* end = nullptr;
    const std::string byte = text.substr(i, 2);
    bytes.push_back(static_cast<std::uint8_t>(std::strtoul(byte.c_str(), &end, 16)));
    if (end != byte.c_str() + 2) return Fail(CKR_ARGUMENTS_BAD, std::string(name) + " is hexadecimal");
  }
  return bytes;
}

Fallible<Json> Import(const AdminCall& call) {
  ASSIGN_OR_RETURN(const cmk::CmkId id, FindKey(call));
  ASSIGN_OR_RETURN(const std::string token, TextArgument(call.arguments, "import_token"));
  ASSIGN_OR_RETURN(const Bytes wrapped, HexArgument(call, "wrapped"));
  ASSIGN_OR_RETURN(const auto expiry, BoundedArgument(call.arguments, "expiry", 1, std::int64_t{1} << 40));
  std::optional<Timestamp> expires;
  if (expiry) expires = Timestamp{*expiry};
  call.WillChange();
  ASSIGN_OR_RETURN(const cmk::Cmk key, ImportMaterial(call.daemon(), id, token, wrapped, expires, call.request));
  return Json{{"key", DescribeKey(call.invocation, key, true)}};
}

constexpr Verb kVerbs[] = {
    {"key.import-params", &GetParameters},
    {"key.import", &Import, false, true},
};

}  // namespace

std::span<const Verb> ImportVerbs() { return kVerbs; }

}  // namespace cmkd::daemon

// The curve table and the arithmetic of sizes.
#include "pkcs11/spec/key_facts.h"

#include <algorithm>
#include <array>
#include <bit>

#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {
namespace {

using namespace std::string_view_literals;

constexpr std::array kCurves = {
    Curve{"P-224", CKK_EC, 224, 57, "\x06\x05\x2b\x81\x04\x00\x21"sv, "secp224r1"},
    Curve{"P-256", CKK_EC, 256, 65, "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"sv, "secp256r1"},
    Curve{"P-384", CKK_EC, 384, 97, "\x06\x05\x2b\x81\x04\x00\x22"sv, "secp384r1"},
    Curve{"P-521", CKK_EC, 521, 133, "\x06\x05\x2b\x81\x04\x00\x23"sv, "secp521r1"},
    Curve{"secp256k1", CKK_EC, 256, 65, "\x06\x05\x2b\x81\x04\x00\x0a"sv, "secp256k1"},
    Curve{"brainpoolP224r1", CKK_EC, 224, 57, "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x05"sv, "brainpoolP224r1"},
    Curve{"brainpoolP256r1", CKK_EC, 256, 65, "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x07"sv, "brainpoolP256r1"},
    Curve{"brainpoolP320r1", CKK_EC, 320, 81, "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x09"sv, "brainpoolP320r1"},
    Curve{"brainpoolP384r1", CKK_EC, 384, 97, "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x0b"sv, "brainpoolP384r1"},
    Curve{"brainpoolP512r1", CKK_EC, 512, 129, "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x0d"sv, "brainpoolP512r1"},
    Curve{"SM2", CKK_SM2, 256, 65, "\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d"sv, "sm2p256v1"},
    Curve{"Ed25519", CKK_EC_EDWARDS, 255, 32, "\x06\x03\x2b\x65\x70"sv, "edwards25519"},
    Curve{"Ed448", CKK_EC_EDWARDS, 448, 57, "\x06\x03\x2b\x65\x71"sv, "edwards448"},
    Curve{"X25519", CKK_EC_MONTGOMERY, 255, 32, "\x06\x03\x2b\x65\x6e"sv, "curve25519"},
    Curve{"X448", CKK_EC_MONTGOMERY, 448, 56, "\x06\x03\x2b\x65\x6f"sv, "curve448"},
};

struct Alias {
  std::string_view written;
  std::string_view name;  // of a row above
};

// Other encodings that programs send: the OIDs that GnuPG and older OpenSC gave these curves before RFC 8410.
constexpr std::array kOtherOids = {
    Alias{"\x06\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01"sv, "Ed25519"},
    Alias{"\x06\x0a\x2b\x06\x01\x04\x01\x97\x55\x01\x05\x01"sv, "X25519"},
};
constexpr std::array kOtherNames = {
    Alias{"prime256v1", "P-256"},
};

// Lengths of secret keys in bytes.
struct SecretKind {
  CK_KEY_TYPE type;
  std::uint16_t shortest;
  std::uint16_t longest;
  std::uint16_t step;
  std::uint8_t block;  // of the block cipher, or 0
};
// Generic secrets and all types that HMAC takes: up to 4096 bytes, far above every block size.
constexpr SecretKind kGenericKind = {CKK_GENERIC_SECRET, 1, 4096, 1, 0};
constexpr std::array kSecretKinds = {
    SecretKind{CKK_AES, 16, 32, 8, 16},
    SecretKind{CKK_AES_XTS, 32, 64, 32, 0},
    SecretKind{CKK_SM4, 16, 16, 1, 16},
    SecretKind{CKK_DES, 8, 8, 1, 8},
    SecretKind{CKK_DES2, 16, 16, 1, 8},
    SecretKind{CKK_DES3, 24, 24, 1, 8},
    SecretKind{CKK_CHACHA20, 32, 32, 1, 0},
    SecretKind{CKK_POLY1305, 32, 32, 1, 0},
    // RFC 4226 section 4, requirement 6: at least 128 bits.
    SecretKind{CKK_HOTP, 16, 4096, 1, 0},
};

const SecretKind* FindSecretKind(CK_KEY_TYPE type) {
  for (const SecretKind& kind : kSecretKinds) {
    if (kind.type == type) return &kind;
  }
  return KeyTypeBit(type) == kForGeneric ? &kGenericKind : nullptr;
}

// DER
constexpr std::uint8_t kOctetString = 0x04;
constexpr std::uint8_t kPrintableString = 0x13;
constexpr std::uint8_t kOneLengthByte = 0x81;

// The text of a PrintableString in DER with a length below 128, which every curve name has.
std::string_view CurveNameText(ByteView der) {
  if (der.size() < 2 || der[0] != kPrintableString || der[1] != der.size() - 2) return {};
  return AsText(der.subspan(2));
}

template <class Aliases>
std::string_view AliasOf(const Aliases& aliases, std::string_view written) {
  const auto alias = std::find_if(aliases.begin(), aliases.end(), [&](const Alias& a) { return a.written == written; });
  return alias == aliases.end() ? std::string_view{} : alias->name;
}

template <class Predicate>
const Curve* FirstCurve(Predicate predicate) {
  const auto curve = std::find_if(kCurves.begin(), kCurves.end(), predicate);
  return curve == kCurves.end() ? nullptr : &*curve;
}

std::optional<std::size_t> SecretBits(const Attributes& key) {
  if (const ShortBytes* value = key.Find(CKA_VALUE); value != nullptr && !value->empty()) return value->size() * 8;
  const std::optional<CK_ULONG> bytes = key.Ulong(CKA_VALUE_LEN);
  if (!bytes || *bytes > std::size_t{1} << 32) return std::nullopt;
  return *bytes * 8;
}

std::optional<std::size_t> RsaBits(const Attributes& key) {
  if (const ShortBytes* modulus = key.Find(CKA_MODULUS); modulus != nullptr && !modulus->empty())
    return BitLength(*modulus);
  return key.Ulong(CKA_MODULUS_BITS);
}

}  // namespace

std::span<const Curve> Curves() { return kCurves; }

const Curve* FindCurve(ByteView ec_params) {
  const std::string_view der = AsText(ec_params);
  if (const std::string_view text = CurveNameText(ec_params); !text.empty()) return FindCurveByName(text);
  if (const std::string_view name = AliasOf(kOtherOids, der); !name.empty()) return FindCurveByName(name);
  return FirstCurve([der](const Curve& curve) { return curve.oid == der; });
}

const Curve* FindCurveByName(std::string_view name) {
  const std::string_view alias = AliasOf(kOtherNames, name);
  if (!alias.empty()) name = alias;
  return FirstCurve([name](const Curve& curve) { return curve.name == name || curve.curve_name == name; });
}

bool IsSecretLength(CK_KEY_TYPE key_type, std::size_t bytes) {
  const SecretKind* kind = FindSecretKind(key_type);
  return kind != nullptr && bytes >= kind->shortest && bytes <= kind->longest &&
         (bytes - kind->shortest) % kind->step == 0;
}

std::size_t FixedSecretBytes(CK_KEY_TYPE key_type) {
  const SecretKind* kind = FindSecretKind(key_type);
  return kind != nullptr && kind->shortest == kind->longest ? kind->shortest : 0;
}

std::size_t CipherBlockBytes(CK_KEY_TYPE key_type) {
  const SecretKind* kind = FindSecretKind(key_type);
  return kind == nullptr ? 0 : kind->block;
}

std::optional<std::size_t> KeyBits(const Attributes& key) {
  const std::optional<CK_ULONG> key_type = key.Ulong(CKA_KEY_TYPE);
  if (IsSecretKeyClass(key.Ulong(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION))) {
    const std::size_t fixed = FixedSecretBytes(key_type.value_or(CKK_GENERIC_SECRET));
    return fixed != 0 ? fixed * 8 : SecretBits(key);
  }
  if (!key_type) return std::nullopt;
  if (*key_type == CKK_RSA) return RsaBits(key);
  if ((KeyTypeBit(*key_type) & kForDiscreteLog) != 0) {
    const ByteView prime = key.View(CKA_PRIME);
    if (prime.empty()) return std::nullopt;
    return BitLength(prime);
  }
  const Curve* curve = FindCurve(key.View(CKA_EC_PARAMS));
  if (curve == nullptr) return std::nullopt;
  return curve->bits;
}

ByteView PointOf(ByteView ec_point, const Curve& curve) {
  const std::size_t bytes = curve.point_bytes;
  if (ec_point.size() == bytes) return ec_point;
  // An OCTET STRING's header is two bytes, or three from 128 bytes on; a bare point of another length is no point at
  // all.
  const std::size_t header = bytes < 128 ? 2 : 3;
  if (ec_point.size() != bytes + header || ec_point[0] != kOctetString || ec_point[header - 1] != bytes) return {};
  if (header == 3 && ec_point[1] != kOneLengthByte) return {};
  return ec_point.subspan(header);
}

std::size_t BitLength(ByteView big_integer) {
  const auto first = std::find_if(big_integer.begin(), big_integer.end(), [](std::uint8_t byte) { return byte != 0; });
  if (first == big_integer.end()) return 0;
  const auto bytes = static_cast<std::size_t>(big_integer.end() - first);
  return (bytes - 1) * 8 + static_cast<std::size_t>(std::bit_width(*first));
}

}  // namespace cmkd::spec

// The output rules, one function each where there is anything to say.
#include "pkcs11/spec/mechanism_output.h"

#include <limits>

#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::spec {
namespace {

constexpr std::size_t kAesBlockBytes = 16;
constexpr std::size_t kSemiblockBytes = 8;

// Lengths above this do not fit with what any rule adds.
constexpr std::size_t kInputBytesMax = std::numeric_limits<std::size_t>::max() - 64;

std::size_t Less(std::size_t bytes, std::size_t taken_off) { return bytes > taken_off ? bytes - taken_off : 0; }
std::size_t RoundUp(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

// What the RSA paddings leave room for (RFC 8017 sections 7.1.1 and 7.2.1).
std::size_t ModulusPlaintext(const MechanismRow& row, const CK_MECHANISM& mechanism, std::size_t modulus_bytes) {
  if (row.recipe == Recipe::kRsaPkcs) return Less(modulus_bytes, 11);
  if (row.recipe == Recipe::kRsaOaep && mechanism.ulParameterLen == sizeof(CK_RSA_PKCS_OAEP_PARAMS)) {
    const auto* oaep = static_cast<const CK_RSA_PKCS_OAEP_PARAMS*>(mechanism.pParameter);
    return Less(modulus_bytes, 2 * DigestLength(oaep->hashAlg) + 2);
  }
  return modulus_bytes;
}

// Two coordinates. An Edwards point carries a sign bit beside its 255 or 448, which takes Ed448 to 57 bytes (RFC 8032).
std::size_t CurveSignature(const MechanismRow& row, std::size_t key_bits) {
  const std::size_t bits = row.recipe == Recipe::kEddsa ? key_bits + 1 : key_bits;
  return 2 * ((bits + 7) / 8);
}

}  // namespace

std::optional<std::size_t> OutputLength(const MechanismRow& row, const CK_MECHANISM& mechanism, std::size_t key_bits,
                                        std::size_t input_bytes, bool encrypting) {
  if (input_bytes > kInputBytesMax) return std::nullopt;
  switch (row.output) {
    case OutputRule::kNone: return std::nullopt;
    case OutputRule::kSameLength: return input_bytes;
    case OutputRule::kPadded: return encrypting ? (input_bytes / kAesBlockBytes + 1) * kAesBlockBytes : input_bytes;
    case OutputRule::kPlusTag: {
      const std::size_t tag_bytes = ReadGcm(mechanism).tag_bits / 8;
      return encrypting ? input_bytes + tag_bytes : Less(input_bytes, tag_bytes);
    }
    case OutputRule::kKeyWrap:  // keys of other lengths are padded with zeros, so both round up
    case OutputRule::kKeyWrapPad:
      return encrypting ? RoundUp(input_bytes, kSemiblockBytes) + kSemiblockBytes : Less(input_bytes, kSemiblockBytes);
    case OutputRule::kDigest: return DigestLength(row.digest);
    case OutputRule::kMac: return row.digest != 0 ? DigestLength(row.digest) : kAesBlockBytes;
    case OutputRule::kModulus: {
      const std::size_t modulus_bytes = (key_bits + 7) / 8;
      return encrypting ? modulus_bytes : ModulusPlaintext(row, mechanism, modulus_bytes);
    }
    case OutputRule::kCurve: return CurveSignature(row, key_bits);
  }
  return std::nullopt;
}

}  // namespace cmkd::spec

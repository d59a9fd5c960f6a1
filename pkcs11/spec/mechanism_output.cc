// The output rules, one function each where there is anything to say.
#include "pkcs11/spec/mechanism_output.h"

#include <limits>

#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/otp.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {
namespace {

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

// The block that a padding of this row fills up.
std::size_t PaddedBlock(const MechanismRow& row) {
  const std::size_t block = CipherBlockBytes(row.key_type);
  return block == 0 ? 16 : block;
}

std::size_t DigestBytes(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  return row.digest == CKM_SHA512_T ? ReadHashBits(row, mechanism) : DigestLength(row.digest);
}

// SM2: an uncompressed point of 256 bits and a digest of SM3, beside the text.
constexpr std::size_t kSm2Overhead = 1 + 64 + 32;

// The two parts of a wrapped key that carries its own wrapping key: what makes the temporary key known to the
// recipient (an RSA block, or a point), and AES KWP of the key.
std::size_t Envelope(const MechanismRow& row, std::size_t key_bits, std::size_t input_bytes, bool encrypting) {
  const std::size_t field_bytes = (key_bits + 7) / 8;
  const bool montgomery = row.key_type == CKK_EC_MONTGOMERY;
  const std::size_t carrier = row.recipe == Recipe::kRsaAesWrap ? field_bytes
                              : montgomery                      ? field_bytes
                                                                : 1 + 2 * field_bytes;
  if (!encrypting) return Less(input_bytes, carrier + kSemiblockBytes);
  return carrier + RoundUp(input_bytes, kSemiblockBytes) + kSemiblockBytes;
}

std::optional<std::size_t> Managed(std::size_t input_bytes, bool encrypting) {
  const std::size_t added = encrypting ? 0 : CMKD_MANAGED_OVERHEAD;
  if (input_bytes < added || input_bytes - added > CMKD_MANAGED_PLAINTEXT_MAX) return std::nullopt;
  return encrypting ? input_bytes + CMKD_MANAGED_OVERHEAD : input_bytes - CMKD_MANAGED_OVERHEAD;
}

std::size_t TagBytes(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  if (row.parameter == ParameterKind::kGcm) return ReadGcm(mechanism).tag_bits / 8;
  if (row.parameter == ParameterKind::kCcm) return ReadCcm(mechanism).mac_bytes;
  return 16;
}

}  // namespace

std::size_t MacLength(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  switch (row.recipe) {
    case Recipe::kHmac: return ReadHashBits(row, mechanism);
    case Recipe::kCbcMac: return row.output == OutputRule::kMacGeneral ? PaddedBlock(row) : PaddedBlock(row) / 2;
    case Recipe::kCmac: return PaddedBlock(row);
    case Recipe::kXcbcMac: return row.type == CKM_AES_XCBC_MAC_96 ? 12 : 16;
    case Recipe::kGmac: return ReadGcm(mechanism).tag_bits / 8;
    case Recipe::kTlsMac: return ReadTlsMac(row, mechanism).mac_bytes;
    default: return 16;
  }
}

std::size_t OutputBits(const MechanismRow& row, const Attributes& key) {
  return row.output == OutputRule::kSubprime ? BitLength(key.View(CKA_SUBPRIME)) : KeyBits(key).value_or(0);
}

std::optional<std::size_t> OutputLength(const MechanismRow& row, const CK_MECHANISM& mechanism, std::size_t key_bits,
                                        std::size_t input_bytes, bool encrypting) {
  if (input_bytes > kInputBytesMax) return std::nullopt;
  switch (row.output) {
    case OutputRule::kNone: return std::nullopt;
    case OutputRule::kSameLength: return input_bytes;
    case OutputRule::kPadded: {
      const std::size_t block = PaddedBlock(row);
      return encrypting ? (input_bytes / block + 1) * block : input_bytes;
    }
    case OutputRule::kPlusTag: {
      const std::size_t tag_bytes = TagBytes(row, mechanism);
      return encrypting ? input_bytes + tag_bytes : Less(input_bytes, tag_bytes);
    }
    case OutputRule::kKeyWrap:  // keys of other lengths are padded with zeros, to two semiblocks at least
      return encrypting ? std::max(RoundUp(input_bytes, kSemiblockBytes), 2 * kSemiblockBytes) + kSemiblockBytes
                        : Less(input_bytes, kSemiblockBytes);
    case OutputRule::kKeyWrapPad:
      return encrypting ? RoundUp(input_bytes, kSemiblockBytes) + kSemiblockBytes : Less(input_bytes, kSemiblockBytes);
    case OutputRule::kKeyWrapPkcs7:
      return encrypting ? (input_bytes / kSemiblockBytes + 2) * kSemiblockBytes : Less(input_bytes, kSemiblockBytes);
    case OutputRule::kDigest: return DigestBytes(row, mechanism);
    case OutputRule::kMac: return MacLength(row, mechanism);
    case OutputRule::kMacGeneral: return ReadMacGeneral(mechanism);
    case OutputRule::kModulus: {
      const std::size_t modulus_bytes = (key_bits + 7) / 8;
      return encrypting ? modulus_bytes : ModulusPlaintext(row, mechanism, modulus_bytes);
    }
    case OutputRule::kCurve: return CurveSignature(row, key_bits);
    case OutputRule::kSubprime: return 2 * ((key_bits + 7) / 8);
    case OutputRule::kSm2: return encrypting ? input_bytes + kSm2Overhead : Less(input_bytes, kSm2Overhead);
    case OutputRule::kManaged: return Managed(input_bytes, encrypting);
    case OutputRule::kOtp: return kOtpSignatureBytes;
    case OutputRule::kEnvelope: return Envelope(row, key_bits, input_bytes, encrypting);
  }
  return std::nullopt;
}

}  // namespace cmkd::spec

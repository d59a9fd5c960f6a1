// Small facts about keys that follow from their attributes: curves by CKA_EC_PARAMS, sizes in bits. No key is used
// here.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "common/bytes.h"
#include "pkcs11/spec/attributes.h"
#include "pkcs11/spec/cryptoki.h"

namespace cmkd::spec {

struct Curve {
  std::string_view name;        // as it is printed: P-256, Ed25519
  CK_KEY_TYPE key_type;         // CKK_EC, CKK_EC_EDWARDS, CKK_EC_MONTGOMERY
  std::uint16_t bits;           // as C_GetMechanismInfo counts: 255 and 448 for the RFC 7748 and 8032 curves
  std::uint16_t point_bytes;    // of a public key without DER: 04‖x‖y, or the one coordinate
  std::string_view oid;         // DER of the choice oId, tag and length included
  std::string_view curve_name;  // the usual text of the choice curveName
};

std::span<const Curve> Curves();

// The curve that CKA_EC_PARAMS means, as oId or as curveName, or nullptr. Explicit parameters are never accepted: they
// have carried attacks with chosen generators, and no program needs them.
const Curve* FindCurve(ByteView ec_params);

// By printed name or curveName, for configuration and tools; nullptr if unknown.
const Curve* FindCurveByName(std::string_view name);

// Whether a secret key of this type may be this many bytes long; false for types that are not secret keys.
bool IsSecretLength(CK_KEY_TYPE key_type, std::size_t bytes);

// The one length in bytes that secret keys of this type have, or 0: there are several, or it is no such type.
std::size_t FixedSecretBytes(CK_KEY_TYPE key_type);

// The block cipher of a key type: AES, SM4 and the DES family; 0 for other types.
std::size_t CipherBlockBytes(CK_KEY_TYPE key_type);

// Size of a key in bits as the mechanism table counts: AES and secrets by CKA_VALUE or CKA_VALUE_LEN, RSA by
// CKA_MODULUS or CKA_MODULUS_BITS, DSA and Diffie-Hellman by CKA_PRIME, curves by CKA_EC_PARAMS. nullopt when the
// attributes do not say.
std::optional<std::size_t> KeyBits(const Attributes& key);

// The point in a CKA_EC_POINT of this curve, whether it came bare or as a DER OCTET STRING (the standard has the second
// for CKK_EC; programs send both). Empty when it is neither. Whether it is on the curve is for the HSM to say.
ByteView PointOf(ByteView ec_point, const Curve& curve);

// Bits of an unsigned big-endian number; leading zeros do not count.
std::size_t BitLength(ByteView big_integer);

}  // namespace cmkd::spec

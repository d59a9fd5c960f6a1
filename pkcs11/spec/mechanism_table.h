// The mechanism table: one row for each mechanism. Policy, length answers, parameter marshalling, C_GetMechanismInfo,
// version search, the simulator and the conformance tests read it; nothing about a mechanism is written anywhere else.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::spec {

// How pParameter is laid out; mechanism_parameters.h has the fields of each kind.
enum class ParameterKind : std::uint8_t {
  kNone,              // must be absent
  kIv16,              // the bytes of an IV of one AES block
  kIv8,               // the same for 64-bit blocks
  kOptionalIv8,       // absent or 8 bytes (AES KW)
  kOptionalIv4,       // absent or 4 bytes (AES KWP)
  kUlong,             // one CK_ULONG: a bit position
  kMacGeneral,        // CK_MAC_GENERAL_PARAMS: bytes of a MAC
  kHashBits,          // the t of SHA-512/t
  kAesCtr,            // CK_AES_CTR_PARAMS
  kGcm,               // CK_GCM_PARAMS, also in the older form without ulIvBits, and CK_GCM_WRAP_PARAMS
  kCcm,               // CK_CCM_PARAMS and CK_CCM_WRAP_PARAMS
  kChacha20,          // CK_CHACHA20_PARAMS
  kChacha20Poly1305,  // CK_SALSA20_CHACHA20_POLY1305_PARAMS
  kPss,               // CK_RSA_PKCS_PSS_PARAMS
  kOaep,              // CK_RSA_PKCS_OAEP_PARAMS
  kRsaAesWrap,        // CK_RSA_AES_KEY_WRAP_PARAMS
  kEcdh1,             // CK_ECDH1_DERIVE_PARAMS
  kEcdhAesWrap,       // CK_ECDH_AES_KEY_WRAP_PARAMS
  kX942Dh,            // CK_X9_42_DH1_DERIVE_PARAMS
  kDhPublic,          // the other side's public value, flat
  kEddsa,             // absent, or CK_EDDSA_PARAMS
  kHkdf,              // CK_HKDF_PARAMS
  kSp800Kdf,          // CK_SP800_108_KDF_PARAMS
  kSp800Feedback,     // CK_SP800_108_FEEDBACK_KDF_PARAMS
  kPbkdf2,            // CK_PKCS5_PBKD2_PARAMS2
  kKeyHandle,         // CK_OBJECT_HANDLE of a second key
  kStringData,        // CK_KEY_DERIVATION_STRING_DATA
  kIvAndData8,        // CK_DES_CBC_ENCRYPT_DATA_PARAMS
  kIvAndData16,       // CK_AES_CBC_ENCRYPT_DATA_PARAMS
  kVersion,           // CK_VERSION
  kTlsMaster,         // CK_SSL3_MASTER_KEY_DERIVE_PARAMS
  kTls12Master,       // CK_TLS12_MASTER_KEY_DERIVE_PARAMS
  kTls12Extended,     // CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS
  kTlsKeyMaterial,    // CK_SSL3_KEY_MAT_PARAMS
  kTls12KeyMaterial,  // CK_TLS12_KEY_MAT_PARAMS
  kTlsKdf,            // CK_TLS_KDF_PARAMS
  kTlsMac,            // CK_TLS_MAC_PARAMS
  kTlsPrf,            // CK_TLS_PRF_PARAMS
  kOtp,               // CK_OTP_PARAMS
  kDsaSeed,           // CK_DSA_PARAMETER_GEN_PARAM whose seed is read
  kDsaSeedOut,        // the same, whose seed the token gives, as long as the caller says
  kManaged,           // absent, or CK_CMKD_MANAGED_PARAMS
  kBytes,             // any flat bytes: vendor mechanisms and those whose parameter has no pointers
  kCount
};

// What the simulator runs. With `digest` (a digest mechanism, or 0) it says all that the crypto library has to know.
enum class Recipe : std::uint8_t {
  kKeyGen,  // random bytes of the row's key type
  kRsaKeyPairGen,
  kEcKeyPairGen,
  kEdwardsKeyPairGen,
  kMontgomeryKeyPairGen,
  kDsaKeyPairGen,
  kDhKeyPairGen,
  kDomainGen,  // domain parameters of the row's key type
  kTlsPreMaster,
  // Block modes; the key type says which block cipher.
  kEcb,
  kCbc,
  kCbcPad,
  kCtr,
  kOfb,
  kCfb1,
  kCfb8,
  kCfb64,
  kCfb128,
  kCts,
  kXts,
  kAesGcm,
  kAesCcm,
  kAesKw,
  kAesKwp,
  kAesKwPkcs7,
  kChacha20,
  kChacha20Poly1305,
  kCmac,
  kCbcMac,
  kXcbcMac,
  kGmac,
  kPoly1305,
  kHmac,
  kTlsMac,
  kDigest,
  kRsaPkcs,  // PKCS #1 v1.5; with a digest: DigestInfo made inside
  kRsaPss,
  kRsaOaep,
  kRsaX509,
  kRsaX931,
  kRsaAesWrap,
  kEcdhAesWrap,
  kEcdsa,  // with a digest: hashed inside
  kEddsa,
  kDsa,
  kSm2Sign,
  kSm2Encrypt,
  kEcdh1,
  kDh,
  kX942Dh,
  kHkdf,
  kHkdfData,
  kSp800Counter,
  kSp800Feedback,
  kSp800DoublePipeline,
  kPbkdf2,
  kDigestDerive,
  kShakeDerive,
  kConcatenateKeys,
  kConcatenateBaseAndData,
  kConcatenateDataAndBase,
  kXorData,
  kExtractBits,
  kEcbEncryptData,
  kCbcEncryptData,
  kTlsMaster,
  kTlsExtendedMaster,
  kTlsKdf,
  kPublicFromPrivate,
  // Made of kTlsKdf and kExtractBits, and of kTlsKdf (daemon/service/tls_keys.h).
  kTlsKeyMaterial,
  kTlsPrf,
  // Made of HMAC-SHA-1 and a counter in the store (daemon/service/hotp.h), with a generic secret in the device.
  kHotpKeyGen,
  kHotp,
  // The daemon makes it of kAesGcm and kEcb (daemon/service/managed_cipher.h), as it makes kHkdfData, kDomainGen and
  // kPublicFromPrivate (daemon/service/public_objects.h).
  kManaged,
};

// Unit in which C_GetMechanismInfo shows key sizes; the columns of the table are always bits.
enum class SizeUnit : std::uint8_t { kNone, kBits, kBytes };

// How long the output is (mechanism_output.h computes it).
enum class OutputRule : std::uint8_t {
  kNone,          // generates or derives: no output buffer
  kSameLength,    // stream and unpadded block modes
  kPadded,        // input rounded up to the next whole block, at least one byte more
  kPlusTag,       // input plus the tag of an AEAD parameter
  kKeyWrap,       // input plus 8
  kKeyWrapPad,    // input rounded up to 8, plus 8
  kKeyWrapPkcs7,  // input padded to 8, at least one byte more, plus 8
  kDigest,        // length of the digest
  kMac,           // length of the MAC that the recipe makes
  kMacGeneral,    // as many bytes of it as the parameter says
  kModulus,       // length of the RSA modulus; decryption gives at most that
  kCurve,         // two coordinates of the curve
  kSubprime,      // two numbers of DSA's second prime
  kSm2,           // a point, a digest and the input
  kManaged,       // input plus header and tag, up to its limit
  kOtp,           // CK_OTP_SIGNATURE_INFO and what it leads to
  kEnvelope,      // what carries a temporary AES key to the recipient, and the key wrapped under it
};

enum class Parts : std::uint8_t { kSingle, kMulti };

// How the version that made a ciphertext or MAC is found after a rotation (kms-semantics C.4).
enum class VersionSearch : std::uint8_t {
  kFixed,      // a wrong key gives plausible garbage: keys that allow this mechanism do not rotate in place
  kTrial,      // an integrity check decides: current version first, then older ones
  kHeader,     // the ciphertext names it
  kOwnObject,  // each version of a key pair is an object of its own, and digests have no key: nothing to search
};

// A mechanism with kLegacy is listed and usable only where the token's policy turns it on.
enum class Standing : std::uint8_t { kApproved, kLegacy };

// Any secret key; for kPublicFromPrivate any private key.
inline constexpr CK_KEY_TYPE kAnyKeyType = static_cast<CK_KEY_TYPE>(-1);
inline constexpr CK_KEY_TYPE kNoKeyType = static_cast<CK_KEY_TYPE>(-2);

struct MechanismRow {
  CK_MECHANISM_TYPE type;
  std::string_view name;  // the standard's, with CKM_
  ParameterKind parameter;
  CK_KEY_TYPE key_type;        // the type used or made; kNoKeyType for digests
  CK_KEY_TYPE other_key_type;  // a second type that may be used (HMAC: generic and typed), or kNoKeyType
  std::uint32_t key_bits_min;  // always bits
  std::uint32_t key_bits_max;
  SizeUnit shown_in;
  CK_FLAGS operations;  // CKF_ENCRYPT | CKF_DECRYPT | … as C_GetMechanismInfo shows them
  OutputRule output;
  Parts parts;
  VersionSearch versions;
  Standing standing;
  Recipe recipe;
  CK_MECHANISM_TYPE digest;  // the digest mechanism that the recipe uses, or 0
  std::string_view vectors;  // where its known answers are: a file of the vectors, or the test that has them
};

// All rows, sorted by type.
std::span<const MechanismRow> Mechanisms();

// The row of a mechanism, or nullptr.
const MechanismRow* FindMechanism(CK_MECHANISM_TYPE type);

// Bytes of the digest that a digest mechanism makes (CKM_SHA256: 32); 0 if it is not one. SHA-512/t, whose parameter
// says how many, counts with the most, 64.
std::size_t DigestLength(CK_MECHANISM_TYPE digest);

// Whether a key that is used in this way finds the version again after a rotation, so that it may rotate in place.
constexpr bool FindsVersions(VersionSearch search) {
  return search == VersionSearch::kTrial || search == VersionSearch::kHeader;
}

// Whether the daemon makes the mechanism of others, or of nothing secret; devices need not have it.
constexpr bool IsMadeHere(const MechanismRow& row) {
  return row.recipe == Recipe::kManaged || row.recipe == Recipe::kHkdfData || row.recipe == Recipe::kDomainGen ||
         row.recipe == Recipe::kPublicFromPrivate || row.recipe == Recipe::kTlsKeyMaterial ||
         row.recipe == Recipe::kTlsPrf || row.recipe == Recipe::kHotpKeyGen || row.recipe == Recipe::kHotp;
}

// Whether what a recipe derives takes over the secrecy of the keys it is made of whatever the template says: anybody
// could compute one from the other, or brute force a part of it (PKCS#11 3.2, "Miscellaneous simple key derivation
// mechanisms"). Whoever knows the base key can turn SP 800-108 with CMAC around, and has a key that is a part of its
// input.
bool InheritsSecrecy(Recipe recipe, bool other_keys = false);

}  // namespace cmkd::spec

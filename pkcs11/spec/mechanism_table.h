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
  kNone,         // must be absent
  kIv16,         // the bytes of an IV of one AES block
  kIv8,          // the same for 64-bit blocks, or the optional 8-byte initial value of AES key wrap
  kOptionalIv8,  // absent or 8 bytes (AES KW)
  kOptionalIv4,  // absent or 4 bytes (AES KWP)
  kUlong,        // one CK_ULONG (a MAC length, a bit position)
  kAesCtr,       // CK_AES_CTR_PARAMS
  kGcm,          // CK_GCM_PARAMS, also in the older form without ulIvBits
  kPss,          // CK_RSA_PKCS_PSS_PARAMS
  kOaep,         // CK_RSA_PKCS_OAEP_PARAMS
  kEcdh1,        // CK_ECDH1_DERIVE_PARAMS
  kEddsa,        // absent, or CK_EDDSA_PARAMS
  kBytes,        // any flat bytes: vendor mechanisms and those whose parameter has no pointers
  kCount
};

// What the simulator runs. With `digest` (a digest mechanism, or 0) it says all that the crypto library has to know.
enum class Recipe : std::uint8_t {
  kKeyGen,  // random bytes of the row's key type
  kRsaKeyPairGen,
  kEcKeyPairGen,
  kEdwardsKeyPairGen,
  kMontgomeryKeyPairGen,
  kAesEcb,
  kAesCbc,
  kAesCbcPad,
  kAesCtr,
  kAesGcm,
  kAesKw,
  kAesKwp,
  kAesCmac,
  kHmac,
  kDigest,
  kRsaPkcs,  // PKCS #1 v1.5; with a digest: DigestInfo made inside
  kRsaPss,
  kRsaOaep,
  kRsaX509,
  kEcdsa,  // with a digest: hashed inside
  kEddsa,
  kEcdh1,
};

// Unit in which C_GetMechanismInfo shows key sizes; the columns of the table are always bits.
enum class SizeUnit : std::uint8_t { kNone, kBits, kBytes };

// How long the output is (mechanism_output.h computes it).
enum class OutputRule : std::uint8_t {
  kNone,        // generates or derives: no output buffer
  kSameLength,  // stream and unpadded block modes
  kPadded,      // input rounded up to the next whole block, at least one byte more
  kPlusTag,     // input plus the tag of the GCM parameter
  kKeyWrap,     // input plus 8
  kKeyWrapPad,  // input rounded up to 8, plus 8
  kDigest,      // length of the digest
  kMac,         // length of the digest's MAC, or one AES block
  kModulus,     // length of the RSA modulus; decryption gives at most that
  kCurve,       // two coordinates of the curve
};

enum class Parts : std::uint8_t { kSingle, kMulti };

// How the version that made a ciphertext or MAC is found after a rotation (kms-semantics C.4).
enum class VersionSearch : std::uint8_t {
  kFixed,      // a wrong key gives plausible garbage: keys that allow this mechanism do not rotate in place
  kTrial,      // an integrity check decides: current version first, then older ones
  kOwnObject,  // each version of a key pair is an object of its own, and digests have no key: nothing to search
};

// A mechanism with kLegacy is listed and usable only where the token's policy turns it on.
enum class Standing : std::uint8_t { kApproved, kLegacy };

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

// Bytes of the digest that a digest mechanism makes (CKM_SHA256: 32); 0 if it is not one.
std::size_t DigestLength(CK_MECHANISM_TYPE digest);

}  // namespace cmkd::spec

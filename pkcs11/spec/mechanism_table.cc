// The rows of the mechanism table. A new mechanism is one line here, its known answers, and nothing else.
#include "pkcs11/spec/mechanism_table.h"

#include <algorithm>
#include <array>

namespace cmkd::spec {
namespace {

using P = ParameterKind;
using O = OutputRule;
using V = VersionSearch;
using R = Recipe;
constexpr Standing kApproved = Standing::kApproved;
constexpr Standing kLegacy = Standing::kLegacy;
constexpr Parts kOne = Parts::kSingle;
constexpr Parts kMany = Parts::kMulti;

constexpr CK_FLAGS kCipher = CKF_ENCRYPT | CKF_DECRYPT;
constexpr CK_FLAGS kMessages = CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT;
constexpr CK_FLAGS kWrapping = CKF_WRAP | CKF_UNWRAP;
constexpr CK_FLAGS kSigning = CKF_SIGN | CKF_VERIFY;
constexpr CK_FLAGS kPairs = CKF_GENERATE_KEY_PAIR;
constexpr CK_FLAGS kNamed = CKF_EC_F_P | CKF_EC_OID | CKF_EC_CURVENAME;
constexpr CK_FLAGS kPoint = kNamed | CKF_EC_UNCOMPRESS;

// RSA keys below 2048 bits are of no use any more (SP 800-131A); above 8192 generation takes minutes.
constexpr std::uint32_t kRsaMin = 2048, kRsaMax = 16384, kRsaMadeMax = 8192;
// HMAC keys of any length that programs use; 4096 bytes is far above every block size.
constexpr std::uint32_t kSecretMin = 8, kSecretMax = 32768;

// Rows without a file of vectors have their known answers in this test.
constexpr std::string_view kKnown = "known_answers_test";

struct Name {
  CK_MECHANISM_TYPE type;
  std::string_view text;
};
#define CMKD_NAMED(name) \
  Name { CKM_##name, "CKM_" #name }

// The columns that a family of mechanisms shares.
constexpr MechanismRow Rsa(Name name, P parameter, CK_FLAGS operations, Parts parts, Standing standing, R recipe,
                           CK_MECHANISM_TYPE digest, std::string_view vectors) {
  return {name.type,  name.text,   parameter, CKK_RSA,       kNoKeyType, kRsaMin, kRsaMax, SizeUnit::kBits,
          operations, O::kModulus, parts,     V::kOwnObject, standing,   recipe,  digest,  vectors};
}

constexpr MechanismRow Digest(Name name) {
  return {name.type,  name.text,  P::kNone, kNoKeyType,    kNoKeyType, 0,          0,         SizeUnit::kNone,
          CKF_DIGEST, O::kDigest, kMany,    V::kOwnObject, kApproved,  R::kDigest, name.type, kKnown};
}

constexpr MechanismRow Hmac(Name name, CK_KEY_TYPE typed, CK_MECHANISM_TYPE digest, std::string_view vectors) {
  return {name.type, name.text, P::kNone, CKK_GENERIC_SECRET, typed,     kSecretMin, kSecretMax, SizeUnit::kBytes,
          kSigning,  O::kMac,   kMany,    V::kTrial,          kApproved, R::kHmac,   digest,     vectors};
}

constexpr MechanismRow Ecdsa(Name name, Parts parts, Standing standing, CK_MECHANISM_TYPE digest,
                             std::string_view vectors) {
  return {name.type,         name.text, P::kNone, CKK_EC,        kNoKeyType, 224,       521,    SizeUnit::kBits,
          kSigning | kPoint, O::kCurve, parts,    V::kOwnObject, standing,   R::kEcdsa, digest, vectors};
}

constexpr MechanismRow Curve(Name name, P parameter, CK_KEY_TYPE key_type, CK_KEY_TYPE other, std::uint32_t bits_min,
                             std::uint32_t bits_max, CK_FLAGS operations, O output, R recipe,
                             std::string_view vectors) {
  return {name.type,  name.text, parameter, key_type,      other,     bits_min, bits_max, SizeUnit::kBits,
          operations, output,    kOne,      V::kOwnObject, kApproved, recipe,   0,        vectors};
}

constexpr MechanismRow Aes(Name name, P parameter, CK_FLAGS operations, O output, Parts parts, V versions,
                           Standing standing, R recipe, std::string_view vectors) {
  return {name.type,  name.text, parameter, CKK_AES,  kNoKeyType, 128,    256, SizeUnit::kBytes,
          operations, output,    parts,     versions, standing,   recipe, 0,   vectors};
}

// clang-format off
constexpr std::array kRows = {
  MechanismRow{CKM_RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN", P::kNone, CKK_RSA, kNoKeyType, kRsaMin, kRsaMadeMax,
               SizeUnit::kBits, kPairs, O::kNone, kOne, V::kOwnObject, kApproved, R::kRsaKeyPairGen, 0, kKnown},
  Rsa(CMKD_NAMED(RSA_PKCS), P::kNone, kCipher | kSigning | kWrapping, kOne, kApproved, R::kRsaPkcs, 0, "rsa_pkcs1_2048_test.json"),
  Rsa(CMKD_NAMED(RSA_X_509), P::kNone, kCipher | kSigning, kOne, kLegacy, R::kRsaX509, 0, kKnown),
  Rsa(CMKD_NAMED(SHA1_RSA_PKCS), P::kNone, kSigning, kMany, kLegacy, R::kRsaPkcs, CKM_SHA_1, "rsa_pkcs1_2048_sig_gen_test.json"),
  Rsa(CMKD_NAMED(RSA_PKCS_OAEP), P::kOaep, kCipher | kWrapping, kOne, kApproved, R::kRsaOaep, 0, "rsa_oaep_2048_sha256_mgf1sha256_test.json"),
  Rsa(CMKD_NAMED(RSA_PKCS_PSS), P::kPss, kSigning, kOne, kApproved, R::kRsaPss, 0, "rsa_pss_2048_sha256_mgf1_32_test.json"),
  Rsa(CMKD_NAMED(SHA1_RSA_PKCS_PSS), P::kPss, kSigning, kMany, kLegacy, R::kRsaPss, CKM_SHA_1, kKnown),
  Rsa(CMKD_NAMED(SHA256_RSA_PKCS), P::kNone, kSigning, kMany, kApproved, R::kRsaPkcs, CKM_SHA256, "rsa_signature_2048_sha256_test.json"),
  Rsa(CMKD_NAMED(SHA384_RSA_PKCS), P::kNone, kSigning, kMany, kApproved, R::kRsaPkcs, CKM_SHA384, "rsa_pkcs1_2048_sig_gen_test.json"),
  Rsa(CMKD_NAMED(SHA512_RSA_PKCS), P::kNone, kSigning, kMany, kApproved, R::kRsaPkcs, CKM_SHA512, "rsa_signature_2048_sha512_test.json"),
  Rsa(CMKD_NAMED(SHA256_RSA_PKCS_PSS), P::kPss, kSigning, kMany, kApproved, R::kRsaPss, CKM_SHA256, "rsa_pss_2048_sha256_mgf1_32_test.json"),
  Rsa(CMKD_NAMED(SHA384_RSA_PKCS_PSS), P::kPss, kSigning, kMany, kApproved, R::kRsaPss, CKM_SHA384, kKnown),
  Rsa(CMKD_NAMED(SHA512_RSA_PKCS_PSS), P::kPss, kSigning, kMany, kApproved, R::kRsaPss, CKM_SHA512, kKnown),
  Rsa(CMKD_NAMED(SHA224_RSA_PKCS), P::kNone, kSigning, kMany, kApproved, R::kRsaPkcs, CKM_SHA224, "rsa_pkcs1_2048_sig_gen_test.json"),
  Rsa(CMKD_NAMED(SHA224_RSA_PKCS_PSS), P::kPss, kSigning, kMany, kApproved, R::kRsaPss, CKM_SHA224, kKnown),
  Digest(CMKD_NAMED(SHA512_224)),
  Digest(CMKD_NAMED(SHA512_256)),
  Digest(CMKD_NAMED(SHA_1)),
  Hmac(CMKD_NAMED(SHA_1_HMAC), CKK_SHA_1_HMAC, CKM_SHA_1, kKnown),
  Digest(CMKD_NAMED(SHA256)),
  Hmac(CMKD_NAMED(SHA256_HMAC), CKK_SHA256_HMAC, CKM_SHA256, "hmac_sha256_test.json"),
  Digest(CMKD_NAMED(SHA224)),
  Hmac(CMKD_NAMED(SHA224_HMAC), CKK_SHA224_HMAC, CKM_SHA224, kKnown),
  Digest(CMKD_NAMED(SHA384)),
  Hmac(CMKD_NAMED(SHA384_HMAC), CKK_SHA384_HMAC, CKM_SHA384, kKnown),
  Digest(CMKD_NAMED(SHA512)),
  Hmac(CMKD_NAMED(SHA512_HMAC), CKK_SHA512_HMAC, CKM_SHA512, "hmac_sha512_test.json"),
  // Its sizes are shown in bits, as the standard says for this one secret key mechanism.
  MechanismRow{CKM_GENERIC_SECRET_KEY_GEN, "CKM_GENERIC_SECRET_KEY_GEN", P::kNone, CKK_GENERIC_SECRET, kNoKeyType, kSecretMin, kSecretMax,
               SizeUnit::kBits, CKF_GENERATE, O::kNone, kOne, V::kOwnObject, kApproved, R::kKeyGen, 0, kKnown},
  Curve(CMKD_NAMED(EC_KEY_PAIR_GEN), P::kNone, CKK_EC, kNoKeyType, 224, 521, kPairs | kPoint, O::kNone, R::kEcKeyPairGen, kKnown),
  Ecdsa(CMKD_NAMED(ECDSA), kOne, kApproved, 0, kKnown),
  Ecdsa(CMKD_NAMED(ECDSA_SHA1), kMany, kLegacy, CKM_SHA_1, kKnown),
  Ecdsa(CMKD_NAMED(ECDSA_SHA224), kMany, kApproved, CKM_SHA224, kKnown),
  Ecdsa(CMKD_NAMED(ECDSA_SHA256), kMany, kApproved, CKM_SHA256, "ecdsa_secp256r1_sha256_p1363_test.json"),
  Ecdsa(CMKD_NAMED(ECDSA_SHA384), kMany, kApproved, CKM_SHA384, "ecdsa_secp384r1_sha384_test.json"),
  Ecdsa(CMKD_NAMED(ECDSA_SHA512), kMany, kApproved, CKM_SHA512, "ecdsa_secp521r1_sha512_test.json"),
  Curve(CMKD_NAMED(ECDH1_DERIVE), P::kEcdh1, CKK_EC, CKK_EC_MONTGOMERY, 224, 521, CKF_DERIVE | kPoint, O::kNone, R::kEcdh1, "ecdh_secp256r1_ecpoint_test.json"),
  Curve(CMKD_NAMED(EC_EDWARDS_KEY_PAIR_GEN), P::kNone, CKK_EC_EDWARDS, kNoKeyType, 255, 448, kPairs | kNamed, O::kNone, R::kEdwardsKeyPairGen, kKnown),
  Curve(CMKD_NAMED(EC_MONTGOMERY_KEY_PAIR_GEN), P::kNone, CKK_EC_MONTGOMERY, kNoKeyType, 255, 448, kPairs | kNamed, O::kNone, R::kMontgomeryKeyPairGen, kKnown),
  Curve(CMKD_NAMED(EDDSA), P::kEddsa, CKK_EC_EDWARDS, kNoKeyType, 255, 448, kSigning | kNamed, O::kCurve, R::kEddsa, "ed25519_test.json"),
  Aes(CMKD_NAMED(AES_KEY_GEN), P::kNone, CKF_GENERATE, O::kNone, kOne, V::kOwnObject, kApproved, R::kKeyGen, kKnown),
  Aes(CMKD_NAMED(AES_ECB), P::kNone, kCipher, O::kSameLength, kMany, V::kFixed, kLegacy, R::kAesEcb, kKnown),
  Aes(CMKD_NAMED(AES_CBC), P::kIv16, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kAesCbc, kKnown),
  Aes(CMKD_NAMED(AES_CBC_PAD), P::kIv16, kCipher | kWrapping, O::kPadded, kMany, V::kFixed, kApproved, R::kAesCbcPad, "aes_cbc_pkcs5_test.json"),
  Aes(CMKD_NAMED(AES_CTR), P::kAesCtr, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kAesCtr, kKnown),
  Aes(CMKD_NAMED(AES_GCM), P::kGcm, kCipher | kMessages, O::kPlusTag, kMany, V::kTrial, kApproved, R::kAesGcm, "aes_gcm_test.json"),
  Aes(CMKD_NAMED(AES_CMAC), P::kNone, kSigning, O::kMac, kMany, V::kTrial, kApproved, R::kAesCmac, "aes_cmac_test.json"),
  Aes(CMKD_NAMED(AES_KEY_WRAP), P::kOptionalIv8, kCipher | kWrapping, O::kKeyWrap, kOne, V::kTrial, kApproved, R::kAesKw, "aes_wrap_test.json"),
  // Deprecated by the standard for having meant two things; here, as in SoftHSM, it means RFC 5649.
  Aes(CMKD_NAMED(AES_KEY_WRAP_PAD), P::kOptionalIv4, kCipher | kWrapping, O::kKeyWrapPad, kOne, V::kTrial, kApproved, R::kAesKwp, "aes_kwp_test.json"),
  Aes(CMKD_NAMED(AES_KEY_WRAP_KWP), P::kOptionalIv4, kCipher | kWrapping, O::kKeyWrapPad, kOne, V::kTrial, kApproved, R::kAesKwp, "aes_kwp_test.json"),
};
// clang-format on
#undef CMKD_NAMED

constexpr bool Before(const MechanismRow& a, const MechanismRow& b) { return a.type < b.type; }

constexpr bool StrictlySorted() {
  return std::adjacent_find(kRows.begin(), kRows.end(), [](const auto& a, const auto& b) { return !Before(a, b); }) ==
         kRows.end();
}
static_assert(StrictlySorted(), "FindMechanism() searches by halves");

}  // namespace

std::span<const MechanismRow> Mechanisms() { return kRows; }

const MechanismRow* FindMechanism(CK_MECHANISM_TYPE type) {
  const auto row = std::lower_bound(kRows.begin(), kRows.end(), type,
                                    [](const MechanismRow& r, CK_MECHANISM_TYPE t) { return r.type < t; });
  return row != kRows.end() && row->type == type ? &*row : nullptr;
}

std::size_t DigestLength(CK_MECHANISM_TYPE digest) {
  switch (digest) {
    case CKM_SHA_1: return 20;
    case CKM_SHA224:
    case CKM_SHA512_224:
    case CKM_SHA3_224: return 28;
    case CKM_SHA256:
    case CKM_SHA512_256:
    case CKM_SHA3_256: return 32;
    case CKM_SHA384:
    case CKM_SHA3_384: return 48;
    case CKM_SHA512:
    case CKM_SHA3_512: return 64;
    default: return 0;
  }
}

}  // namespace cmkd::spec

// Rows: elliptic curves (FIPS 186-5, RFC 8032, SP 800-56A, RFC 7748, GB/T 32918).
#pragma once

#include "pkcs11/spec/mechanism_rows.h"

namespace cmkd::spec::rows {

constexpr MechanismRow Curve(Name name, P parameter, CK_KEY_TYPE key_type, CK_KEY_TYPE other, std::uint32_t bits_min,
                             std::uint32_t bits_max, CK_FLAGS operations, O output, R recipe,
                             std::string_view vectors) {
  return {name.type,  name.text, parameter, key_type,      other,     bits_min, bits_max, SizeUnit::kBits,
          operations, output,    kOne,      V::kOwnObject, kApproved, recipe,   0,        vectors};
}

constexpr MechanismRow Ecdsa(Name name, Parts parts, Standing standing, CK_MECHANISM_TYPE digest,
                             std::string_view vectors) {
  return {name.type,         name.text, P::kNone, CKK_EC,        kNoKeyType, 224,       521,    SizeUnit::kBits,
          kSigning | kPoint, O::kCurve, parts,    V::kOwnObject, standing,   R::kEcdsa, digest, vectors};
}

constexpr MechanismRow Sm2(Name name, CK_FLAGS operations, O output, Parts parts, R recipe, CK_MECHANISM_TYPE digest) {
  return {name.type,           name.text, P::kNone, CKK_SM2,       kNoKeyType, 256,    256,    SizeUnit::kBits,
          operations | kPoint, output,    parts,    V::kOwnObject, kApproved,  recipe, digest, kKnown};
}

// clang-format off
inline constexpr std::array kCurveRows = {
    Curve(CMKD_NAMED(EC_KEY_PAIR_GEN), P::kNone, CKK_EC, kNoKeyType, 224, 521, kPairs | kPoint, O::kNone, R::kEcKeyPairGen, kKnown),
    Curve(CMKD_NAMED(EC_KEY_PAIR_GEN_W_EXTRA_BITS), P::kNone, CKK_EC, kNoKeyType, 224, 521, kPairs | kPoint, O::kNone, R::kEcKeyPairGen, kKnown),
    Ecdsa(CMKD_NAMED(ECDSA), kOne, kApproved, 0, kKnown),
    Ecdsa(CMKD_NAMED(ECDSA_SHA1), kMany, kLegacy, CKM_SHA_1, kKnown),
    Ecdsa(CMKD_NAMED(ECDSA_SHA224), kMany, kApproved, CKM_SHA224, kKnown),
    Ecdsa(CMKD_NAMED(ECDSA_SHA256), kMany, kApproved, CKM_SHA256, "ecdsa_secp256r1_sha256_p1363_test.json"),
    Ecdsa(CMKD_NAMED(ECDSA_SHA384), kMany, kApproved, CKM_SHA384, "ecdsa_secp384r1_sha384_test.json"),
    Ecdsa(CMKD_NAMED(ECDSA_SHA512), kMany, kApproved, CKM_SHA512, "ecdsa_secp521r1_sha512_test.json"),
    Ecdsa(CMKD_NAMED(ECDSA_SHA3_224), kMany, kApproved, CKM_SHA3_224, kKnown),
    Ecdsa(CMKD_NAMED(ECDSA_SHA3_256), kMany, kApproved, CKM_SHA3_256, kKnown),
    Ecdsa(CMKD_NAMED(ECDSA_SHA3_384), kMany, kApproved, CKM_SHA3_384, kKnown),
    Ecdsa(CMKD_NAMED(ECDSA_SHA3_512), kMany, kApproved, CKM_SHA3_512, kKnown),
    Curve(CMKD_NAMED(ECDH1_DERIVE), P::kEcdh1, CKK_EC, CKK_EC_MONTGOMERY, 224, 521, CKF_DERIVE | kEncapsulation | kPoint, O::kNone, R::kEcdh1, "ecdh_secp256r1_ecpoint_test.json"),
    // The cofactor of every curve here but the Montgomery ones is 1, and RFC 7748 has it in the scalar.
    Curve(CMKD_NAMED(ECDH1_COFACTOR_DERIVE), P::kEcdh1, CKK_EC, CKK_EC_MONTGOMERY, 224, 521, CKF_DERIVE | kEncapsulation | kPoint, O::kNone, R::kEcdh1, "ecdh_secp256r1_ecpoint_test.json"),
    Curve(CMKD_NAMED(ECDH_AES_KEY_WRAP), P::kEcdhAesWrap, CKK_EC, kNoKeyType, 224, 521, kWrapping | kPoint, O::kEnvelope, R::kEcdhAesWrap, kKnown),
    Curve(CMKD_NAMED(ECDH_COF_AES_KEY_WRAP), P::kEcdhAesWrap, CKK_EC, kNoKeyType, 224, 521, kWrapping | kPoint, O::kEnvelope, R::kEcdhAesWrap, kKnown),
    Curve(CMKD_NAMED(ECDH_X_AES_KEY_WRAP), P::kEcdhAesWrap, CKK_EC_MONTGOMERY, kNoKeyType, 255, 448, kWrapping | kNamed, O::kEnvelope, R::kEcdhAesWrap, kKnown),
    Curve(CMKD_NAMED(EC_EDWARDS_KEY_PAIR_GEN), P::kNone, CKK_EC_EDWARDS, kNoKeyType, 255, 448, kPairs | kNamed, O::kNone, R::kEdwardsKeyPairGen, kKnown),
    Curve(CMKD_NAMED(EC_MONTGOMERY_KEY_PAIR_GEN), P::kNone, CKK_EC_MONTGOMERY, kNoKeyType, 255, 448, kPairs | kNamed, O::kNone, R::kMontgomeryKeyPairGen, kKnown),
    Curve(CMKD_NAMED(EDDSA), P::kEddsa, CKK_EC_EDWARDS, kNoKeyType, 255, 448, kSigning | kNamed, O::kCurve, R::kEddsa, "ed25519_test.json"),
};

inline constexpr std::array kSm2Rows = {
    Sm2(CMKD_NAMED(SM2_KEY_PAIR_GEN), kPairs, O::kNone, kOne, R::kEcKeyPairGen, 0),
    Sm2(CMKD_NAMED(SM2), kSigning, O::kCurve, kOne, R::kSm2Sign, 0),
    Sm2(CMKD_NAMED(SM2_SM3), kSigning, O::kCurve, kMany, R::kSm2Sign, CKM_SM3),
    Sm2(CMKD_NAMED(SM2_ENCRYPT), kCipher, O::kSm2, kOne, R::kSm2Encrypt, 0),
};
// clang-format on

}  // namespace cmkd::spec::rows

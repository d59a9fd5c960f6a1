// Rows: keys that are numbers modulo a prime (FIPS 186-4, PKCS #3, X9.42). Standards have left them behind, so they are
// for general tokens.
#pragma once

#include "pkcs11/spec/mechanism_rows.h"

namespace cmkd::spec::rows {

constexpr MechanismRow Dsa(Name name, CK_FLAGS operations, O output, Parts parts, R recipe, CK_MECHANISM_TYPE digest) {
  return {name.type,  name.text, P::kNone, CKK_DSA,       kNoKeyType, 1024,   3072,   SizeUnit::kBits,
          operations, output,    parts,    V::kOwnObject, kLegacy,    recipe, digest, kKnown};
}

constexpr MechanismRow Dh(Name name, P parameter, CK_KEY_TYPE key_type, CK_FLAGS operations, R recipe) {
  return {name.type,  name.text, parameter, key_type,      kNoKeyType, 2048,   8192, SizeUnit::kBits,
          operations, O::kNone,  kOne,      V::kOwnObject, kLegacy,    recipe, 0,    kKnown};
}

constexpr MechanismRow Domain(Name name, CK_KEY_TYPE key_type, std::uint32_t bits_min, std::uint32_t bits_max,
                              P parameter = P::kNone) {
  return {name.type,    name.text, parameter, key_type,      kNoKeyType, bits_min,      bits_max, SizeUnit::kBits,
          CKF_GENERATE, O::kNone,  kOne,      V::kOwnObject, kLegacy,    R::kDomainGen, 0,        "functions_test"};
}

// clang-format off
inline constexpr std::array kDiscreteLogRows = {
    Domain(CMKD_NAMED(DSA_PARAMETER_GEN), CKK_DSA, 1024, 3072),
    Domain(CMKD_NAMED(DSA_PROBABILISTIC_PARAMETER_GEN), CKK_DSA, 1024, 3072, P::kDsaSeedOut),
    Domain(CMKD_NAMED(DSA_SHAWE_TAYLOR_PARAMETER_GEN), CKK_DSA, 1024, 3072, P::kDsaSeedOut),
    Domain(CMKD_NAMED(DSA_FIPS_G_GEN), CKK_DSA, 1024, 3072, P::kDsaSeed),
    Domain(CMKD_NAMED(DH_PKCS_PARAMETER_GEN), CKK_DH, 2048, 8192),
    Domain(CMKD_NAMED(X9_42_DH_PARAMETER_GEN), CKK_X9_42_DH, 2048, 2048),
    Dsa(CMKD_NAMED(DSA_KEY_PAIR_GEN), kPairs, O::kNone, kOne, R::kDsaKeyPairGen, 0),
    Dsa(CMKD_NAMED(DSA), kSigning, O::kSubprime, kOne, R::kDsa, 0),
    Dsa(CMKD_NAMED(DSA_SHA1), kSigning, O::kSubprime, kMany, R::kDsa, CKM_SHA_1),
    Dsa(CMKD_NAMED(DSA_SHA224), kSigning, O::kSubprime, kMany, R::kDsa, CKM_SHA224),
    Dsa(CMKD_NAMED(DSA_SHA256), kSigning, O::kSubprime, kMany, R::kDsa, CKM_SHA256),
    Dsa(CMKD_NAMED(DSA_SHA384), kSigning, O::kSubprime, kMany, R::kDsa, CKM_SHA384),
    Dsa(CMKD_NAMED(DSA_SHA512), kSigning, O::kSubprime, kMany, R::kDsa, CKM_SHA512),
    Dsa(CMKD_NAMED(DSA_SHA3_224), kSigning, O::kSubprime, kMany, R::kDsa, CKM_SHA3_224),
    Dsa(CMKD_NAMED(DSA_SHA3_256), kSigning, O::kSubprime, kMany, R::kDsa, CKM_SHA3_256),
    Dsa(CMKD_NAMED(DSA_SHA3_384), kSigning, O::kSubprime, kMany, R::kDsa, CKM_SHA3_384),
    Dsa(CMKD_NAMED(DSA_SHA3_512), kSigning, O::kSubprime, kMany, R::kDsa, CKM_SHA3_512),
    Dh(CMKD_NAMED(DH_PKCS_KEY_PAIR_GEN), P::kNone, CKK_DH, kPairs, R::kDhKeyPairGen),
    Dh(CMKD_NAMED(DH_PKCS_DERIVE), P::kDhPublic, CKK_DH, CKF_DERIVE, R::kDh),
    Dh(CMKD_NAMED(X9_42_DH_KEY_PAIR_GEN), P::kNone, CKK_X9_42_DH, kPairs, R::kDhKeyPairGen),
    Dh(CMKD_NAMED(X9_42_DH_DERIVE), P::kX942Dh, CKK_X9_42_DH, CKF_DERIVE, R::kX942Dh),
};
// clang-format on

}  // namespace cmkd::spec::rows

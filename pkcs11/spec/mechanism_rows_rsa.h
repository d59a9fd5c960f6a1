// Rows: RSA (RFC 8017, ANSI X9.31).
#pragma once

#include "pkcs11/spec/mechanism_rows.h"

namespace cmkd::spec::rows {

constexpr MechanismRow Rsa(Name name, P parameter, CK_FLAGS operations, Parts parts, Standing standing, R recipe,
                           CK_MECHANISM_TYPE digest, std::string_view vectors) {
  return {name.type,  name.text,   parameter, CKK_RSA,       kNoKeyType, kRsaMin, kRsaMax, SizeUnit::kBits,
          operations, O::kModulus, parts,     V::kOwnObject, standing,   recipe,  digest,  vectors};
}
constexpr MechanismRow RsaGen(Name name, Standing standing) {
  return {name.type, name.text, P::kNone, CKK_RSA,       kNoKeyType, kRsaMin,           kRsaMadeMax, SizeUnit::kBits,
          kPairs,    O::kNone,  kOne,     V::kOwnObject, standing,   R::kRsaKeyPairGen, 0,           kKnown};
}
constexpr MechanismRow RsaHashed(Name name, CK_MECHANISM_TYPE digest, Standing standing,
                                 std::string_view vectors = kKnown) {
  return Rsa(name, P::kNone, kSigning, kMany, standing, R::kRsaPkcs, digest, vectors);
}
constexpr MechanismRow RsaPss(Name name, CK_MECHANISM_TYPE digest, Standing standing,
                              std::string_view vectors = kKnown) {
  return Rsa(name, P::kPss, kSigning, kMany, standing, R::kRsaPss, digest, vectors);
}

// clang-format off
inline constexpr std::array kRsaRows = {
    RsaGen(CMKD_NAMED(RSA_PKCS_KEY_PAIR_GEN), kApproved),
    // FIPS 186-5 took X9.31's way of making primes away; the identifier stays for programs that ask for it.
    RsaGen(CMKD_NAMED(RSA_X9_31_KEY_PAIR_GEN), kLegacy),
    Rsa(CMKD_NAMED(RSA_PKCS), P::kNone, kCipher | kSigning | kRecovery | kWrapping | kEncapsulation, kOne, kApproved, R::kRsaPkcs, 0, "rsa_pkcs1_2048_test.json"),
    Rsa(CMKD_NAMED(RSA_X_509), P::kNone, kCipher | kSigning | kRecovery, kOne, kLegacy, R::kRsaX509, 0, kKnown),
    Rsa(CMKD_NAMED(RSA_X9_31), P::kNone, kSigning, kOne, kLegacy, R::kRsaX931, 0, kKnown),
    Rsa(CMKD_NAMED(SHA1_RSA_X9_31), P::kNone, kSigning, kMany, kLegacy, R::kRsaX931, CKM_SHA_1, kKnown),
    Rsa(CMKD_NAMED(RSA_PKCS_OAEP), P::kOaep, kCipher | kWrapping | kEncapsulation, kOne, kApproved, R::kRsaOaep, 0, "rsa_oaep_2048_sha256_mgf1sha256_test.json"),
    Rsa(CMKD_NAMED(RSA_PKCS_PSS), P::kPss, kSigning, kOne, kApproved, R::kRsaPss, 0, "rsa_pss_2048_sha256_mgf1_32_test.json"),
    RsaHashed(CMKD_NAMED(MD5_RSA_PKCS), CKM_MD5, kLegacy),
    RsaHashed(CMKD_NAMED(SHA1_RSA_PKCS), CKM_SHA_1, kLegacy, "rsa_pkcs1_2048_sig_gen_test.json"),
    RsaHashed(CMKD_NAMED(SHA224_RSA_PKCS), CKM_SHA224, kApproved, "rsa_pkcs1_2048_sig_gen_test.json"),
    RsaHashed(CMKD_NAMED(SHA256_RSA_PKCS), CKM_SHA256, kApproved, "rsa_signature_2048_sha256_test.json"),
    RsaHashed(CMKD_NAMED(SHA384_RSA_PKCS), CKM_SHA384, kApproved, "rsa_pkcs1_2048_sig_gen_test.json"),
    RsaHashed(CMKD_NAMED(SHA512_RSA_PKCS), CKM_SHA512, kApproved, "rsa_signature_2048_sha512_test.json"),
    RsaHashed(CMKD_NAMED(SHA3_224_RSA_PKCS), CKM_SHA3_224, kApproved),
    RsaHashed(CMKD_NAMED(SHA3_256_RSA_PKCS), CKM_SHA3_256, kApproved),
    RsaHashed(CMKD_NAMED(SHA3_384_RSA_PKCS), CKM_SHA3_384, kApproved),
    RsaHashed(CMKD_NAMED(SHA3_512_RSA_PKCS), CKM_SHA3_512, kApproved),
    RsaPss(CMKD_NAMED(SHA1_RSA_PKCS_PSS), CKM_SHA_1, kLegacy),
    RsaPss(CMKD_NAMED(SHA224_RSA_PKCS_PSS), CKM_SHA224, kApproved),
    RsaPss(CMKD_NAMED(SHA256_RSA_PKCS_PSS), CKM_SHA256, kApproved, "rsa_pss_2048_sha256_mgf1_32_test.json"),
    RsaPss(CMKD_NAMED(SHA384_RSA_PKCS_PSS), CKM_SHA384, kApproved),
    RsaPss(CMKD_NAMED(SHA512_RSA_PKCS_PSS), CKM_SHA512, kApproved),
    RsaPss(CMKD_NAMED(SHA3_224_RSA_PKCS_PSS), CKM_SHA3_224, kApproved),
    RsaPss(CMKD_NAMED(SHA3_256_RSA_PKCS_PSS), CKM_SHA3_256, kApproved),
    RsaPss(CMKD_NAMED(SHA3_384_RSA_PKCS_PSS), CKM_SHA3_384, kApproved),
    RsaPss(CMKD_NAMED(SHA3_512_RSA_PKCS_PSS), CKM_SHA3_512, kApproved),
    MechanismRow{CKM_RSA_AES_KEY_WRAP, "CKM_RSA_AES_KEY_WRAP", P::kRsaAesWrap, CKK_RSA, kNoKeyType, kRsaMin, kRsaMax, SizeUnit::kBits,
                 kWrapping, O::kEnvelope, kOne, V::kOwnObject, kApproved, R::kRsaAesWrap, 0, kKnown},
};
// clang-format on

}  // namespace cmkd::spec::rows

// Rows: digests, their HMACs, keys for these, and keys made by digesting a key (FIPS 180-4, FIPS 198-1, FIPS 202,
// RFC 7693, GB/T 32905).
#pragma once

#include "pkcs11/spec/mechanism_rows.h"

namespace cmkd::spec::rows {

// All there is for one digest.
constexpr std::array<MechanismRow, 5> DigestFamily(Name digest, Name hmac, Name general, Name key_gen, Name derivation,
                                                   CK_KEY_TYPE typed, std::string_view hmac_vectors = kKnown) {
  return {Digest(digest, P::kNone, kApproved), Hmac(hmac, typed, digest.type, kApproved, hmac_vectors),
          HmacGeneral(general, typed, digest.type, kApproved),
          SecretGen(key_gen, typed, kSecretMin, kSecretMax, kApproved),
          Derive(derivation, kAnyKeyType, kNoKeyType, P::kNone, kLegacy, R::kDigestDerive, digest.type, kKnown)};
}

#define CMKD_FAMILY(name, derivation, ...)                                                                             \
  DigestFamily(CMKD_NAMED(name), CMKD_NAMED(name##_HMAC), CMKD_NAMED(name##_HMAC_GENERAL), CMKD_NAMED(name##_KEY_GEN), \
               CMKD_NAMED(derivation), __VA_ARGS__)

inline constexpr std::array kDigestFamilies = {
    CMKD_FAMILY(SHA_1, SHA1_KEY_DERIVATION, CKK_SHA_1_HMAC),
    CMKD_FAMILY(SHA224, SHA224_KEY_DERIVATION, CKK_SHA224_HMAC),
    CMKD_FAMILY(SHA256, SHA256_KEY_DERIVATION, CKK_SHA256_HMAC, "hmac_sha256_test.json"),
    CMKD_FAMILY(SHA384, SHA384_KEY_DERIVATION, CKK_SHA384_HMAC),
    CMKD_FAMILY(SHA512, SHA512_KEY_DERIVATION, CKK_SHA512_HMAC, "hmac_sha512_test.json"),
    CMKD_FAMILY(SHA512_224, SHA512_224_KEY_DERIVATION, CKK_SHA512_224_HMAC),
    CMKD_FAMILY(SHA512_256, SHA512_256_KEY_DERIVATION, CKK_SHA512_256_HMAC),
    CMKD_FAMILY(SHA3_224, SHA3_224_KEY_DERIVATION, CKK_SHA3_224_HMAC),
    CMKD_FAMILY(SHA3_256, SHA3_256_KEY_DERIVATION, CKK_SHA3_256_HMAC, "hmac_sha3_256_test.json"),
    CMKD_FAMILY(SHA3_384, SHA3_384_KEY_DERIVATION, CKK_SHA3_384_HMAC),
    CMKD_FAMILY(SHA3_512, SHA3_512_KEY_DERIVATION, CKK_SHA3_512_HMAC),
    CMKD_FAMILY(BLAKE2B_512, BLAKE2B_512_KEY_DERIVE, CKK_BLAKE2B_512_HMAC),
};
#undef CMKD_FAMILY

inline constexpr std::array kOtherDigestRows = {
    // SHA-512/t for any t. Of its HMAC_GENERAL the standard says how long the MAC is and not which t is meant; here it
    // is
    // the one whose whole MAC is that long.
    Digest(CMKD_NAMED(SHA512_T), P::kHashBits, kApproved),
    Hmac(CMKD_NAMED(SHA512_T_HMAC), CKK_SHA512_T_HMAC, CKM_SHA512_T, kApproved, kKnown),
    HmacGeneral(CMKD_NAMED(SHA512_T_HMAC_GENERAL), CKK_SHA512_T_HMAC, CKM_SHA512_T, kApproved),
    SecretGen(CMKD_NAMED(SHA512_T_KEY_GEN), CKK_SHA512_T_HMAC, kSecretMin, kSecretMax, kApproved),
    Derive(CMKD_NAMED(SHA512_T_KEY_DERIVATION), kAnyKeyType, kNoKeyType, P::kHashBits, kLegacy, R::kDigestDerive,
           CKM_SHA512_T, kKnown),
    Derive(CMKD_NAMED(SHAKE_128_KEY_DERIVATION), kAnyKeyType, kNoKeyType, P::kNone, kLegacy, R::kShakeDerive, 0,
           kKnown),
    Derive(CMKD_NAMED(SHAKE_256_KEY_DERIVATION), kAnyKeyType, kNoKeyType, P::kNone, kLegacy, R::kShakeDerive, 0,
           kKnown),
    Digest(CMKD_NAMED(MD5), P::kNone, kLegacy),
    Hmac(CMKD_NAMED(MD5_HMAC), CKK_MD5_HMAC, CKM_MD5, kLegacy, kKnown),
    HmacGeneral(CMKD_NAMED(MD5_HMAC_GENERAL), CKK_MD5_HMAC, CKM_MD5, kLegacy),
    Derive(CMKD_NAMED(MD5_KEY_DERIVATION), kAnyKeyType, kNoKeyType, P::kNone, kLegacy, R::kDigestDerive, CKM_MD5,
           kKnown),
    Digest(CMKD_NAMED(SM3), P::kNone, kApproved),
    Hmac(CMKD_NAMED(SM3_HMAC), kNoKeyType, CKM_SM3, kApproved, kKnown),
    HmacGeneral(CMKD_NAMED(SM3_HMAC_GENERAL), kNoKeyType, CKM_SM3, kApproved),
    Derive(CMKD_NAMED(SM3_KEY_DERIVATION), kAnyKeyType, kNoKeyType, P::kNone, kLegacy, R::kDigestDerive, CKM_SM3,
           kKnown),
};

}  // namespace cmkd::spec::rows

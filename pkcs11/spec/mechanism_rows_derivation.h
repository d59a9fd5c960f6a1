// Rows: generic secrets and keys made of keys (RFC 5869, SP 800-108, RFC 8018, RFC 5246, RFC 7627, and PKCS#11's own
// simple derivations).
#pragma once

#include "pkcs11/spec/mechanism_rows.h"

namespace cmkd::spec::rows {

// clang-format off
inline constexpr std::array kGenericRows = {
    // Its sizes are shown in bits, as the standard says for this one secret key mechanism.
    MechanismRow{CKM_GENERIC_SECRET_KEY_GEN, "CKM_GENERIC_SECRET_KEY_GEN", P::kNone, CKK_GENERIC_SECRET, kNoKeyType, kSecretMin, kSecretMax,
                 SizeUnit::kBits, CKF_GENERATE, O::kNone, kOne, V::kOwnObject, kApproved, R::kKeyGen, 0, kKnown},
};

inline constexpr std::array kDerivationRows = {
    SecretGen(CMKD_NAMED(HKDF_KEY_GEN), CKK_HKDF, kSecretMin, kSecretMax, kApproved),
    Derive(CMKD_NAMED(HKDF_DERIVE), CKK_HKDF, CKK_GENERIC_SECRET, P::kHkdf, kApproved, R::kHkdf, 0, "hkdf_sha256_test.json"),
    Derive(CMKD_NAMED(HKDF_DATA), CKK_HKDF, CKK_GENERIC_SECRET, P::kHkdf, kApproved, R::kHkdfData, 0, "functions_test"),
    Derive(CMKD_NAMED(SP800_108_COUNTER_KDF), CKK_GENERIC_SECRET, CKK_AES, P::kSp800Kdf, kApproved, R::kSp800Counter, 0, kKnown),
    Derive(CMKD_NAMED(SP800_108_FEEDBACK_KDF), CKK_GENERIC_SECRET, CKK_AES, P::kSp800Feedback, kApproved, R::kSp800Feedback, 0, kKnown),
    Derive(CMKD_NAMED(SP800_108_DOUBLE_PIPELINE_KDF), CKK_GENERIC_SECRET, CKK_AES, P::kSp800Kdf, kApproved, R::kSp800DoublePipeline, 0, kKnown),
    Secret(CMKD_NAMED(PKCS5_PBKD2), CKK_GENERIC_SECRET, kAnyKeyType, kSecretMin, kSecretMax, P::kPbkdf2, CKF_GENERATE, O::kNone, kOne, V::kOwnObject, kApproved, R::kPbkdf2, 0, kKnown),
    // Takes nothing of the key but its public half.
    MechanismRow{CKM_PUB_KEY_FROM_PRIV_KEY, "CKM_PUB_KEY_FROM_PRIV_KEY", P::kNone, kAnyKeyType, kNoKeyType, 0, 0, SizeUnit::kNone,
                 CKF_DERIVE, O::kNone, kOne, V::kOwnObject, kApproved, R::kPublicFromPrivate, 0, "functions_test"},
    // The simple ones give a key away to whoever can try out its parts: never on managed tokens.
    Derive(CMKD_NAMED(CONCATENATE_BASE_AND_KEY), kAnyKeyType, kNoKeyType, P::kKeyHandle, kLegacy, R::kConcatenateKeys, 0, kKnown),
    Derive(CMKD_NAMED(CONCATENATE_BASE_AND_DATA), kAnyKeyType, kNoKeyType, P::kStringData, kLegacy, R::kConcatenateBaseAndData, 0, kKnown),
    Derive(CMKD_NAMED(CONCATENATE_DATA_AND_BASE), kAnyKeyType, kNoKeyType, P::kStringData, kLegacy, R::kConcatenateDataAndBase, 0, kKnown),
    Derive(CMKD_NAMED(XOR_BASE_AND_DATA), kAnyKeyType, kNoKeyType, P::kStringData, kLegacy, R::kXorData, 0, kKnown),
    Derive(CMKD_NAMED(EXTRACT_KEY_FROM_KEY), kAnyKeyType, kNoKeyType, P::kUlong, kLegacy, R::kExtractBits, 0, kKnown),
};

inline constexpr std::array kTlsRows = {
    Derive(CMKD_NAMED(TLS12_MASTER_KEY_DERIVE), CKK_GENERIC_SECRET, kNoKeyType, P::kTls12Master, kApproved, R::kTlsMaster, 0, kKnown),
    Derive(CMKD_NAMED(TLS12_MASTER_KEY_DERIVE_DH), CKK_GENERIC_SECRET, kNoKeyType, P::kTls12Master, kApproved, R::kTlsMaster, 0, kKnown),
    Derive(CMKD_NAMED(TLS12_EXTENDED_MASTER_KEY_DERIVE), CKK_GENERIC_SECRET, kNoKeyType, P::kTls12Extended, kApproved, R::kTlsExtendedMaster, 0, kKnown),
    Derive(CMKD_NAMED(TLS12_EXTENDED_MASTER_KEY_DERIVE_DH), CKK_GENERIC_SECRET, kNoKeyType, P::kTls12Extended, kApproved, R::kTlsExtendedMaster, 0, kKnown),
    Derive(CMKD_NAMED(TLS12_KEY_AND_MAC_DERIVE), CKK_GENERIC_SECRET, kNoKeyType, P::kTls12KeyMaterial, kApproved, R::kTlsKeyMaterial, 0, "tls_keys_test"),
    Derive(CMKD_NAMED(TLS12_KEY_SAFE_DERIVE), CKK_GENERIC_SECRET, kNoKeyType, P::kTls12KeyMaterial, kApproved, R::kTlsKeyMaterial, 0, "tls_keys_test"),
    Derive(CMKD_NAMED(TLS_KDF), CKK_GENERIC_SECRET, kNoKeyType, P::kTlsKdf, kApproved, R::kTlsKdf, 0, kKnown),
    Derive(CMKD_NAMED(TLS12_KDF), CKK_GENERIC_SECRET, kNoKeyType, P::kTlsKdf, kApproved, R::kTlsKdf, 0, kKnown),
    Secret(CMKD_NAMED(TLS_MAC), CKK_GENERIC_SECRET, kNoKeyType, kSecretMin, kSecretMax, P::kTlsMac, kSigning, O::kMac, kMany, V::kTrial, kApproved, R::kTlsMac, 0, kKnown),
    Secret(CMKD_NAMED(TLS12_MAC), CKK_GENERIC_SECRET, kNoKeyType, kSecretMin, kSecretMax, P::kTlsMac, kSigning, O::kMac, kMany, V::kTrial, kApproved, R::kTlsMac, 0, kKnown),
    Secret(CMKD_NAMED(TLS10_MAC_SERVER), CKK_GENERIC_SECRET, kNoKeyType, kSecretMin, kSecretMax, P::kNone, kSigning, O::kMac, kMany, V::kTrial, kLegacy, R::kTlsMac, 0, kKnown),
    Secret(CMKD_NAMED(TLS10_MAC_CLIENT), CKK_GENERIC_SECRET, kNoKeyType, kSecretMin, kSecretMax, P::kNone, kSigning, O::kMac, kMany, V::kTrial, kLegacy, R::kTlsMac, 0, kKnown),
    Secret(CMKD_NAMED(TLS_PRE_MASTER_KEY_GEN), CKK_GENERIC_SECRET, kNoKeyType, 384, 384, P::kVersion, CKF_GENERATE, O::kNone, kOne, V::kOwnObject, kLegacy, R::kTlsPreMaster, 0, kKnown),
    Derive(CMKD_NAMED(TLS_MASTER_KEY_DERIVE), CKK_GENERIC_SECRET, kNoKeyType, P::kTlsMaster, kLegacy, R::kTlsMaster, 0, kKnown),
    Derive(CMKD_NAMED(TLS_KEY_AND_MAC_DERIVE), CKK_GENERIC_SECRET, kNoKeyType, P::kTlsKeyMaterial, kLegacy, R::kTlsKeyMaterial, 0, "tls_keys_test"),
    Derive(CMKD_NAMED(TLS_PRF), CKK_GENERIC_SECRET, kNoKeyType, P::kTlsPrf, kLegacy, R::kTlsPrf, 0, "tls_keys_test"),
    Derive(CMKD_NAMED(TLS_MASTER_KEY_DERIVE_DH), CKK_GENERIC_SECRET, kNoKeyType, P::kTlsMaster, kLegacy, R::kTlsMaster, 0, kKnown),
};
// clang-format on

}  // namespace cmkd::spec::rows

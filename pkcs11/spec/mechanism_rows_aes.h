// Rows: AES, and the stream cipher of RFC 8439 with its MAC (FIPS 197, the SP 800-38 series, RFC 3394, RFC 5649).
#pragma once

#include "pkcs11/spec/mechanism_rows.h"

namespace cmkd::spec::rows {

// clang-format off
inline constexpr std::array kAesRows = {
    Aes(CMKD_NAMED(AES_KEY_GEN), P::kNone, CKF_GENERATE, O::kNone, kOne, V::kOwnObject, kApproved, R::kKeyGen, kKnown),
    Aes(CMKD_NAMED(AES_ECB), P::kNone, kCipher, O::kSameLength, kMany, V::kFixed, kLegacy, R::kEcb, kKnown),
    Aes(CMKD_NAMED(AES_CBC), P::kIv16, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kCbc, kKnown),
    Aes(CMKD_NAMED(AES_CBC_PAD), P::kIv16, kCipher | kWrapping, O::kPadded, kMany, V::kFixed, kApproved, R::kCbcPad, "aes_cbc_pkcs5_test.json"),
    Aes(CMKD_NAMED(AES_CTR), P::kAesCtr, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kCtr, kKnown),
    Aes(CMKD_NAMED(AES_CTS), P::kIv16, kCipher, O::kSameLength, kOne, V::kFixed, kApproved, R::kCts, kKnown),
    Aes(CMKD_NAMED(AES_OFB), P::kIv16, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kOfb, kKnown),
    Aes(CMKD_NAMED(AES_CFB1), P::kIv16, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kCfb1, kKnown),
    Aes(CMKD_NAMED(AES_CFB8), P::kIv16, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kCfb8, kKnown),
    Aes(CMKD_NAMED(AES_CFB64), P::kIv16, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kCfb64, kKnown),
    Aes(CMKD_NAMED(AES_CFB128), P::kIv16, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kCfb128, kKnown),
    Aes(CMKD_NAMED(AES_GCM), P::kGcm, kCipher | kMessages | kWrapping, O::kPlusTag, kMany, V::kTrial, kApproved, R::kAesGcm, "aes_gcm_test.json"),
    Aes(CMKD_NAMED(AES_CCM), P::kCcm, kCipher | kMessages | kWrapping, O::kPlusTag, kOne, V::kTrial, kApproved, R::kAesCcm, "aes_ccm_test.json"),
    Aes(CMKD_NAMED(AES_GMAC), P::kGcm, kSigning, O::kMac, kMany, V::kTrial, kApproved, R::kGmac, "aes_gmac_test.json"),
    Aes(CMKD_NAMED(AES_CMAC), P::kNone, kSigning, O::kMac, kMany, V::kTrial, kApproved, R::kCmac, "aes_cmac_test.json"),
    Aes(CMKD_NAMED(AES_CMAC_GENERAL), P::kMacGeneral, kSigning, O::kMacGeneral, kMany, V::kFixed, kApproved, R::kCmac, kKnown),
    // CBC-MAC forges when messages of several lengths share a key; XCBC was overtaken by CMAC.
    Aes(CMKD_NAMED(AES_MAC), P::kNone, kSigning, O::kMac, kMany, V::kTrial, kLegacy, R::kCbcMac, kKnown),
    Aes(CMKD_NAMED(AES_MAC_GENERAL), P::kMacGeneral, kSigning, O::kMacGeneral, kMany, V::kFixed, kLegacy, R::kCbcMac, kKnown),
    Aes(CMKD_NAMED(AES_XCBC_MAC), P::kNone, kSigning, O::kMac, kMany, V::kTrial, kLegacy, R::kXcbcMac, kKnown),
    Aes(CMKD_NAMED(AES_XCBC_MAC_96), P::kNone, kSigning, O::kMac, kMany, V::kTrial, kLegacy, R::kXcbcMac, kKnown),
    Aes(CMKD_NAMED(AES_KEY_WRAP), P::kOptionalIv8, kCipher | kWrapping, O::kKeyWrap, kOne, V::kTrial, kApproved, R::kAesKw, "aes_wrap_test.json"),
    // Deprecated by the standard for having meant two things; here, as in SoftHSM, it means RFC 5649.
    Aes(CMKD_NAMED(AES_KEY_WRAP_PAD), P::kOptionalIv4, kCipher | kWrapping, O::kKeyWrapPad, kOne, V::kTrial, kApproved, R::kAesKwp, "aes_kwp_test.json"),
    Aes(CMKD_NAMED(AES_KEY_WRAP_KWP), P::kOptionalIv4, kCipher | kWrapping, O::kKeyWrapPad, kOne, V::kTrial, kApproved, R::kAesKwp, "aes_kwp_test.json"),
    Aes(CMKD_NAMED(AES_KEY_WRAP_PKCS7), P::kOptionalIv8, kCipher | kWrapping, O::kKeyWrapPkcs7, kOne, V::kTrial, kApproved, R::kAesKwPkcs7, kKnown),
    Aes(CMKD_NAMED(CMKD_AES_MANAGED), P::kManaged, kCipher, O::kManaged, kOne, V::kHeader, kApproved, R::kManaged, "managed_cipher_test"),
    Secret(CMKD_NAMED(AES_XTS_KEY_GEN), CKK_AES_XTS, kNoKeyType, 256, 512, P::kNone, CKF_GENERATE, O::kNone, kOne, V::kOwnObject, kApproved, R::kKeyGen, 0, kKnown),
    Secret(CMKD_NAMED(AES_XTS), CKK_AES_XTS, kNoKeyType, 256, 512, P::kIv16, kCipher, O::kSameLength, kOne, V::kFixed, kApproved, R::kXts, 0, "aes_xts_test.json"),
    // What is encrypted so can be had from any cipher operation with the same key: the usages must be kept apart.
    Secret(CMKD_NAMED(AES_ECB_ENCRYPT_DATA), CKK_AES, kNoKeyType, 128, 256, P::kStringData, CKF_DERIVE, O::kNone, kOne, V::kFixed, kLegacy, R::kEcbEncryptData, 0, kKnown),
    Secret(CMKD_NAMED(AES_CBC_ENCRYPT_DATA), CKK_AES, kNoKeyType, 128, 256, P::kIvAndData16, CKF_DERIVE, O::kNone, kOne, V::kFixed, kLegacy, R::kCbcEncryptData, 0, kKnown),
};

inline constexpr std::array kChachaRows = {
    SecretGen(CMKD_NAMED(CHACHA20_KEY_GEN), CKK_CHACHA20, 256, 256, kApproved),
    Secret(CMKD_NAMED(CHACHA20), CKK_CHACHA20, kNoKeyType, 256, 256, P::kChacha20, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kChacha20, 0, kKnown),
    Secret(CMKD_NAMED(CHACHA20_POLY1305), CKK_CHACHA20, kNoKeyType, 256, 256, P::kChacha20Poly1305, kCipher | kMessages | kWrapping, O::kPlusTag, kMany, V::kTrial, kApproved, R::kChacha20Poly1305, 0, "chacha20_poly1305_test.json"),
    SecretGen(CMKD_NAMED(POLY1305_KEY_GEN), CKK_POLY1305, 256, 256, kLegacy),
    // A key of Poly1305 is good for one message (RFC 8439 section 2.5).
    Secret(CMKD_NAMED(POLY1305), CKK_POLY1305, kNoKeyType, 256, 256, P::kNone, kSigning, O::kMac, kMany, V::kTrial, kLegacy, R::kPoly1305, 0, kKnown),
};

inline constexpr std::array kSm4Rows = {
    SecretGen(CMKD_NAMED(SM4_KEY_GEN), CKK_SM4, 128, 128, kApproved),
    Secret(CMKD_NAMED(SM4_ECB), CKK_SM4, kNoKeyType, 128, 128, P::kNone, kCipher, O::kSameLength, kMany, V::kFixed, kLegacy, R::kEcb, 0, kKnown),
    Secret(CMKD_NAMED(SM4_CBC), CKK_SM4, kNoKeyType, 128, 128, P::kIv16, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kCbc, 0, kKnown),
    Secret(CMKD_NAMED(SM4_CBC_PAD), CKK_SM4, kNoKeyType, 128, 128, P::kIv16, kCipher | kWrapping, O::kPadded, kMany, V::kFixed, kApproved, R::kCbcPad, 0, kKnown),
    Secret(CMKD_NAMED(SM4_CTR), CKK_SM4, kNoKeyType, 128, 128, P::kAesCtr, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kCtr, 0, kKnown),
    Secret(CMKD_NAMED(SM4_CFB128), CKK_SM4, kNoKeyType, 128, 128, P::kIv16, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kCfb128, 0, kKnown),
    Secret(CMKD_NAMED(SM4_OFB), CKK_SM4, kNoKeyType, 128, 128, P::kIv16, kCipher, O::kSameLength, kMany, V::kFixed, kApproved, R::kOfb, 0, kKnown),
};
// clang-format on

}  // namespace cmkd::spec::rows

// Rows: DES and triple DES. Nothing new should use them (SP 800-131A); all are legacy.
#pragma once

#include "pkcs11/spec/mechanism_rows.h"

namespace cmkd::spec::rows {

constexpr MechanismRow Des(Name name, CK_KEY_TYPE type, CK_KEY_TYPE other, P parameter, CK_FLAGS operations, O output,
                           V versions, R recipe) {
  const std::uint32_t shortest = type == CKK_DES ? 64 : 128;
  const std::uint32_t longest = type == CKK_DES && other != CKK_DES3 ? 64 : type == CKK_DES2 ? 128 : 192;
  return Secret(name, type, other, shortest, longest, parameter, operations, output, kMany, versions, kLegacy, recipe,
                0, kKnown);
}

// clang-format off
inline constexpr std::array kDesRows = {
    SecretGen(CMKD_NAMED(DES_KEY_GEN), CKK_DES, 64, 64, kLegacy),
    Des(CMKD_NAMED(DES_ECB), CKK_DES, kNoKeyType, P::kNone, kCipher, O::kSameLength, V::kFixed, R::kEcb),
    Des(CMKD_NAMED(DES_CBC), CKK_DES, kNoKeyType, P::kIv8, kCipher, O::kSameLength, V::kFixed, R::kCbc),
    Des(CMKD_NAMED(DES_MAC), CKK_DES, kNoKeyType, P::kNone, kSigning, O::kMac, V::kTrial, R::kCbcMac),
    Des(CMKD_NAMED(DES_MAC_GENERAL), CKK_DES, kNoKeyType, P::kMacGeneral, kSigning, O::kMacGeneral, V::kFixed, R::kCbcMac),
    Des(CMKD_NAMED(DES_CBC_PAD), CKK_DES, kNoKeyType, P::kIv8, kCipher, O::kPadded, V::kFixed, R::kCbcPad),
    Des(CMKD_NAMED(DES_OFB64), CKK_DES, CKK_DES3, P::kIv8, kCipher, O::kSameLength, V::kFixed, R::kOfb),
    Des(CMKD_NAMED(DES_CFB64), CKK_DES, CKK_DES3, P::kIv8, kCipher, O::kSameLength, V::kFixed, R::kCfb64),
    Des(CMKD_NAMED(DES_CFB8), CKK_DES, CKK_DES3, P::kIv8, kCipher, O::kSameLength, V::kFixed, R::kCfb8),
    SecretGen(CMKD_NAMED(DES2_KEY_GEN), CKK_DES2, 128, 128, kLegacy),
    SecretGen(CMKD_NAMED(DES3_KEY_GEN), CKK_DES3, 192, 192, kLegacy),
    Des(CMKD_NAMED(DES3_ECB), CKK_DES3, CKK_DES2, P::kNone, kCipher, O::kSameLength, V::kFixed, R::kEcb),
    Des(CMKD_NAMED(DES3_CBC), CKK_DES3, CKK_DES2, P::kIv8, kCipher, O::kSameLength, V::kFixed, R::kCbc),
    Des(CMKD_NAMED(DES3_MAC), CKK_DES3, CKK_DES2, P::kNone, kSigning, O::kMac, V::kTrial, R::kCbcMac),
    Des(CMKD_NAMED(DES3_MAC_GENERAL), CKK_DES3, CKK_DES2, P::kMacGeneral, kSigning, O::kMacGeneral, V::kFixed, R::kCbcMac),
    Des(CMKD_NAMED(DES3_CBC_PAD), CKK_DES3, CKK_DES2, P::kIv8, kCipher, O::kPadded, V::kFixed, R::kCbcPad),
    Des(CMKD_NAMED(DES3_CMAC_GENERAL), CKK_DES3, CKK_DES2, P::kMacGeneral, kSigning, O::kMacGeneral, V::kFixed, R::kCmac),
    Des(CMKD_NAMED(DES3_CMAC), CKK_DES3, CKK_DES2, P::kNone, kSigning, O::kMac, V::kTrial, R::kCmac),
    Des(CMKD_NAMED(DES_ECB_ENCRYPT_DATA), CKK_DES, kNoKeyType, P::kStringData, CKF_DERIVE, O::kNone, V::kFixed, R::kEcbEncryptData),
    Des(CMKD_NAMED(DES_CBC_ENCRYPT_DATA), CKK_DES, kNoKeyType, P::kIvAndData8, CKF_DERIVE, O::kNone, V::kFixed, R::kCbcEncryptData),
    Des(CMKD_NAMED(DES3_ECB_ENCRYPT_DATA), CKK_DES3, CKK_DES2, P::kStringData, CKF_DERIVE, O::kNone, V::kFixed, R::kEcbEncryptData),
    Des(CMKD_NAMED(DES3_CBC_ENCRYPT_DATA), CKK_DES3, CKK_DES2, P::kIvAndData8, CKF_DERIVE, O::kNone, V::kFixed, R::kCbcEncryptData),
};
// clang-format on

}  // namespace cmkd::spec::rows

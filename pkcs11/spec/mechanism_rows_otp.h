// Rows: one-time passwords (RFC 4226).
#pragma once

#include "pkcs11/spec/mechanism_rows.h"

namespace cmkd::spec::rows {

// RFC 4226 section 4, requirement 6.
inline constexpr std::uint32_t kHotpMin = 128;

// clang-format off
inline constexpr std::array kOtpRows = {
    Secret(CMKD_NAMED(HOTP_KEY_GEN), CKK_HOTP, kNoKeyType, kHotpMin, kSecretMax, P::kNone, CKF_GENERATE, O::kNone, kOne, V::kOwnObject, kApproved, R::kHotpKeyGen, 0, "hotp_test"),
    Secret(CMKD_NAMED(HOTP), CKK_HOTP, kNoKeyType, kHotpMin, kSecretMax, P::kOtp, kSigning, O::kOtp, kOne, V::kFixed, kApproved, R::kHotp, 0, "hotp_test"),
};
// clang-format on

}  // namespace cmkd::spec::rows

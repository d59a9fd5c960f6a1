// One-time passwords by RFC 4226 (HOTP) as PKCS#11 has them: what a key of class CKO_OTP_KEY may say of itself, what
// CK_OTP_PARAMS may ask for, the counter, the value, and CK_OTP_SIGNATURE_INFO. Pure; the MAC is made elsewhere
// (daemon/service/hotp.h). Any thread.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/attributes.h"
#include "pkcs11/spec/error.h"

namespace cmkd::spec {

// The standard's name for what p11-kit calls CK_OTP_FORMAT.
inline constexpr CK_ULONG kOtpOutputFormat = CK_OTP_FORMAT;

// Bytes of the secret that a key is given when nobody says how many (RFC 4226 section 4, requirement 6).
inline constexpr CK_ULONG kHotpSecretBytes = 20;
// What is computed, and of how many bytes: HMAC-SHA-1 of the counter (RFC 4226 section 5.3).
inline constexpr std::size_t kHotpMacBytes = 20;
inline constexpr std::size_t kOtpCounterBytes = 8;

// ---- Keys

// One attribute of an OTP key in a template: decimal values of 6 to 8 digits; counters of 8 bytes, or empty; neither
// challenge, time nor PIN, which HOTP does not know. CKR_ATTRIBUTE_VALUE_INVALID.
Status CheckOtpAttribute(const AttributeRow& row, const CK_ATTRIBUTE& attribute);
// A whole OTP key: it makes and verifies passwords, and has no other usage by which its MACs or its value could be had.
// CKR_TEMPLATE_INCONSISTENT.
Status CheckOtpKey(const Attributes& key);
// What the template left to the token: six digits, the counter at 0, and that a counter may be given.
void AddOtpDefaults(Attributes& key);
// Lets `key`, which is about to replace `stored`, have its counter: it is never what a caller has read before.
void KeepOtpCounter(const Attributes& stored, Attributes& key);

// ---- Parameters

// CK_OTP_PARAMS by itself; its buffers are readable. CKR_MECHANISM_PARAM_INVALID.
Status CheckOtpParameter(const CK_MECHANISM& mechanism);

// What it asks of a key.
struct OtpRequest {
  std::optional<std::uint64_t> counter;  // given by the caller
  std::size_t digits = 6;
  bool next = false;  // CKF_NEXT_OTP: one further than that
};
// The request, if the key allows it: a counter must be given for a verification, and where the key says so; where the
// key says that it is ignored, signing has none. CKR_MECHANISM_PARAM_INVALID. After CheckOtpParameter.
Fallible<OtpRequest> ReadOtp(const CK_MECHANISM& mechanism, const Attributes& key, bool verifying);

// ---- The counter

// The counter that a password is made of now, from the key's own or the caller's; the key's goes behind it. It never
// goes back, so no key makes a password twice. CKR_MECHANISM_PARAM_INVALID for a counter that the key has passed,
// CKR_FUNCTION_FAILED when there is none left.
Fallible<std::uint64_t> TakeOtpCounter(const OtpRequest& request, Attributes& key);
// The counter that a password is verified with; the key's own plays no part. CKR_MECHANISM_PARAM_INVALID.
Fallible<std::uint64_t> OtpCounterToVerify(const OtpRequest& request);

// The counter as the MAC takes it, and as attributes and parameters have it.
std::array<std::uint8_t, kOtpCounterBytes> EncodeOtpCounter(std::uint64_t counter);

// ---- The value

// RFC 4226 section 5.3, steps 2 and 3, of a MAC of kHotpMacBytes.
std::string HotpValue(ByteView mac, std::size_t digits);

// CK_OTP_SIGNATURE_INFO, its two CK_OTP_PARAMs (CK_OTP_VALUE, CK_OTP_COUNTER), and their values, each with 8 bytes.
inline constexpr std::size_t kOtpSignatureBytes = sizeof(CK_OTP_SIGNATURE_INFO) + 2 * (sizeof(CK_OTP_PARAM) + 8);
// The daemon cannot point into the application's memory: where pointers belong, this has offsets from its beginning.
Bytes EncodeOtpSignature(std::string_view value, std::uint64_t counter);
// Makes pointers of them, in place. False when it is not what EncodeOtpSignature makes: it comes from the other side.
bool PointIntoOtpSignature(MutableBytes output);

}  // namespace cmkd::spec

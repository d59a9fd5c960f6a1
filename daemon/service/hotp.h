// CKM_HOTP: one-time passwords by RFC 4226. The device makes HMAC-SHA-1 with a key that to it is a generic secret; the
// daemon keeps the counter, in the store for token keys and in the application for session keys, and makes the value of
// the MAC (pkcs11/spec/otp.h).
#pragma once

#include "daemon/service/operation_run.h"

namespace cmkd::daemon {

// At Init: whether the parameter fits the key, and its counter is not behind the key's. CKR_MECHANISM_PARAM_INVALID.
Status CheckHotp(const CK_MECHANISM& mechanism, const Object& key, bool verifying);

// The next password, as CK_OTP_SIGNATURE_INFO. The caller has seen that it fits the buffer, so a length query takes no
// counter. The counter is taken, durably, before the device is asked: what fails after that skips a password.
// CKR_DATA_LEN_RANGE when there are data.
Status SignHotp(Invocation& invocation, Operation& operation, ByteView input, spec::BytesOut& output);

// Whether `value` is the password of the counter in the parameter. It neither asks nor moves the key's own counter: who
// verifies keeps the other side's, and looks ahead by verifying with the counters that follow (RFC 4226 section 7.4).
// CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE, CKR_DATA_LEN_RANGE.
Status VerifyHotp(Invocation& invocation, Operation& operation, ByteView input, ByteView value);

}  // namespace cmkd::daemon

// See hotp.h.
#include "daemon/service/hotp.h"

#include "daemon/service/operation_device.h"
#include "pkcs11/spec/otp.h"

namespace cmkd::daemon {
namespace {

Status CheckNoData(ByteView input) {
  if (input.empty()) return {};
  return Fail(CKR_DATA_LEN_RANGE, "a one-time password is of no data");
}

Fallible<std::uint64_t> TakeCounter(Invocation& invocation, const Object& key, const spec::OtpRequest& request) {
  if (!key.is_token()) return invocation.application->TakeOtpCounter(key.handle, request);
  invocation.changed = true;
  return invocation.daemon.custodian.TakeOtpCounter(key, request);
}

// The password of this counter.
Fallible<std::string> Password(Invocation& invocation, const Operation& operation, std::uint64_t counter,
                               std::size_t digits) {
  auto bytes = spec::EncodeOtpCounter(counter);
  std::array<CK_BYTE, spec::kHotpMacBytes> mac{};
  RETURN_IF_ERROR(
      RunWithKey(invocation, operation,
                 [&](CK_FUNCTION_LIST_PTR device, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) -> CK_RV {
                   CK_MECHANISM mechanism{CKM_SHA_1_HMAC, nullptr, 0};
                   CK_ULONG made = mac.size();
                   if (const CK_RV rv = device->C_SignInit(session, &mechanism, key); rv != CKR_OK) return rv;
                   const CK_RV rv = device->C_Sign(session, bytes.data(), bytes.size(), mac.data(), &made);
                   // Whoever makes another MAC is at fault, not the caller.
                   const bool other = rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && made != mac.size());
                   return other ? CKR_DEVICE_ERROR : rv;
                 }));
  std::string password = spec::HotpValue(mac, digits);
  Wipe(mac);
  return password;
}

}  // namespace

Status CheckHotp(const CK_MECHANISM& mechanism, const Object& key, bool verifying) {
  ASSIGN_OR_RETURN(const spec::OtpRequest request, spec::ReadOtp(mechanism, key.attributes, verifying));
  if (verifying) {
    ASSIGN_OR_RETURN([[maybe_unused]] const std::uint64_t counter, spec::OtpCounterToVerify(request));
    return {};
  }
  spec::Attributes tried = key.attributes;
  ASSIGN_OR_RETURN([[maybe_unused]] const std::uint64_t counter, spec::TakeOtpCounter(request, tried));
  return {};
}

Status SignHotp(Invocation& invocation, Operation& operation, ByteView input, spec::BytesOut& output) {
  RETURN_IF_ERROR(CheckNoData(input));
  const Object& key = *operation.key;
  ASSIGN_OR_RETURN(const spec::OtpRequest request, spec::ReadOtp(operation.mechanism->get(), key.attributes, false));
  // A key that may not be used keeps its counter.
  ASSIGN_OR_RETURN([[maybe_unused]] const std::vector<Candidate> candidates, CandidatesOf(invocation, operation));
  ASSIGN_OR_RETURN(const std::uint64_t counter, TakeCounter(invocation, key, request));
  ASSIGN_OR_RETURN(const std::string password, Password(invocation, operation, counter, request.digits));
  const Bytes made = spec::EncodeOtpSignature(password, counter);
  if (output.Put(made) != CKR_OK) return TooSmall();
  invocation.trailers.push_back({wire::TrailerKind::kOtpSignature, 0, 0, {}});
  invocation.audit.output_bytes = made.size();
  return {};
}

Status VerifyHotp(Invocation& invocation, Operation& operation, ByteView input, ByteView value) {
  RETURN_IF_ERROR(CheckNoData(input));
  ASSIGN_OR_RETURN(const spec::OtpRequest request,
                   spec::ReadOtp(operation.mechanism->get(), operation.key->attributes, true));
  ASSIGN_OR_RETURN(const std::uint64_t counter, spec::OtpCounterToVerify(request));
  if (value.size() != request.digits) return Fail(CKR_SIGNATURE_LEN_RANGE, "a one-time password has another length");
  ASSIGN_OR_RETURN(const std::string password, Password(invocation, operation, counter, request.digits));
  if (ConstantTimeEqual(AsBytes(password), value)) return {};
  return Fail(CKR_SIGNATURE_INVALID, "not the one-time password of this counter", spec::kAuthenticationFailed);
}

}  // namespace cmkd::daemon

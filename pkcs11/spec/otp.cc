// See otp.h.
#include "pkcs11/spec/otp.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <span>

namespace cmkd::spec {
namespace {

constexpr CK_ULONG kDigitsMin = 6, kDigitsMax = 8;  // RFC 4226 section 5.3
constexpr std::uint64_t kLastCounter = std::numeric_limits<std::uint64_t>::max();
constexpr CK_FLAGS kKnownFlags = CKF_NEXT_OTP | CKF_EXCLUDE_TIME | CKF_EXCLUDE_COUNTER | CKF_EXCLUDE_CHALLENGE |
                                 CKF_EXCLUDE_PIN | CKF_USER_FRIENDLY_OTP;

Failure<Error> Invalid(const char* why) { return Fail(CKR_MECHANISM_PARAM_INVALID, why); }

bool AreDigits(CK_ULONG digits) { return digits >= kDigitsMin && digits <= kDigitsMax; }

std::uint64_t DecodeCounter(ByteView bytes) {
  std::uint64_t counter = 0;
  for (const std::uint8_t byte : bytes) counter = counter << 8 | byte;
  return counter;
}

std::span<const CK_OTP_PARAM> ParamsOf(const CK_MECHANISM& mechanism) {
  const auto& given = *static_cast<const CK_OTP_PARAMS*>(mechanism.pParameter);
  return {given.pParams, given.ulCount};
}

ByteView ValueOf(const CK_OTP_PARAM& param) {
  return {static_cast<const std::uint8_t*>(param.pValue), param.ulValueLen};
}

// The values need not be aligned. Nothing when it is not there; its length was checked.
std::optional<CK_ULONG> UlongOf(std::span<const CK_OTP_PARAM> params, CK_ULONG type) {
  for (const CK_OTP_PARAM& param : params) {
    if (param.type != type) continue;
    CK_ULONG value;
    std::memcpy(&value, param.pValue, sizeof value);
    return value;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> CounterOf(std::span<const CK_OTP_PARAM> params) {
  for (const CK_OTP_PARAM& param : params) {
    if (param.type == CK_OTP_COUNTER) return DecodeCounter(ValueOf(param));
  }
  return std::nullopt;
}

Status CheckOne(const CK_OTP_PARAM& param) {
  switch (param.type) {
    case CK_OTP_PIN:  // HOTP has no use for the three: CKA_OTP_X_REQUIREMENT says that they are ignored
    case CK_OTP_CHALLENGE:
    case CK_OTP_TIME: return {};
    case CK_OTP_COUNTER:
      if (param.ulValueLen != kOtpCounterBytes) return Invalid("CK_OTP_COUNTER is not of 8 bytes");
      return {};
    case CK_OTP_FLAGS:
    case CK_OTP_OUTPUT_LENGTH:
    case kOtpOutputFormat:
      if (param.ulValueLen != sizeof(CK_ULONG)) return Invalid("a number of a one-time password is no CK_ULONG");
      return {};
    case CK_OTP_VALUE: return Invalid("CK_OTP_VALUE is an output");
    default: return Invalid("an unknown parameter of a one-time password");
  }
}

Status CheckFlags(CK_FLAGS flags) {
  if ((flags & ~kKnownFlags) != 0) return Invalid("an unknown flag of a one-time password");
  if ((flags & CKF_EXCLUDE_COUNTER) != 0) return Invalid("there is no HOTP value without a counter");
  return {};
}

Fallible<std::uint64_t> Further(std::uint64_t counter, bool next) {
  if (!next) return counter;
  if (counter == kLastCounter) return Invalid("there is no next counter");
  return counter + 1;
}

// Where the parts of a CK_OTP_SIGNATURE_INFO are.
constexpr std::size_t kParamsAt = sizeof(CK_OTP_SIGNATURE_INFO);
constexpr std::size_t kValueAt = kParamsAt + 2 * sizeof(CK_OTP_PARAM);
constexpr std::size_t kCounterAt = kValueAt + 8;
static_assert(kCounterAt + kOtpCounterBytes == kOtpSignatureBytes);

CK_BYTE_PTR AsPointer(std::size_t offset) { return reinterpret_cast<CK_BYTE_PTR>(offset); }  // NOLINT: not one yet

}  // namespace

// ---- Keys

Status CheckOtpAttribute(const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  const auto refuse = [&](const char* why) {
    return Fail(CKR_ATTRIBUTE_VALUE_INVALID, std::string(row.name) + " " + why);
  };
  CK_ULONG number = 0;
  if (row.kind == AttributeKind::kUlong) std::memcpy(&number, attribute.pValue, sizeof number);
  switch (row.type) {
    case CKA_OTP_FORMAT:
      if (number != CK_OTP_FORMAT_DECIMAL) return refuse("is not decimal");
      return {};
    case CKA_OTP_LENGTH:
      if (!AreDigits(number)) return refuse("is not from 6 to 8");
      return {};
    case CKA_OTP_CHALLENGE_REQUIREMENT:
    case CKA_OTP_TIME_REQUIREMENT:
    case CKA_OTP_PIN_REQUIREMENT:
      if (number != CK_OTP_PARAM_IGNORED) return refuse("asks for what HOTP does not know");
      return {};
    case CKA_OTP_COUNTER_REQUIREMENT:
      if (number > CK_OTP_PARAM_MANDATORY) return refuse("is none of the standard's values");
      return {};
    case CKA_OTP_COUNTER:
      if (attribute.ulValueLen != 0 && attribute.ulValueLen != kOtpCounterBytes) return refuse("is not of 8 bytes");
      return {};
    case CKA_OTP_TIME:
      if (attribute.ulValueLen != 0) return refuse("is kept by no HOTP key");
      return {};
    default: return {};
  }
}

Status CheckOtpKey(const Attributes& key) {
  for (const CK_ATTRIBUTE_TYPE usage : {CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE}) {
    if (key.Bool(usage))
      return Fail(CKR_TEMPLATE_INCONSISTENT, "a HOTP key makes and verifies one-time passwords only");
  }
  return {};
}

void AddOtpDefaults(Attributes& key) {
  if (!key.Has(CKA_OTP_LENGTH)) key.SetUlong(CKA_OTP_LENGTH, kDigitsMin);
  if (!key.Has(CKA_OTP_COUNTER_REQUIREMENT)) key.SetUlong(CKA_OTP_COUNTER_REQUIREMENT, CK_OTP_PARAM_OPTIONAL);
  if (key.View(CKA_OTP_COUNTER).empty()) key.Set(CKA_OTP_COUNTER, EncodeOtpCounter(0));
}

void KeepOtpCounter(const Attributes& stored, Attributes& key) {
  const ShortBytes* counter = stored.Find(CKA_OTP_COUNTER);
  if (counter != nullptr) key.Set(CKA_OTP_COUNTER, *counter);
}

// ---- Parameters

Status CheckOtpParameter(const CK_MECHANISM& mechanism) {
  const auto params = ParamsOf(mechanism);
  for (std::size_t i = 0; i < params.size(); ++i) {
    RETURN_IF_ERROR(CheckOne(params[i]));
    const auto earlier = params.first(i);
    const bool again = std::any_of(earlier.begin(), earlier.end(),
                                   [&](const CK_OTP_PARAM& other) { return other.type == params[i].type; });
    if (again) return Invalid("a parameter of a one-time password is given twice");
  }
  RETURN_IF_ERROR(CheckFlags(UlongOf(params, CK_OTP_FLAGS).value_or(0)));
  if (!AreDigits(UlongOf(params, CK_OTP_OUTPUT_LENGTH).value_or(kDigitsMin)))
    return Invalid("CK_OTP_OUTPUT_LENGTH is not from 6 to 8");
  if (UlongOf(params, kOtpOutputFormat).value_or(CK_OTP_FORMAT_DECIMAL) != CK_OTP_FORMAT_DECIMAL)
    return Invalid("HOTP values are decimal");
  return {};
}

Fallible<OtpRequest> ReadOtp(const CK_MECHANISM& mechanism, const Attributes& key, bool verifying) {
  const auto params = ParamsOf(mechanism);
  const CK_FLAGS flags = UlongOf(params, CK_OTP_FLAGS).value_or(0);
  if ((flags & CKF_USER_FRIENDLY_OTP) != 0 && !key.Bool(CKA_OTP_USER_FRIENDLY_MODE))
    return Invalid("the key gives nothing for human consumption");
  OtpRequest request;
  request.counter = CounterOf(params);
  request.digits = UlongOf(params, CK_OTP_OUTPUT_LENGTH).value_or(key.Ulong(CKA_OTP_LENGTH).value_or(kDigitsMin));
  request.next = (flags & CKF_NEXT_OTP) != 0;
  const CK_ULONG requirement = key.Ulong(CKA_OTP_COUNTER_REQUIREMENT).value_or(CK_OTP_PARAM_OPTIONAL);
  if (!request.counter && (verifying || requirement == CK_OTP_PARAM_MANDATORY))
    return Invalid("CK_OTP_COUNTER is missing");
  if (!verifying && requirement == CK_OTP_PARAM_IGNORED) request.counter.reset();
  return request;
}

// ---- The counter

Fallible<std::uint64_t> TakeOtpCounter(const OtpRequest& request, Attributes& key) {
  const ByteView kept = key.View(CKA_OTP_COUNTER);
  if (kept.size() != kOtpCounterBytes) return Fail(CKR_FUNCTION_FAILED, "the key has no counter");
  const std::uint64_t own = DecodeCounter(kept);
  if (request.counter.value_or(own) < own) return Invalid("the key's counter is past that one");
  ASSIGN_OR_RETURN(const std::uint64_t counter, Further(request.counter.value_or(own), request.next));
  // The last one would leave none to go on to.
  if (counter == kLastCounter) return Fail(CKR_FUNCTION_FAILED, "the key's counter is at its end");
  key.Set(CKA_OTP_COUNTER, EncodeOtpCounter(counter + 1));
  return counter;
}

Fallible<std::uint64_t> OtpCounterToVerify(const OtpRequest& request) {
  return Further(request.counter.value_or(0), request.next);
}

std::array<std::uint8_t, kOtpCounterBytes> EncodeOtpCounter(std::uint64_t counter) {
  std::array<std::uint8_t, kOtpCounterBytes> bytes;
  for (std::size_t i = bytes.size(); i-- > 0; counter >>= 8) bytes[i] = static_cast<std::uint8_t>(counter);
  return bytes;
}

// ---- The value

std::string HotpValue(ByteView mac, std::size_t digits) {
  const std::size_t at = mac.back() & 0x0F;
  std::uint32_t number = static_cast<std::uint32_t>(DecodeCounter(mac.subspan(at, 4))) & 0x7FFFFFFF;
  std::string value(digits, '0');
  for (std::size_t i = digits; i-- > 0; number /= 10) value[i] = static_cast<char>('0' + number % 10);
  return value;
}

Bytes EncodeOtpSignature(std::string_view value, std::uint64_t counter) {
  const CK_OTP_PARAM params[] = {{CK_OTP_VALUE, AsPointer(kValueAt), value.size()},
                                 {CK_OTP_COUNTER, AsPointer(kCounterAt), kOtpCounterBytes}};
  const CK_OTP_SIGNATURE_INFO info{reinterpret_cast<CK_OTP_PARAM*>(AsPointer(kParamsAt)), std::size(params)};
  const auto bytes = EncodeOtpCounter(counter);
  Bytes made(kOtpSignatureBytes);
  std::memcpy(made.data(), &info, sizeof info);
  std::memcpy(made.data() + kParamsAt, params, sizeof params);
  std::memcpy(made.data() + kValueAt, value.data(), value.size());
  std::memcpy(made.data() + kCounterAt, bytes.data(), bytes.size());
  return made;
}

bool PointIntoOtpSignature(MutableBytes output) {
  CK_OTP_SIGNATURE_INFO info;
  CK_OTP_PARAM params[2];
  if (output.size() != kOtpSignatureBytes) return false;
  std::memcpy(&info, output.data(), sizeof info);
  std::memcpy(params, output.data() + kParamsAt, sizeof params);
  const auto is_at = [](const void* pointer, std::size_t offset) {
    return reinterpret_cast<std::uintptr_t>(pointer) == offset;
  };
  const bool as_made = is_at(info.pParams, kParamsAt) && info.ulCount == std::size(params) &&
                       params[0].type == CK_OTP_VALUE && is_at(params[0].pValue, kValueAt) &&
                       AreDigits(params[0].ulValueLen) && params[1].type == CK_OTP_COUNTER &&
                       is_at(params[1].pValue, kCounterAt) && params[1].ulValueLen == kOtpCounterBytes;
  if (!as_made) return false;
  info.pParams = reinterpret_cast<CK_OTP_PARAM*>(output.data() + kParamsAt);
  params[0].pValue = output.data() + kValueAt;
  params[1].pValue = output.data() + kCounterAt;
  // The application's buffer need not be aligned.
  std::memcpy(output.data(), &info, sizeof info);
  std::memcpy(output.data() + kParamsAt, params, sizeof params);
  return true;
}

}  // namespace cmkd::spec

// Parameters of MACs, digests and one-time passwords.
#include <algorithm>

#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/otp.h"
#include "pkcs11/spec/parameter_rows.h"

namespace cmkd::spec {
namespace parameters {
namespace {

constexpr std::uint32_t kOtpParams = 16;  // parameters of a one-time password

// FIPS 180-4 section 5.3.6: any t below 512 but 384. Whole bytes only.
bool IsHashBits(CK_ULONG bits) { return bits >= 8 && bits <= 504 && bits % 8 == 0 && bits != 384; }

Status CheckHashBits(const Given& given) {
  if (!IsHashBits(UlongAt(given.parameter, 0))) return Invalid("not a length of SHA-512/t");
  return {};
}

Status CheckMacLength(const Given& given) {
  // A MAC of no bytes fits everything.
  const std::size_t bytes = ReadMacGeneral(given.mechanism);
  if (given.row.digest == CKM_SHA512_T && !IsHashBits(CK_ULONG{8} * std::min<std::size_t>(bytes, 64)))
    return Invalid("not a length of SHA-512/t");
  if (bytes < 1 || bytes > MacLength(given.row, given.mechanism)) return Invalid("not a length of this MAC");
  return {};
}

Status CheckOtp(const Given& given) { return CheckOtpParameter(given.mechanism); }

constexpr std::array kLength = {ParameterField{FieldKind::kUlong, "value", 0}};
constexpr std::array kOtpParam = CMKD_FIELDS(CK_OTP_PARAM, CMKD_VALUE(type), CMKD_BUFFER(pValue, ulValueLen, kRandom));

constexpr std::array kRows = {
    Row<CK_ULONG>(P::kMacGeneral, CheckMacLength, kLength),
    Row<CK_ULONG>(P::kHashBits, CheckHashBits, kLength),
    CMKD_PARAMETER(P::kOtp, CK_OTP_PARAMS, CheckOtp, CMKD_STRUCTS(pParams, ulCount, kOtpParams, kOtpParam)),
};

}  // namespace

std::span<const ParameterRow> MacParameters() { return kRows; }

}  // namespace parameters

std::size_t ReadMacGeneral(const CK_MECHANISM& mechanism) {
  return mechanism.ulParameterLen == sizeof(CK_ULONG) ? parameters::UlongAt(mechanism.pParameter, 0) : 0;
}

std::size_t ReadHashBits(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  if (row.digest == CKM_SHA512_T && row.parameter == ParameterKind::kMacGeneral) return ReadMacGeneral(mechanism);
  const bool given = row.parameter == ParameterKind::kHashBits && mechanism.ulParameterLen == sizeof(CK_ULONG);
  return given ? parameters::UlongAt(mechanism.pParameter, 0) / 8 : DigestLength(row.digest);
}

}  // namespace cmkd::spec

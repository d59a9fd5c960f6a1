// Parameters of key derivation but TLS's: HKDF, SP 800-108, PBKDF2, and keys made of keys and data.
#include <algorithm>

#include "common/limits.h"
#include "pkcs11/spec/parameter_rows.h"

namespace cmkd::spec {
namespace parameters {
namespace {

constexpr std::uint32_t kPassword = 65536;       // what RFC 8018 derives a key from
constexpr std::uint32_t kDataParams = 64;        // parts of the input of an SP 800-108 PRF
constexpr CK_ULONG kIterationsMax = 10'000'000;  // some seconds of work

Status CheckHkdf(const Given& given) {
  const auto& hkdf = given.As<CK_HKDF_PARAMS>();
  if (hkdf.bExtract > CK_TRUE || hkdf.bExpand > CK_TRUE || (!hkdf.bExtract && !hkdf.bExpand)) {
    return Invalid("HKDF extracts, expands, or both");
  }
  RETURN_IF_ERROR(CheckHmacHash(hkdf.prfHashMechanism));
  if (!hkdf.bExtract) return {};
  const bool data = hkdf.ulSaltType == CKF_HKDF_SALT_DATA, key = hkdf.ulSaltType == CKF_HKDF_SALT_KEY;
  if (!data && !key && hkdf.ulSaltType != CKF_HKDF_SALT_NULL) return Invalid("unknown kind of salt");
  if (data != (hkdf.ulSaltLen != 0) || key != (hkdf.hSaltKey != CK_INVALID_HANDLE)) {
    return Invalid("the salt is not of the kind that ulSaltType says");
  }
  return {};
}

Status CheckCounterPart(const CK_PRF_DATA_PARAM& part) {
  if (part.ulValueLen != sizeof(CK_SP800_108_COUNTER_FORMAT)) return Invalid("a counter without its format");
  const CK_ULONG width = UlongAt(part.pValue, offsetof(CK_SP800_108_COUNTER_FORMAT, ulWidthInBits));
  if (width < 8 || width > 32 || width % 8 != 0) return Invalid("a counter has 8, 16, 24 or 32 bits");
  return {};
}

Status CheckLengthPart(const CK_PRF_DATA_PARAM& part) {
  if (part.ulValueLen != sizeof(CK_SP800_108_DKM_LENGTH_FORMAT)) return Invalid("a length without its format");
  const CK_ULONG method = UlongAt(part.pValue, offsetof(CK_SP800_108_DKM_LENGTH_FORMAT, dkmLengthMethod));
  const CK_ULONG width = UlongAt(part.pValue, offsetof(CK_SP800_108_DKM_LENGTH_FORMAT, ulWidthInBits));
  if (method != CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS && method != CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS) {
    return Invalid("unknown method of the length");
  }
  if (width < 8 || width > 64 || width % 8 != 0) return Invalid("a length has whole bytes, eight at most");
  return {};
}

// PKCS#11 3.2, "SP 800-108 Key Derivation", on one part of the input. In counter mode the variable is the counter.
Status CheckDataParam(const CK_PRF_DATA_PARAM& part, bool counter_mode) {
  switch (part.type) {
    case CK_SP800_108_ITERATION_VARIABLE:
      if (counter_mode) return CheckCounterPart(part);
      if (part.ulValueLen != 0) return Invalid("the iteration variable of this mode has no format");
      return {};
    case CK_SP800_108_COUNTER:
      if (counter_mode) return Invalid("the counter of this mode is its iteration variable");
      return CheckCounterPart(part);
    case CK_SP800_108_DKM_LENGTH: return CheckLengthPart(part);
    case CK_SP800_108_BYTE_ARRAY:
      if (part.ulValueLen == 0) return Invalid("a byte array without bytes");
      return {};
    case CK_SP800_108_KEY_HANDLE:
      if (part.ulValueLen != sizeof(CK_OBJECT_HANDLE)) return Invalid("a key without its handle");
      return {};
    default: return Invalid("a part of the input that is not taken");
  }
}

// The same on which parts the input of each mode may have.
Status CheckDataParams(Recipe recipe, std::span<const CK_PRF_DATA_PARAM> parts) {
  const bool counter_mode = recipe == Recipe::kSp800Counter;
  for (const CK_PRF_DATA_PARAM& part : parts) RETURN_IF_ERROR(CheckDataParam(part, counter_mode));
  const auto count = [parts](CK_ULONG type) {
    return std::count_if(parts.begin(), parts.end(), [type](const CK_PRF_DATA_PARAM& p) { return p.type == type; });
  };
  const auto variables = count(CK_SP800_108_ITERATION_VARIABLE);
  const bool variable = recipe == Recipe::kSp800DoublePipeline ? variables <= 1 : variables == 1;
  if (!variable || count(CK_SP800_108_COUNTER) > 1 || count(CK_SP800_108_DKM_LENGTH) > 1) {
    return Invalid("parts of the input are missing or too many");
  }
  return {};
}

std::span<const CK_PRF_DATA_PARAM> DataParams(const Fields& given) {
  const ParameterField& parts = *FieldNamed(given.layout, "pDataParams");
  return {static_cast<const CK_PRF_DATA_PARAM*>(FieldPointer(given.parameter, parts)),
          FieldStructCount(given.parameter, parts)};
}

Status CheckSp800(const Given& given) {
  if (!IsSp800Prf(given.Value("prfType"))) return Invalid("unknown pseudorandom function");
  for (const CK_DERIVED_KEY& key : AdditionalKeysIn(given.row, given.mechanism)) {
    if (key.phKey == nullptr) return Invalid("the handle of an additional key goes nowhere");
  }
  return CheckDataParams(given.row.recipe, DataParams(given));
}

Status CheckPbkdf2(const Given& given) {
  const auto& pbkdf2 = given.As<CK_PKCS5_PBKD2_PARAMS2>();
  if (pbkdf2.saltSource != CKZ_SALT_SPECIFIED) return Invalid("unknown source of the salt");
  if (Pbkdf2Digest(pbkdf2.prf) == 0) return Invalid("unknown pseudorandom function");
  if (pbkdf2.ulPrfDataLen != 0) return Invalid("the pseudorandom function takes no data");
  if (pbkdf2.iterations < 1 || pbkdf2.iterations > kIterationsMax) return Invalid("too few or too many iterations");
  return {};
}

constexpr std::array kKeyHandle = {ParameterField{FieldKind::kKeyHandle, "key", 0}};
constexpr std::array kBitPosition = {ParameterField{FieldKind::kUlong, "value", 0}};
constexpr std::array kDataParam =
    CMKD_FIELDS(CK_PRF_DATA_PARAM, CMKD_VALUE(type), CMKD_BUFFER(pValue, ulValueLen, kLabel));
// The handle is written, not read: on the wire there is only whether it is wanted.
constexpr std::array kDerivedKey = CMKD_FIELDS(
    CK_DERIVED_KEY,
    CMKD_COUNTED(kTemplate, pTemplate, ulAttributeCount, sizeof(CK_ATTRIBUTE), limits::kTemplateAttributesMax),
    Out(CMKD_BYTES(phKey, sizeof(CK_OBJECT_HANDLE))));
#define CMKD_SP800_INPUT CMKD_VALUE(prfType), CMKD_STRUCTS(pDataParams, ulNumberOfDataParams, kDataParams, kDataParam)
#define CMKD_SP800_KEYS CMKD_STRUCTS(pAdditionalDerivedKeys, ulAdditionalDerivedKeys, kAdditionalKeysMax, kDerivedKey)

constexpr std::array kRows = {
    CMKD_PARAMETER(P::kHkdf, CK_HKDF_PARAMS, CheckHkdf, CMKD_VALUE(bExtract), CMKD_VALUE(bExpand),
                   CMKD_VALUE(prfHashMechanism), CMKD_VALUE(ulSaltType), CMKD_BUFFER(pSalt, ulSaltLen, kLabel),
                   CMKD_KEY(hSaltKey), CMKD_BUFFER(pInfo, ulInfoLen, kLabel)),
    CMKD_PARAMETER(P::kSp800Kdf, CK_SP800_108_KDF_PARAMS, CheckSp800, CMKD_SP800_INPUT, CMKD_SP800_KEYS),
    CMKD_PARAMETER(P::kSp800Feedback, CK_SP800_108_FEEDBACK_KDF_PARAMS, CheckSp800, CMKD_SP800_INPUT,
                   CMKD_BUFFER(pIV, ulIVLen, kRandom), CMKD_SP800_KEYS),
    CMKD_PARAMETER(P::kPbkdf2, CK_PKCS5_PBKD2_PARAMS2, CheckPbkdf2, CMKD_VALUE(saltSource),
                   CMKD_BUFFER(pSaltSourceData, ulSaltSourceDataLen, kLabel), CMKD_VALUE(iterations), CMKD_VALUE(prf),
                   CMKD_BUFFER(pPrfData, ulPrfDataLen, kRandom), CMKD_BUFFER(pPassword, ulPasswordLen, kPassword)),
    Row<CK_OBJECT_HANDLE>(P::kKeyHandle, AnyValue, kKeyHandle),
    Row<CK_ULONG>(P::kUlong, AnyValue, kBitPosition),
    CMKD_PARAMETER(P::kStringData, CK_KEY_DERIVATION_STRING_DATA, AnyValue, CMKD_BUFFER(pData, ulLen, kLabel)),
    CMKD_PARAMETER(P::kIvAndData8, CK_DES_CBC_ENCRYPT_DATA_PARAMS, AnyValue, CMKD_VALUE(iv),
                   CMKD_BUFFER(pData, length, kLabel)),
    CMKD_PARAMETER(P::kIvAndData16, CK_AES_CBC_ENCRYPT_DATA_PARAMS, AnyValue, CMKD_VALUE(iv),
                   CMKD_BUFFER(pData, length, kLabel)),
};

}  // namespace

std::span<const ParameterRow> DerivationParameters() { return kRows; }

}  // namespace parameters

using namespace parameters;

std::span<const CK_DERIVED_KEY> AdditionalKeysIn(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  if (row.parameter != P::kSp800Kdf && row.parameter != P::kSp800Feedback) return {};
  const ParameterLayout* layout = LayoutFor(row.parameter, mechanism.ulParameterLen);
  if (layout == nullptr || mechanism.pParameter == nullptr) return {};
  const ParameterField& field = *FieldNamed(*layout, "pAdditionalDerivedKeys");
  const auto* first = static_cast<const CK_DERIVED_KEY*>(FieldPointer(mechanism.pParameter, field));
  const std::size_t count = FieldStructCount(mechanism.pParameter, field);
  return first == nullptr || count > field.limit ? std::span<const CK_DERIVED_KEY>() : std::span(first, count);
}

std::vector<OtherKeyPlace> OtherKeysIn(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  std::vector<OtherKeyPlace> places;
  if (row.parameter == P::kKeyHandle) places.push_back({static_cast<CK_OBJECT_HANDLE*>(mechanism.pParameter), true});
  if (row.parameter == P::kHkdf) {
    auto* hkdf = static_cast<CK_HKDF_PARAMS*>(mechanism.pParameter);
    places.push_back({&hkdf->hSaltKey, hkdf->bExtract != CK_FALSE && hkdf->ulSaltType == CKF_HKDF_SALT_KEY});
  }
  if (row.parameter == P::kSp800Kdf || row.parameter == P::kSp800Feedback) {
    for (const CK_PRF_DATA_PARAM& part :
         DataParams({*LayoutFor(row.parameter, mechanism.ulParameterLen), mechanism.pParameter})) {
      if (part.type == CK_SP800_108_KEY_HANDLE) places.push_back({static_cast<CK_OBJECT_HANDLE*>(part.pValue), true});
    }
  }
  return places;
}

CK_MECHANISM_TYPE Pbkdf2Digest(CK_ULONG prf) {
  switch (prf) {
    case CKP_PKCS5_PBKD2_HMAC_SHA1: return CKM_SHA_1;
    case CKP_PKCS5_PBKD2_HMAC_SHA224: return CKM_SHA224;
    case CKP_PKCS5_PBKD2_HMAC_SHA256: return CKM_SHA256;
    case CKP_PKCS5_PBKD2_HMAC_SHA384: return CKM_SHA384;
    case CKP_PKCS5_PBKD2_HMAC_SHA512: return CKM_SHA512;
    case CKP_PKCS5_PBKD2_HMAC_SHA512_224: return CKM_SHA512_224;
    case CKP_PKCS5_PBKD2_HMAC_SHA512_256: return CKM_SHA512_256;
    default: return 0;
  }
}

bool IsSp800Prf(CK_MECHANISM_TYPE prf) {
  const MechanismRow* row = FindMechanism(prf);
  if (row == nullptr || row->parameter != P::kNone || row->output != OutputRule::kMac) return false;
  return row->recipe == Recipe::kHmac || row->recipe == Recipe::kCmac;
}

}  // namespace cmkd::spec

// Parameters of RSA: PSS, OAEP, and wrapping with a temporary AES key.
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/parameter_rows.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {
namespace parameters {
namespace {

// The hashes that RFC 8017 appendix B.1 names and FIPS 202's; not MD5, which it has for old signatures only.
bool IsRsaHash(CK_MECHANISM_TYPE hash) {
  const bool other = hash == CKM_MD5 || hash == CKM_SM3 || hash == CKM_BLAKE2B_512 || hash == CKM_SHA512_T;
  return DigestLength(hash) != 0 && !other;
}

Status CheckHashAndMgf(const Fields& given) {
  if (!IsRsaHash(given.Value("hashAlg"))) return Invalid("unknown hashAlg");
  if (MgfDigest(given.Value("mgf")) == 0) return Invalid("unknown mgf");
  return {};
}

Status CheckPss(const Given& given) {
  RETURN_IF_ERROR(CheckHashAndMgf(given));
  const MechanismRow& row = given.row;
  const CK_MECHANISM_TYPE hash = given.Value("hashAlg");
  if (row.digest != 0 && hash != row.digest) return Invalid("hashAlg is not the hash of " + std::string(row.name));
  // The encoded message holds the salt, a hash and two bytes (RFC 8017 section 9.1.1); which modulus, the key will
  // tell.
  const CK_ULONG longest = row.key_bits_max / 8 - DigestLength(hash) - 2;
  if (given.Value("sLen") > longest) return Invalid("PSS salt longer than any modulus");
  return {};
}

Status CheckOaepFields(const Fields& given) {
  RETURN_IF_ERROR(CheckHashAndMgf(given));
  const CK_ULONG source = given.Value("source");
  const bool labelled = !given.Buffer("pSourceData").empty();
  // Programs without a label leave the source 0.
  if (source != CKZ_DATA_SPECIFIED && (source != 0 || labelled)) return Invalid("unknown OAEP source");
  return {};
}

Status CheckOaep(const Given& given) { return CheckOaepFields(given); }

Status CheckRsaAesWrap(const Given& given) {
  const auto& wrap = given.As<CK_RSA_AES_KEY_WRAP_PARAMS>();
  if (!IsAesBits(wrap.ulAESKeyBits)) return Invalid("ulAESKeyBits is no size of an AES key");
  return CheckOaepFields({*LayoutFor(P::kOaep, sizeof *wrap.pOAEPParams), wrap.pOAEPParams});
}

constexpr std::array kOaepFields = CMKD_FIELDS(CK_RSA_PKCS_OAEP_PARAMS, CMKD_VALUE(hashAlg), CMKD_VALUE(mgf),
                                               CMKD_VALUE(source), CMKD_BUFFER(pSourceData, ulSourceDataLen, kLabel));

constexpr std::array kRows = {
    CMKD_PARAMETER(P::kPss, CK_RSA_PKCS_PSS_PARAMS, CheckPss, CMKD_VALUE(hashAlg), CMKD_VALUE(mgf), CMKD_VALUE(sLen)),
    Row<CK_RSA_PKCS_OAEP_PARAMS>(P::kOaep, CheckOaep, kOaepFields),
    CMKD_PARAMETER(P::kRsaAesWrap, CK_RSA_AES_KEY_WRAP_PARAMS, CheckRsaAesWrap, CMKD_VALUE(ulAESKeyBits),
                   CMKD_STRUCT(pOAEPParams, kOaepFields)),
};

}  // namespace

std::span<const ParameterRow> RsaParameters() { return kRows; }

}  // namespace parameters

CK_MECHANISM_TYPE MgfDigest(CK_RSA_PKCS_MGF_TYPE mgf) {
  switch (mgf) {
    case CKG_MGF1_SHA1: return CKM_SHA_1;
    case CKG_MGF1_SHA224: return CKM_SHA224;
    case CKG_MGF1_SHA256: return CKM_SHA256;
    case CKG_MGF1_SHA384: return CKM_SHA384;
    case CKG_MGF1_SHA512: return CKM_SHA512;
    case CKG_MGF1_SHA3_224: return CKM_SHA3_224;
    case CKG_MGF1_SHA3_256: return CKM_SHA3_256;
    case CKG_MGF1_SHA3_384: return CKM_SHA3_384;
    case CKG_MGF1_SHA3_512: return CKM_SHA3_512;
    default: return 0;
  }
}

}  // namespace cmkd::spec

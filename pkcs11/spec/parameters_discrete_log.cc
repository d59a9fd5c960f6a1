// Parameters of discrete logarithms and curves: key agreement, EdDSA, and the seed of DSA's domain parameters.
#include <algorithm>

#include "pkcs11/spec/parameter_rows.h"

namespace cmkd::spec {
namespace parameters {
namespace {

constexpr std::uint32_t kPoint = 1024;   // a public key, DER included
constexpr std::uint32_t kPrime = 2048;   // a public Diffie-Hellman value
constexpr std::uint32_t kContext = 255;  // RFC 8032

Status CheckKdf(const Given& given) {
  const CK_ULONG kdf = given.Value("kdf");
  if (kdf != CKD_NULL && KdfDigest(kdf) == 0) return Invalid("unknown kdf");
  if (kdf == CKD_NULL && !given.Buffer("pSharedData").empty()) return Invalid("shared data without a kdf");
  return {};
}

Status CheckEcdh(const Given& given) {
  RETURN_IF_ERROR(CheckKdf(given));
  if (given.Buffer("pPublicData").empty()) return Invalid("ECDH without the other side's public key");
  return {};
}

Status CheckEcdhAesWrap(const Given& given) {
  if (!IsAesBits(given.Value("ulAESKeyBits"))) return Invalid("ulAESKeyBits is no size of an AES key");
  // A temporary key made of a bare coordinate would not be uniform (SP 800-56A section 5.8).
  if (given.Value("kdf") == CKD_NULL) return Invalid("a key derivation function is needed here");
  return CheckKdf(given);
}

Status CheckX942(const Given& given) {
  const CK_ULONG kdf = given.Value("kdf");
  if (kdf != CKD_NULL && kdf != CKD_SHA1_KDF_CONCATENATE && KdfDigest(kdf) == 0) return Invalid("unknown kdf");
  if (kdf == CKD_NULL && !given.Buffer("pOtherInfo").empty()) return Invalid("other info without a kdf");
  if (given.Buffer("pPublicData").empty()) return Invalid("no public value of the other side");
  return {};
}

Status CheckDhPublic(const Given& given) {
  if (given.mechanism.ulParameterLen == 0) return Invalid("no public value of the other side");
  return {};
}

Status CheckEddsa(const Given& given) {
  if (given.Value("phFlag") > CK_TRUE) return Invalid("phFlag is no boolean");
  return {};
}

// How long a seed must be the sizes say, which are in the template; for an index there is one byte (FIPS 186-4 appendix
// A.2.3).
Status CheckDsaSeed(const Given& given) {
  const auto& seed = given.As<CK_DSA_PARAMETER_GEN_PARAM>();
  constexpr std::array kHashes = {CKM_SHA_1, CKM_SHA224, CKM_SHA256, CKM_SHA384, CKM_SHA512};
  if (std::find(kHashes.begin(), kHashes.end(), seed.hash) == kHashes.end()) return Invalid("unknown hash");
  if (seed.ulSeedLen == 0) return Invalid("no seed");
  const bool index = given.mechanism.mechanism == CKM_DSA_FIPS_G_GEN;
  if (index && seed.ulIndex > 0xFF) return Invalid("the index is not of 8 bits");
  return {};
}

constexpr std::array kRows = {
    CMKD_PARAMETER(P::kEcdh1, CK_ECDH1_DERIVE_PARAMS, CheckEcdh, CMKD_VALUE(kdf),
                   CMKD_BUFFER(pSharedData, ulSharedDataLen, kLabel),
                   CMKD_BUFFER(pPublicData, ulPublicDataLen, kPoint)),
    CMKD_PARAMETER(P::kEcdhAesWrap, CK_ECDH_AES_KEY_WRAP_PARAMS, CheckEcdhAesWrap, CMKD_VALUE(ulAESKeyBits),
                   CMKD_VALUE(kdf), CMKD_BUFFER(pSharedData, ulSharedDataLen, kLabel)),
    CMKD_PARAMETER(P::kX942Dh, CK_X9_42_DH1_DERIVE_PARAMS, CheckX942, CMKD_VALUE(kdf),
                   CMKD_BUFFER(pOtherInfo, ulOtherInfoLen, kLabel), CMKD_BUFFER(pPublicData, ulPublicDataLen, kPrime)),
    FlatUpTo(P::kDhPublic, kParameterStructBytesMax, CheckDhPublic),
    Flat(P::kEddsa, 0),
    CMKD_PARAMETER(P::kEddsa, CK_EDDSA_PARAMS, CheckEddsa, CMKD_VALUE(phFlag),
                   CMKD_BUFFER(pContextData, ulContextDataLen, kContext)),
    CMKD_PARAMETER(P::kDsaSeed, CK_DSA_PARAMETER_GEN_PARAM, CheckDsaSeed, CMKD_VALUE(hash),
                   CMKD_BUFFER(pSeed, ulSeedLen, kDsaSeed), CMKD_VALUE(ulIndex)),
    CMKD_PARAMETER(P::kDsaSeedOut, CK_DSA_PARAMETER_GEN_PARAM, CheckDsaSeed, CMKD_VALUE(hash),
                   Out(CMKD_BUFFER(pSeed, ulSeedLen, kDsaSeed)), CMKD_VALUE(ulIndex)),
};

// A key derivation function of X9.63 and its like of SP 800-56C, and the digest of both.
struct Kdf {
  CK_ULONG x963, sp800;
  CK_MECHANISM_TYPE digest;
};
constexpr Kdf kKdfs[] = {
    {CKD_SHA1_KDF, CKD_SHA1_KDF_SP800, CKM_SHA_1},
    {CKD_SHA224_KDF, CKD_SHA224_KDF_SP800, CKM_SHA224},
    {CKD_SHA256_KDF, CKD_SHA256_KDF_SP800, CKM_SHA256},
    {CKD_SHA384_KDF, CKD_SHA384_KDF_SP800, CKM_SHA384},
    {CKD_SHA512_KDF, CKD_SHA512_KDF_SP800, CKM_SHA512},
    {CKD_SHA3_224_KDF, CKD_SHA3_224_KDF_SP800, CKM_SHA3_224},
    {CKD_SHA3_256_KDF, CKD_SHA3_256_KDF_SP800, CKM_SHA3_256},
    {CKD_SHA3_384_KDF, CKD_SHA3_384_KDF_SP800, CKM_SHA3_384},
    {CKD_SHA3_512_KDF, CKD_SHA3_512_KDF_SP800, CKM_SHA3_512},
};

}  // namespace

std::span<const ParameterRow> DiscreteLogParameters() { return kRows; }

}  // namespace parameters

CK_MECHANISM_TYPE KdfDigest(CK_ULONG kdf) {
  for (const auto& [x963, sp800, digest] : parameters::kKdfs) {
    if (kdf == x963 || kdf == sp800) return digest;
  }
  return 0;
}

bool IsSp800Kdf(CK_ULONG kdf) {
  return std::any_of(std::begin(parameters::kKdfs), std::end(parameters::kKdfs),
                     [kdf](const parameters::Kdf& row) { return row.sp800 == kdf; });
}

}  // namespace cmkd::spec

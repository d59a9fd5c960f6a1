// Parameters of TLS: master secrets, keys, MACs and the PRF.
#include "pkcs11/spec/parameter_rows.h"

namespace cmkd::spec {
namespace parameters {
namespace {

constexpr std::uint32_t kTlsOutput = 4096;  // what a TLS PRF is asked for

Status CheckTlsPrf(CK_MECHANISM_TYPE prf) { return prf == CKM_TLS_PRF ? Status{} : CheckHmacHash(prf); }

Status CheckMaster(const Given& given) { return CheckHmacHash(given.Value("prfHashMechanism")); }

// The blocks that TLS makes keys of: MAC keys, cipher keys and IVs of both sides.
Status CheckKeyMaterial(const Given& given) {
  for (const char* name : {"ulMacSizeInBits", "ulKeySizeInBits", "ulIVSizeInBits"}) {
    const CK_ULONG bits = given.Value(name);
    if (bits % 8 != 0 || bits > 512) return Invalid(std::string(name) + " is no size of a key or an IV");
  }
  if (given.Value("bIsExport") != CK_FALSE) return Invalid("export ciphers are not made");
  const TlsKeyMaterialParameter material = ReadTlsKeyMaterial(given.row, given.mechanism);
  if (material.mac_bytes + material.key_bytes + material.iv_bytes == 0) return Invalid("nothing is asked for");
  if (material.iv_bytes != 0 && (material.out->pIVClient == nullptr || material.out->pIVServer == nullptr)) {
    return Invalid("an IV is NULL but has a length");
  }
  return {};
}

Status CheckTls12KeyMaterial(const Given& given) {
  RETURN_IF_ERROR(CheckMaster(given));
  return CheckKeyMaterial(given);
}

Status CheckKdf(const Given& given) { return CheckTlsPrf(given.Value("prfMechanism")); }

Status CheckMac(const Given& given) {
  const auto& mac = given.As<CK_TLS_MAC_PARAMS>();
  if (mac.ulServerOrClient != 1 && mac.ulServerOrClient != 2) return Invalid("neither server nor client");
  if (mac.ulMacLength < 12 || mac.ulMacLength > 64) return Invalid("not a length of a TLS MAC");
  return CheckTlsPrf(mac.prfHashMechanism);
}

Status CheckPrf(const Given& given) {
  if (ResultsIn(given.row, given.mechanism)[0].empty()) return Invalid("no output is asked for");
  return {};
}

#define CMKD_RANDOMS                                                            \
  CMKD_BUFFER(RandomInfo.pClientRandom, RandomInfo.ulClientRandomLen, kRandom), \
      CMKD_BUFFER(RandomInfo.pServerRandom, RandomInfo.ulServerRandomLen, kRandom)
// A CK_VERSION that the token fills in; NULL when the caller does not want it.
#define CMKD_VERSION InOut(CMKD_BYTES(pVersion, sizeof(CK_VERSION)))
#define CMKD_KEY_MATERIAL                                                                                      \
  CMKD_VALUE(ulMacSizeInBits), CMKD_VALUE(ulKeySizeInBits), CMKD_VALUE(ulIVSizeInBits), CMKD_VALUE(bIsExport), \
      CMKD_RANDOMS, CMKD_STRUCT(pReturnedKeyMaterial, kKeyMaterialOut)

// Where the handles and IVs go: written, not read. How long the IVs are the outer struct says; on the wire there is
// only whether they are wanted.
constexpr std::array kKeyMaterialOut =
    CMKD_FIELDS(CK_SSL3_KEY_MAT_OUT, CMKD_VALUE(hClientMacSecret), CMKD_VALUE(hServerMacSecret), CMKD_VALUE(hClientKey),
                CMKD_VALUE(hServerKey), Out(CMKD_BYTES(pIVClient, kTlsIv)), Out(CMKD_BYTES(pIVServer, kTlsIv)));

constexpr std::array kRows = {
    Flat(P::kVersion, sizeof(CK_VERSION)),
    CMKD_PARAMETER(P::kTlsMaster, CK_SSL3_MASTER_KEY_DERIVE_PARAMS, AnyValue, CMKD_RANDOMS, CMKD_VERSION),
    CMKD_PARAMETER(P::kTls12Master, CK_TLS12_MASTER_KEY_DERIVE_PARAMS, CheckMaster, CMKD_RANDOMS, CMKD_VERSION,
                   CMKD_VALUE(prfHashMechanism)),
    CMKD_PARAMETER(P::kTls12Extended, CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS, CheckMaster,
                   CMKD_VALUE(prfHashMechanism), CMKD_BUFFER(pSessionHash, ulSessionHashLen, kRandom), CMKD_VERSION),
    CMKD_PARAMETER(P::kTlsKeyMaterial, CK_SSL3_KEY_MAT_PARAMS, CheckKeyMaterial, CMKD_KEY_MATERIAL),
    CMKD_PARAMETER(P::kTls12KeyMaterial, CK_TLS12_KEY_MAT_PARAMS, CheckTls12KeyMaterial, CMKD_KEY_MATERIAL,
                   CMKD_VALUE(prfHashMechanism)),
    CMKD_PARAMETER(P::kTlsKdf, CK_TLS_KDF_PARAMS, CheckKdf, CMKD_VALUE(prfMechanism),
                   CMKD_BUFFER(pLabel, ulLabelLength, kLabel), CMKD_RANDOMS,
                   CMKD_BUFFER(pContextData, ulContextDataLength, kLabel)),
    CMKD_PARAMETER(P::kTlsMac, CK_TLS_MAC_PARAMS, CheckMac, CMKD_VALUE(prfHashMechanism), CMKD_VALUE(ulMacLength),
                   CMKD_VALUE(ulServerOrClient)),
    CMKD_PARAMETER(P::kTlsPrf, CK_TLS_PRF_PARAMS, CheckPrf, CMKD_BUFFER(pSeed, ulSeedLen, kRandom),
                   CMKD_BUFFER(pLabel, ulLabelLen, kRandom), CMKD_ROOM(pOutput, pulOutputLen, kTlsOutput)),
};

}  // namespace

std::span<const ParameterRow> TlsParameters() { return kRows; }

}  // namespace parameters

using namespace parameters;

TlsMacParameter ReadTlsMac(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  if (row.parameter != P::kTlsMac) return {0, 12, row.type == CKM_TLS10_MAC_SERVER};
  if (mechanism.ulParameterLen != sizeof(CK_TLS_MAC_PARAMS)) return {0, 12, false};
  const auto& mac = *static_cast<const CK_TLS_MAC_PARAMS*>(mechanism.pParameter);
  return {mac.prfHashMechanism == CKM_TLS_PRF ? 0 : mac.prfHashMechanism, mac.ulMacLength, mac.ulServerOrClient == 1};
}

TlsKeyMaterialParameter ReadTlsKeyMaterial(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  // The two structs begin the same.
  const auto& given = *static_cast<const CK_SSL3_KEY_MAT_PARAMS*>(mechanism.pParameter);
  const bool tls12 = row.parameter == P::kTls12KeyMaterial;
  const CK_ULONG iv_bits = row.type == CKM_TLS12_KEY_SAFE_DERIVE ? 0 : given.ulIVSizeInBits;
  return {tls12 ? static_cast<const CK_TLS12_KEY_MAT_PARAMS*>(mechanism.pParameter)->prfHashMechanism : 0,
          given.ulMacSizeInBits / 8,
          given.ulKeySizeInBits / 8,
          iv_bits / 8,
          given.RandomInfo,
          given.pReturnedKeyMaterial};
}

}  // namespace cmkd::spec

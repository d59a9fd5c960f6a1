// The layouts as constant data, and one generic check that walks them. What is special to a kind comes after it.
#include "pkcs11/spec/mechanism_parameters.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "common/limits.h"
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/otp.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {
namespace {

// CK_GCM_PARAMS as it was before ulIvBits came; some programs still send it.
struct GcmWithoutIvBits {
  CK_BYTE_PTR pIv;
  CK_ULONG ulIvLen;
  CK_BYTE_PTR pAAD;
  CK_ULONG ulAADLen;
  CK_ULONG ulTagBits;
};

constexpr std::uint32_t kLong = kParameterBufferBytesMax;
constexpr std::uint32_t kIv = kIvBytesMax;
constexpr std::uint32_t kLabel = 1u << 16;  // OAEP label, KDF shared data
constexpr std::uint32_t kPoint = 1024;      // a public key, DER included
constexpr std::uint32_t kContext = 255;     // RFC 8032
constexpr std::uint32_t kTag = 16;
constexpr std::uint32_t kPrime = 2048;           // a public Diffie-Hellman value
constexpr std::uint32_t kRandom = 1024;          // the randoms of TLS, session hashes, feedback IVs
constexpr std::uint32_t kPassword = 65536;       // what RFC 8018 derives a key from
constexpr std::uint32_t kDataParams = 64;        // parts of the input of an SP 800-108 PRF
constexpr std::uint32_t kSeed = 192;             // of DSA's domain parameters
constexpr std::uint32_t kOtpParams = 16;         // parameters of a one-time password
constexpr std::uint32_t kTlsOutput = 4096;       // what a TLS PRF is asked for
constexpr std::uint16_t kTlsIv = 64;             // an IV of TLS, at most
constexpr CK_ULONG kIterationsMax = 10'000'000;  // some seconds of work

#define CMKD_ULONG(type, member) \
  ParameterField { FieldKind::kUlong, #member, offsetof(type, member) }
#define CMKD_BYTE(type, member) \
  ParameterField { FieldKind::kByte, #member, offsetof(type, member) }
#define CMKD_BUFFER(type, pointer, length, most) \
  ParameterField { FieldKind::kBytesWithLength, #pointer, offsetof(type, pointer), offsetof(type, length), 0, most }
#define CMKD_BUFFER_INOUT(kind, type, pointer, length, most, way) \
  ParameterField { FieldKind::kind, #pointer, offsetof(type, pointer), offsetof(type, length), 0, most, Direction::way }

constexpr std::array kCtrFields = {
    CMKD_ULONG(CK_AES_CTR_PARAMS, ulCounterBits),
    ParameterField{FieldKind::kFixedBytes, "cb", offsetof(CK_AES_CTR_PARAMS, cb), 0, 16},
};
constexpr std::array kGcmFields = {
    CMKD_BUFFER(CK_GCM_PARAMS, pIv, ulIvLen, kIv),
    CMKD_ULONG(CK_GCM_PARAMS, ulIvBits),
    CMKD_BUFFER(CK_GCM_PARAMS, pAAD, ulAADLen, kLong),
    CMKD_ULONG(CK_GCM_PARAMS, ulTagBits),
};
constexpr std::array kShortGcmFields = {
    CMKD_BUFFER(GcmWithoutIvBits, pIv, ulIvLen, kIv),
    CMKD_BUFFER(GcmWithoutIvBits, pAAD, ulAADLen, kLong),
    CMKD_ULONG(GcmWithoutIvBits, ulTagBits),
};
constexpr std::array kPssFields = {
    CMKD_ULONG(CK_RSA_PKCS_PSS_PARAMS, hashAlg),
    CMKD_ULONG(CK_RSA_PKCS_PSS_PARAMS, mgf),
    CMKD_ULONG(CK_RSA_PKCS_PSS_PARAMS, sLen),
};
constexpr std::array kOaepFields = {
    CMKD_ULONG(CK_RSA_PKCS_OAEP_PARAMS, hashAlg),
    CMKD_ULONG(CK_RSA_PKCS_OAEP_PARAMS, mgf),
    CMKD_ULONG(CK_RSA_PKCS_OAEP_PARAMS, source),
    CMKD_BUFFER(CK_RSA_PKCS_OAEP_PARAMS, pSourceData, ulSourceDataLen, kLabel),
};
constexpr std::array kEcdhFields = {
    CMKD_ULONG(CK_ECDH1_DERIVE_PARAMS, kdf),
    CMKD_BUFFER(CK_ECDH1_DERIVE_PARAMS, pSharedData, ulSharedDataLen, kLabel),
    CMKD_BUFFER(CK_ECDH1_DERIVE_PARAMS, pPublicData, ulPublicDataLen, kPoint),
};
constexpr std::array kEddsaFields = {
    CMKD_BYTE(CK_EDDSA_PARAMS, phFlag),
    CMKD_BUFFER(CK_EDDSA_PARAMS, pContextData, ulContextDataLen, kContext),
};
#define CMKD_KEY(type, member) \
  ParameterField { FieldKind::kKeyHandle, #member, offsetof(type, member) }
#define CMKD_STRUCT(type, pointer, inner, inner_fields)                                                              \
  ParameterField {                                                                                                   \
    FieldKind::kStruct, #pointer, offsetof(type, pointer), 0, sizeof(inner), 1, Direction::kIn, inner_fields.data(), \
        inner_fields.size()                                                                                          \
  }
#define CMKD_STRUCTS(type, pointer, count, most, inner, inner_fields)                                       \
  ParameterField {                                                                                          \
    FieldKind::kStructArray, #pointer, offsetof(type, pointer), offsetof(type, count), sizeof(inner), most, \
        Direction::kIn, inner_fields.data(), inner_fields.size()                                            \
  }
#define CMKD_RANDOMS(type)                                                            \
  CMKD_BUFFER(type, RandomInfo.pClientRandom, RandomInfo.ulClientRandomLen, kRandom), \
      CMKD_BUFFER(type, RandomInfo.pServerRandom, RandomInfo.ulServerRandomLen, kRandom)
// A CK_VERSION that the token fills in; NULL when the caller does not want it.
#define CMKD_VERSION(type) \
  ParameterField { FieldKind::kBytesOfFixedLength, "pVersion", offsetof(type, pVersion), 0, 2, 2, Direction::kInOut }

constexpr std::array kGcmWrapFields = {
    CMKD_BUFFER(CK_GCM_WRAP_PARAMS, pIv, ulIvLen, kIv), CMKD_ULONG(CK_GCM_WRAP_PARAMS, ulIvFixedBits),
    CMKD_ULONG(CK_GCM_WRAP_PARAMS, ivGenerator),        CMKD_BUFFER(CK_GCM_WRAP_PARAMS, pAAD, ulAADLen, kLong),
    CMKD_ULONG(CK_GCM_WRAP_PARAMS, ulTagBits),
};
constexpr std::array kCcmFields = {
    CMKD_ULONG(CK_CCM_PARAMS, ulDataLen),
    CMKD_BUFFER(CK_CCM_PARAMS, pNonce, ulNonceLen, kTag),
    CMKD_BUFFER(CK_CCM_PARAMS, pAAD, ulAADLen, kLong),
    CMKD_ULONG(CK_CCM_PARAMS, ulMACLen),
};
constexpr std::array kCcmWrapFields = {
    CMKD_ULONG(CK_CCM_WRAP_PARAMS, ulDataLen),
    CMKD_BUFFER(CK_CCM_WRAP_PARAMS, pNonce, ulNonceLen, kTag),
    CMKD_ULONG(CK_CCM_WRAP_PARAMS, ulNonceFixedBits),
    CMKD_ULONG(CK_CCM_WRAP_PARAMS, nonceGenerator),
    CMKD_BUFFER(CK_CCM_WRAP_PARAMS, pAAD, ulAADLen, kLong),
    CMKD_ULONG(CK_CCM_WRAP_PARAMS, ulMACLen),
};
constexpr std::array kChacha20Fields = {
    CMKD_BUFFER_INOUT(kBytesWithBitLength, CK_CHACHA20_PARAMS, pBlockCounter, blockCounterBits, 8, kIn),
    CMKD_BUFFER_INOUT(kBytesWithBitLength, CK_CHACHA20_PARAMS, pNonce, ulNonceBits, 24, kIn),
};
// The standard counts this nonce in bits.
constexpr std::array kChacha20Poly1305Fields = {
    CMKD_BUFFER_INOUT(kBytesWithBitLength, CK_SALSA20_CHACHA20_POLY1305_PARAMS, pNonce, ulNonceLen, 24, kIn),
    CMKD_BUFFER(CK_SALSA20_CHACHA20_POLY1305_PARAMS, pAAD, ulAADLen, kLong),
};
constexpr std::array kRsaAesWrapFields = {
    CMKD_ULONG(CK_RSA_AES_KEY_WRAP_PARAMS, ulAESKeyBits),
    CMKD_STRUCT(CK_RSA_AES_KEY_WRAP_PARAMS, pOAEPParams, CK_RSA_PKCS_OAEP_PARAMS, kOaepFields),
};
constexpr std::array kEcdhAesWrapFields = {
    CMKD_ULONG(CK_ECDH_AES_KEY_WRAP_PARAMS, ulAESKeyBits),
    CMKD_ULONG(CK_ECDH_AES_KEY_WRAP_PARAMS, kdf),
    CMKD_BUFFER(CK_ECDH_AES_KEY_WRAP_PARAMS, pSharedData, ulSharedDataLen, kLabel),
};
constexpr std::array kX942Fields = {
    CMKD_ULONG(CK_X9_42_DH1_DERIVE_PARAMS, kdf),
    CMKD_BUFFER(CK_X9_42_DH1_DERIVE_PARAMS, pOtherInfo, ulOtherInfoLen, kLabel),
    CMKD_BUFFER(CK_X9_42_DH1_DERIVE_PARAMS, pPublicData, ulPublicDataLen, kPrime),
};
constexpr std::array kHkdfFields = {
    CMKD_BYTE(CK_HKDF_PARAMS, bExtract),
    CMKD_BYTE(CK_HKDF_PARAMS, bExpand),
    CMKD_ULONG(CK_HKDF_PARAMS, prfHashMechanism),
    CMKD_ULONG(CK_HKDF_PARAMS, ulSaltType),
    CMKD_BUFFER(CK_HKDF_PARAMS, pSalt, ulSaltLen, kLabel),
    CMKD_KEY(CK_HKDF_PARAMS, hSaltKey),
    CMKD_BUFFER(CK_HKDF_PARAMS, pInfo, ulInfoLen, kLabel),
};
constexpr std::array kDataParamFields = {
    CMKD_ULONG(CK_PRF_DATA_PARAM, type),
    CMKD_BUFFER(CK_PRF_DATA_PARAM, pValue, ulValueLen, kLabel),
};
// The handle is written, not read: on the wire there is only whether it is wanted.
constexpr std::array kDerivedKeyFields = {
    ParameterField{FieldKind::kTemplate, "pTemplate", offsetof(CK_DERIVED_KEY, pTemplate),
                   offsetof(CK_DERIVED_KEY, ulAttributeCount), sizeof(CK_ATTRIBUTE), limits::kTemplateAttributesMax},
    ParameterField{FieldKind::kBytesOfFixedLength, "phKey", offsetof(CK_DERIVED_KEY, phKey), 0,
                   sizeof(CK_OBJECT_HANDLE), sizeof(CK_OBJECT_HANDLE), Direction::kOut},
};
constexpr std::array kSp800Fields = {
    CMKD_ULONG(CK_SP800_108_KDF_PARAMS, prfType),
    CMKD_STRUCTS(CK_SP800_108_KDF_PARAMS, pDataParams, ulNumberOfDataParams, kDataParams, CK_PRF_DATA_PARAM,
                 kDataParamFields),
    CMKD_STRUCTS(CK_SP800_108_KDF_PARAMS, pAdditionalDerivedKeys, ulAdditionalDerivedKeys, kAdditionalKeysMax,
                 CK_DERIVED_KEY, kDerivedKeyFields),
};
constexpr std::array kSp800FeedbackFields = {
    CMKD_ULONG(CK_SP800_108_FEEDBACK_KDF_PARAMS, prfType),
    CMKD_STRUCTS(CK_SP800_108_FEEDBACK_KDF_PARAMS, pDataParams, ulNumberOfDataParams, kDataParams, CK_PRF_DATA_PARAM,
                 kDataParamFields),
    CMKD_BUFFER(CK_SP800_108_FEEDBACK_KDF_PARAMS, pIV, ulIVLen, kRandom),
    CMKD_STRUCTS(CK_SP800_108_FEEDBACK_KDF_PARAMS, pAdditionalDerivedKeys, ulAdditionalDerivedKeys, kAdditionalKeysMax,
                 CK_DERIVED_KEY, kDerivedKeyFields),
};
constexpr std::array kPbkdf2Fields = {
    CMKD_ULONG(CK_PKCS5_PBKD2_PARAMS2, saltSource),
    CMKD_BUFFER(CK_PKCS5_PBKD2_PARAMS2, pSaltSourceData, ulSaltSourceDataLen, kLabel),
    CMKD_ULONG(CK_PKCS5_PBKD2_PARAMS2, iterations),
    CMKD_ULONG(CK_PKCS5_PBKD2_PARAMS2, prf),
    CMKD_BUFFER(CK_PKCS5_PBKD2_PARAMS2, pPrfData, ulPrfDataLen, kRandom),
    CMKD_BUFFER(CK_PKCS5_PBKD2_PARAMS2, pPassword, ulPasswordLen, kPassword),
};
constexpr std::array kKeyHandleFields = {ParameterField{FieldKind::kKeyHandle, "key", 0}};
constexpr std::array kStringFields = {CMKD_BUFFER(CK_KEY_DERIVATION_STRING_DATA, pData, ulLen, kLabel)};
constexpr std::array kIvAndData8Fields = {
    ParameterField{FieldKind::kFixedBytes, "iv", offsetof(CK_DES_CBC_ENCRYPT_DATA_PARAMS, iv), 0, 8},
    CMKD_BUFFER(CK_DES_CBC_ENCRYPT_DATA_PARAMS, pData, length, kLabel),
};
constexpr std::array kIvAndData16Fields = {
    ParameterField{FieldKind::kFixedBytes, "iv", offsetof(CK_AES_CBC_ENCRYPT_DATA_PARAMS, iv), 0, 16},
    CMKD_BUFFER(CK_AES_CBC_ENCRYPT_DATA_PARAMS, pData, length, kLabel),
};
constexpr std::array kTlsMasterFields = {
    CMKD_RANDOMS(CK_SSL3_MASTER_KEY_DERIVE_PARAMS),
    CMKD_VERSION(CK_SSL3_MASTER_KEY_DERIVE_PARAMS),
};
constexpr std::array kTls12MasterFields = {
    CMKD_RANDOMS(CK_TLS12_MASTER_KEY_DERIVE_PARAMS),
    CMKD_VERSION(CK_TLS12_MASTER_KEY_DERIVE_PARAMS),
    CMKD_ULONG(CK_TLS12_MASTER_KEY_DERIVE_PARAMS, prfHashMechanism),
};
constexpr std::array kTls12ExtendedFields = {
    CMKD_ULONG(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS, prfHashMechanism),
    CMKD_BUFFER(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS, pSessionHash, ulSessionHashLen, kRandom),
    CMKD_VERSION(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS),
};
// Where the handles and IVs go: written, not read. How long the IVs are the outer struct says; on the wire there is
// only whether they are wanted.
#define CMKD_IV_OUT(member)                                                                                            \
  ParameterField {                                                                                                     \
    FieldKind::kBytesOfFixedLength, #member, offsetof(CK_SSL3_KEY_MAT_OUT, member), 0, kTlsIv, kTlsIv, Direction::kOut \
  }
constexpr std::array kKeyMaterialOutFields = {
    CMKD_ULONG(CK_SSL3_KEY_MAT_OUT, hClientMacSecret),
    CMKD_ULONG(CK_SSL3_KEY_MAT_OUT, hServerMacSecret),
    CMKD_ULONG(CK_SSL3_KEY_MAT_OUT, hClientKey),
    CMKD_ULONG(CK_SSL3_KEY_MAT_OUT, hServerKey),
    CMKD_IV_OUT(pIVClient),
    CMKD_IV_OUT(pIVServer),
};
#undef CMKD_IV_OUT
constexpr std::array kTlsKeyMaterialFields = {
    CMKD_ULONG(CK_SSL3_KEY_MAT_PARAMS, ulMacSizeInBits),
    CMKD_ULONG(CK_SSL3_KEY_MAT_PARAMS, ulKeySizeInBits),
    CMKD_ULONG(CK_SSL3_KEY_MAT_PARAMS, ulIVSizeInBits),
    CMKD_BYTE(CK_SSL3_KEY_MAT_PARAMS, bIsExport),
    CMKD_RANDOMS(CK_SSL3_KEY_MAT_PARAMS),
    CMKD_STRUCT(CK_SSL3_KEY_MAT_PARAMS, pReturnedKeyMaterial, CK_SSL3_KEY_MAT_OUT, kKeyMaterialOutFields),
};
constexpr std::array kTls12KeyMaterialFields = {
    CMKD_ULONG(CK_TLS12_KEY_MAT_PARAMS, ulMacSizeInBits),
    CMKD_ULONG(CK_TLS12_KEY_MAT_PARAMS, ulKeySizeInBits),
    CMKD_ULONG(CK_TLS12_KEY_MAT_PARAMS, ulIVSizeInBits),
    CMKD_BYTE(CK_TLS12_KEY_MAT_PARAMS, bIsExport),
    CMKD_RANDOMS(CK_TLS12_KEY_MAT_PARAMS),
    CMKD_STRUCT(CK_TLS12_KEY_MAT_PARAMS, pReturnedKeyMaterial, CK_SSL3_KEY_MAT_OUT, kKeyMaterialOutFields),
    CMKD_ULONG(CK_TLS12_KEY_MAT_PARAMS, prfHashMechanism),
};
constexpr std::array kTlsKdfFields = {
    CMKD_ULONG(CK_TLS_KDF_PARAMS, prfMechanism),
    CMKD_BUFFER(CK_TLS_KDF_PARAMS, pLabel, ulLabelLength, kLabel),
    CMKD_RANDOMS(CK_TLS_KDF_PARAMS),
    CMKD_BUFFER(CK_TLS_KDF_PARAMS, pContextData, ulContextDataLength, kLabel),
};
constexpr std::array kTlsMacFields = {
    CMKD_ULONG(CK_TLS_MAC_PARAMS, prfHashMechanism),
    CMKD_ULONG(CK_TLS_MAC_PARAMS, ulMacLength),
    CMKD_ULONG(CK_TLS_MAC_PARAMS, ulServerOrClient),
};
constexpr std::array kTlsPrfFields = {
    CMKD_BUFFER(CK_TLS_PRF_PARAMS, pSeed, ulSeedLen, kRandom),
    CMKD_BUFFER(CK_TLS_PRF_PARAMS, pLabel, ulLabelLen, kRandom),
    CMKD_BUFFER_INOUT(kRoom, CK_TLS_PRF_PARAMS, pOutput, pulOutputLen, kTlsOutput, kOut),
};
constexpr std::array kDsaSeedFields = {
    CMKD_ULONG(CK_DSA_PARAMETER_GEN_PARAM, hash),
    CMKD_BUFFER(CK_DSA_PARAMETER_GEN_PARAM, pSeed, ulSeedLen, kSeed),
    CMKD_ULONG(CK_DSA_PARAMETER_GEN_PARAM, ulIndex),
};
constexpr std::array kDsaSeedOutFields = {
    CMKD_ULONG(CK_DSA_PARAMETER_GEN_PARAM, hash),
    CMKD_BUFFER_INOUT(kBytesWithLength, CK_DSA_PARAMETER_GEN_PARAM, pSeed, ulSeedLen, kSeed, kOut),
    CMKD_ULONG(CK_DSA_PARAMETER_GEN_PARAM, ulIndex),
};
constexpr std::array kOtpParamFields = {
    CMKD_ULONG(CK_OTP_PARAM, type),
    CMKD_BUFFER(CK_OTP_PARAM, pValue, ulValueLen, kRandom),
};
constexpr std::array kOtpParamsFields = {
    CMKD_STRUCTS(CK_OTP_PARAMS, pParams, ulCount, kOtpParams, CK_OTP_PARAM, kOtpParamFields),
};
constexpr std::array kManagedFields = {CMKD_BUFFER(CK_CMKD_MANAGED_PARAMS, pContext, ulContextLen, CMKD_CONTEXT_MAX)};
constexpr std::array kUlongFields = {ParameterField{FieldKind::kUlong, "value", 0}};

// The message parameters. The token writes the IV when it is asked to make one, and the tag when it encrypts.
using GcmMessage = CK_GCM_MESSAGE_PARAMS;
using CcmMessage = CK_CCM_MESSAGE_PARAMS;
using ChachaMessage = CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS;
constexpr std::array kGcmMessageFields = {
    CMKD_BUFFER_INOUT(kBytesWithLength, GcmMessage, pIv, ulIvLen, kIv, kInOut),
    CMKD_ULONG(GcmMessage, ulIvFixedBits),
    CMKD_ULONG(GcmMessage, ivGenerator),
    CMKD_BUFFER_INOUT(kBytesWithBitLength, GcmMessage, pTag, ulTagBits, kTag, kInOut),
};
constexpr std::array kCcmMessageFields = {
    CMKD_ULONG(CcmMessage, ulDataLen),
    CMKD_BUFFER_INOUT(kBytesWithLength, CcmMessage, pNonce, ulNonceLen, kTag, kInOut),
    CMKD_ULONG(CcmMessage, ulNonceFixedBits),
    CMKD_ULONG(CcmMessage, nonceGenerator),
    CMKD_BUFFER_INOUT(kBytesWithLength, CcmMessage, pMAC, ulMACLen, kTag, kInOut),
};
constexpr std::array kChachaMessageFields = {
    CMKD_BUFFER_INOUT(kBytesWithBitLength, ChachaMessage, pNonce, ulNonceLen, 24, kIn),
    ParameterField{FieldKind::kBytesOfFixedLength, "pTag", offsetof(ChachaMessage, pTag), 0, 16, 16, Direction::kInOut},
};

#undef CMKD_KEY
#undef CMKD_STRUCT
#undef CMKD_STRUCTS
#undef CMKD_RANDOMS
#undef CMKD_VERSION
#undef CMKD_ULONG
#undef CMKD_BYTE
#undef CMKD_BUFFER
#undef CMKD_BUFFER_INOUT

struct KindAndLayout {
  ParameterKind kind;
  ParameterLayout layout;
};

constexpr ParameterLayout Flat(std::size_t bytes) { return {bytes, {}, true}; }

template <class Struct, std::size_t n>
constexpr ParameterLayout Of(const std::array<ParameterField, n>& fields) {
  return {sizeof(Struct), fields, false};
}

using P = ParameterKind;
constexpr std::array kLayouts = {
    KindAndLayout{P::kNone, Flat(0)},
    KindAndLayout{P::kIv16, Flat(16)},
    KindAndLayout{P::kIv8, Flat(8)},
    KindAndLayout{P::kOptionalIv8, Flat(0)},
    KindAndLayout{P::kOptionalIv8, Flat(8)},
    KindAndLayout{P::kOptionalIv4, Flat(0)},
    KindAndLayout{P::kOptionalIv4, Flat(4)},
    KindAndLayout{P::kUlong, Of<CK_ULONG>(kUlongFields)},
    KindAndLayout{P::kAesCtr, Of<CK_AES_CTR_PARAMS>(kCtrFields)},
    KindAndLayout{P::kGcm, Of<CK_GCM_PARAMS>(kGcmFields)},
    KindAndLayout{P::kGcm, Of<GcmWithoutIvBits>(kShortGcmFields)},
    KindAndLayout{P::kPss, Of<CK_RSA_PKCS_PSS_PARAMS>(kPssFields)},
    KindAndLayout{P::kOaep, Of<CK_RSA_PKCS_OAEP_PARAMS>(kOaepFields)},
    KindAndLayout{P::kEcdh1, Of<CK_ECDH1_DERIVE_PARAMS>(kEcdhFields)},
    KindAndLayout{P::kMacGeneral, Of<CK_ULONG>(kUlongFields)},
    KindAndLayout{P::kHashBits, Of<CK_ULONG>(kUlongFields)},
    KindAndLayout{P::kGcm, Of<CK_GCM_WRAP_PARAMS>(kGcmWrapFields)},
    KindAndLayout{P::kCcm, Of<CK_CCM_PARAMS>(kCcmFields)},
    KindAndLayout{P::kCcm, Of<CK_CCM_WRAP_PARAMS>(kCcmWrapFields)},
    KindAndLayout{P::kChacha20, Of<CK_CHACHA20_PARAMS>(kChacha20Fields)},
    KindAndLayout{P::kChacha20Poly1305, Of<CK_SALSA20_CHACHA20_POLY1305_PARAMS>(kChacha20Poly1305Fields)},
    KindAndLayout{P::kRsaAesWrap, Of<CK_RSA_AES_KEY_WRAP_PARAMS>(kRsaAesWrapFields)},
    KindAndLayout{P::kEcdhAesWrap, Of<CK_ECDH_AES_KEY_WRAP_PARAMS>(kEcdhAesWrapFields)},
    KindAndLayout{P::kX942Dh, Of<CK_X9_42_DH1_DERIVE_PARAMS>(kX942Fields)},
    KindAndLayout{P::kHkdf, Of<CK_HKDF_PARAMS>(kHkdfFields)},
    KindAndLayout{P::kSp800Kdf, Of<CK_SP800_108_KDF_PARAMS>(kSp800Fields)},
    KindAndLayout{P::kSp800Feedback, Of<CK_SP800_108_FEEDBACK_KDF_PARAMS>(kSp800FeedbackFields)},
    KindAndLayout{P::kPbkdf2, Of<CK_PKCS5_PBKD2_PARAMS2>(kPbkdf2Fields)},
    KindAndLayout{P::kKeyHandle, Of<CK_OBJECT_HANDLE>(kKeyHandleFields)},
    KindAndLayout{P::kStringData, Of<CK_KEY_DERIVATION_STRING_DATA>(kStringFields)},
    KindAndLayout{P::kIvAndData8, Of<CK_DES_CBC_ENCRYPT_DATA_PARAMS>(kIvAndData8Fields)},
    KindAndLayout{P::kIvAndData16, Of<CK_AES_CBC_ENCRYPT_DATA_PARAMS>(kIvAndData16Fields)},
    KindAndLayout{P::kVersion, Flat(2)},
    KindAndLayout{P::kTlsMaster, Of<CK_SSL3_MASTER_KEY_DERIVE_PARAMS>(kTlsMasterFields)},
    KindAndLayout{P::kTls12Master, Of<CK_TLS12_MASTER_KEY_DERIVE_PARAMS>(kTls12MasterFields)},
    KindAndLayout{P::kTls12Extended, Of<CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS>(kTls12ExtendedFields)},
    KindAndLayout{P::kTlsKeyMaterial, Of<CK_SSL3_KEY_MAT_PARAMS>(kTlsKeyMaterialFields)},
    KindAndLayout{P::kTls12KeyMaterial, Of<CK_TLS12_KEY_MAT_PARAMS>(kTls12KeyMaterialFields)},
    KindAndLayout{P::kTlsKdf, Of<CK_TLS_KDF_PARAMS>(kTlsKdfFields)},
    KindAndLayout{P::kTlsMac, Of<CK_TLS_MAC_PARAMS>(kTlsMacFields)},
    KindAndLayout{P::kTlsPrf, Of<CK_TLS_PRF_PARAMS>(kTlsPrfFields)},
    KindAndLayout{P::kDsaSeed, Of<CK_DSA_PARAMETER_GEN_PARAM>(kDsaSeedFields)},
    KindAndLayout{P::kDsaSeedOut, Of<CK_DSA_PARAMETER_GEN_PARAM>(kDsaSeedOutFields)},
    KindAndLayout{P::kOtp, Of<CK_OTP_PARAMS>(kOtpParamsFields)},
    KindAndLayout{P::kManaged, Flat(0)},
    KindAndLayout{P::kManaged, Of<CK_CMKD_MANAGED_PARAMS>(kManagedFields)},
    KindAndLayout{P::kEddsa, Flat(0)},
    KindAndLayout{P::kEddsa, Of<CK_EDDSA_PARAMS>(kEddsaFields)},
};
constexpr ParameterLayout kAnyBytes = Flat(kParameterStructBytesMax);

constexpr std::array kMessageLayouts = {
    Of<GcmMessage>(kGcmMessageFields),
    Of<CcmMessage>(kCcmMessageFields),
    Of<ChachaMessage>(kChachaMessageFields),
};

const std::uint8_t* At(const void* parameter, std::size_t offset) {
  return static_cast<const std::uint8_t*>(parameter) + offset;
}

CK_ULONG UlongAt(const void* parameter, std::size_t offset) {
  CK_ULONG value;
  std::memcpy(&value, At(parameter, offset), sizeof value);
  return value;
}

const ParameterField* FieldNamed(const ParameterLayout& layout, std::string_view name) {
  const auto field = std::find_if(layout.fields.begin(), layout.fields.end(),
                                  [name](const ParameterField& f) { return f.name == name; });
  return field == layout.fields.end() ? nullptr : &*field;
}

CK_ULONG Value(const ParameterLayout& layout, const void* parameter, std::string_view name) {
  const ParameterField* field = FieldNamed(layout, name);
  return field == nullptr ? 0 : FieldUlong(parameter, *field);
}

ByteView Buffer(const ParameterLayout& layout, const void* parameter, std::string_view name) {
  const ParameterField* field = FieldNamed(layout, name);
  if (field == nullptr) return {};
  return {static_cast<const std::uint8_t*>(FieldPointer(parameter, *field)), FieldBufferBytes(parameter, *field)};
}

Failure<Error> Invalid(std::string why) { return Fail(CKR_MECHANISM_PARAM_INVALID, std::move(why)); }

Status CheckBuffers(std::span<const ParameterField> fields, const void* parameter);

// The same for structs behind a pointer. Deeper than that the layouts do not go.
Status CheckStructs(const ParameterField& field, const void* parameter) {
  const std::size_t count = FieldStructCount(parameter, field);
  if (count > field.limit) return Invalid(std::string(field.name) + " has more elements than are taken");
  const auto* first = static_cast<const std::uint8_t*>(FieldPointer(parameter, field));
  if (count > 0 && first == nullptr) return Invalid(std::string(field.name) + " is NULL");
  for (std::size_t i = 0; i < count; ++i) RETURN_IF_ERROR(CheckBuffers(field.inner(), first + i * field.size));
  return {};
}

// A template behind a pointer: what its attributes may be is for the rules of templates.
Status CheckTemplateField(const ParameterField& field, const void* parameter) {
  const std::size_t count = FieldStructCount(parameter, field);
  if (count > field.limit) return Invalid(std::string(field.name) + " has more attributes than are taken");
  const auto* list = static_cast<const CK_ATTRIBUTE*>(FieldPointer(parameter, field));
  if (count > 0 && list == nullptr) return Invalid(std::string(field.name) + " is NULL but has a length");
  for (std::size_t i = 0; i < count; ++i) {
    if (list[i].ulValueLen > limits::kAttributeBytesMax) return Invalid("an attribute is longer than is taken");
    if (list[i].pValue == nullptr && list[i].ulValueLen != 0) return Invalid("an attribute is NULL but has a length");
  }
  return {};
}

// What holds for every struct: no pointer is NULL where bytes are promised, and no buffer is longer than its limit.
Status CheckBuffers(std::span<const ParameterField> fields, const void* parameter) {
  for (const ParameterField& field : fields) {
    if (field.kind == FieldKind::kStruct || field.kind == FieldKind::kStructArray) {
      RETURN_IF_ERROR(CheckStructs(field, parameter));
      continue;
    }
    if (field.kind == FieldKind::kTemplate) {
      RETURN_IF_ERROR(CheckTemplateField(field, parameter));
      continue;
    }
    // A fixed length is not said by the caller; without the pointer it is not there.
    const bool only_out = field.direction == Direction::kOut || field.name == "pVersion";
    if (field.kind == FieldKind::kBytesOfFixedLength && only_out) continue;
    if (field.kind != FieldKind::kBytesWithLength && field.kind != FieldKind::kBytesWithBitLength &&
        field.kind != FieldKind::kBytesOfFixedLength && field.kind != FieldKind::kRoom) {
      continue;
    }
    const std::size_t bytes = FieldBufferBytes(parameter, field);
    if (bytes > field.limit) return Invalid(std::string(field.name) + " is longer than is taken");
    if (bytes > 0 && FieldPointer(parameter, field) == nullptr) {
      return Invalid(std::string(field.name) + " is NULL but has a length");
    }
  }
  return {};
}

// SP 800-38D section 5.2.1.2 has 32 and 64 too, for protocols with few and short messages; not here.
bool IsTagLength(CK_ULONG bits) { return bits >= 96 && bits <= 128 && bits % 8 == 0; }

Status CheckGcm(const CK_MECHANISM& mechanism) {
  const GcmParameter gcm = ReadGcm(mechanism);
  if (gcm.iv.empty()) return Invalid("GCM without an IV");
  if (!IsTagLength(gcm.tag_bits))
    return Invalid("GCM tag of " + std::to_string(gcm.tag_bits) + " bits; 96 to 128 are allowed");
  return {};
}

Status CheckCtr(const ParameterLayout& layout, const void* parameter) {
  const CK_ULONG bits = Value(layout, parameter, "ulCounterBits");
  if (bits < 1 || bits > 128) return Invalid("CTR counter of " + std::to_string(bits) + " bits; 1 to 128 are possible");
  return {};
}

// The hashes that RFC 8017 appendix B.1 names and FIPS 202's; not MD5, which it has for old signatures only.
bool IsRsaHash(CK_MECHANISM_TYPE hash) {
  const bool other = hash == CKM_MD5 || hash == CKM_SM3 || hash == CKM_BLAKE2B_512 || hash == CKM_SHA512_T;
  return DigestLength(hash) != 0 && !other;
}

Status CheckHashAndMgf(const ParameterLayout& layout, const void* parameter) {
  if (!IsRsaHash(Value(layout, parameter, "hashAlg"))) return Invalid("unknown hashAlg");
  if (MgfDigest(Value(layout, parameter, "mgf")) == 0) return Invalid("unknown mgf");
  return {};
}

Status CheckPss(const MechanismRow& row, const ParameterLayout& layout, const void* parameter) {
  RETURN_IF_ERROR(CheckHashAndMgf(layout, parameter));
  const CK_MECHANISM_TYPE hash = Value(layout, parameter, "hashAlg");
  if (row.digest != 0 && hash != row.digest) return Invalid("hashAlg is not the hash of " + std::string(row.name));
  // The encoded message holds the salt, a hash and two bytes (RFC 8017 section 9.1.1); which modulus, the key will
  // tell.
  const CK_ULONG longest = row.key_bits_max / 8 - DigestLength(hash) - 2;
  if (Value(layout, parameter, "sLen") > longest) return Invalid("PSS salt longer than any modulus");
  return {};
}

Status CheckOaep(const ParameterLayout& layout, const void* parameter) {
  RETURN_IF_ERROR(CheckHashAndMgf(layout, parameter));
  const CK_ULONG source = Value(layout, parameter, "source");
  const bool labelled = !Buffer(layout, parameter, "pSourceData").empty();
  // Programs without a label leave the source 0.
  if (source != CKZ_DATA_SPECIFIED && (source != 0 || labelled)) return Invalid("unknown OAEP source");
  return {};
}

Status CheckKdf(CK_ULONG kdf, ByteView shared) {
  if (kdf != CKD_NULL && KdfDigest(kdf) == 0) return Invalid("unknown kdf");
  if (kdf == CKD_NULL && !shared.empty()) return Invalid("shared data without a kdf");
  return {};
}

Status CheckEcdh(const ParameterLayout& layout, const void* parameter) {
  RETURN_IF_ERROR(CheckKdf(Value(layout, parameter, "kdf"), Buffer(layout, parameter, "pSharedData")));
  if (Buffer(layout, parameter, "pPublicData").empty()) return Invalid("ECDH without the other side's public key");
  return {};
}

bool IsAesBits(CK_ULONG bits) { return bits == 128 || bits == 192 || bits == 256; }

Status CheckEcdhAesWrap(const ParameterLayout& layout, const void* parameter) {
  if (!IsAesBits(Value(layout, parameter, "ulAESKeyBits"))) return Invalid("ulAESKeyBits is no size of an AES key");
  // A temporary key made of a bare coordinate would not be uniform (SP 800-56A section 5.8).
  if (Value(layout, parameter, "kdf") == CKD_NULL) return Invalid("a key derivation function is needed here");
  return CheckKdf(Value(layout, parameter, "kdf"), Buffer(layout, parameter, "pSharedData"));
}

Status CheckOaep(const ParameterLayout& layout, const void* parameter);

Status CheckRsaAesWrap(const CK_MECHANISM& mechanism) {
  const auto& wrap = *static_cast<const CK_RSA_AES_KEY_WRAP_PARAMS*>(mechanism.pParameter);
  if (!IsAesBits(wrap.ulAESKeyBits)) return Invalid("ulAESKeyBits is no size of an AES key");
  return CheckOaep(*LayoutFor(P::kOaep, sizeof *wrap.pOAEPParams), wrap.pOAEPParams);
}

Status CheckX942(const ParameterLayout& layout, const void* parameter) {
  const CK_ULONG kdf = Value(layout, parameter, "kdf");
  if (kdf != CKD_NULL && kdf != CKD_SHA1_KDF_CONCATENATE && KdfDigest(kdf) == 0) return Invalid("unknown kdf");
  if (kdf == CKD_NULL && !Buffer(layout, parameter, "pOtherInfo").empty()) return Invalid("other info without a kdf");
  if (Buffer(layout, parameter, "pPublicData").empty()) return Invalid("no public value of the other side");
  return {};
}

// FIPS 180-4 section 5.3.6: any t below 512 but 384. Whole bytes only.
bool IsHashBits(CK_ULONG bits) { return bits >= 8 && bits <= 504 && bits % 8 == 0 && bits != 384; }

Status CheckMacLength(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  // A MAC of no bytes fits everything.
  const std::size_t bytes = ReadMacGeneral(mechanism);
  if (row.digest == CKM_SHA512_T && !IsHashBits(CK_ULONG{8} * std::min<std::size_t>(bytes, 64)))
    return Invalid("not a length of SHA-512/t");
  if (bytes < 1 || bytes > MacLength(row, mechanism)) return Invalid("not a length of this MAC");
  return {};
}

Status CheckHashBits(const CK_MECHANISM& mechanism) {
  if (!IsHashBits(UlongAt(mechanism.pParameter, 0))) return Invalid("not a length of SHA-512/t");
  return {};
}

// SP 800-38C appendix A.1; tags below 64 bits are for keys that see few messages.
Status CheckCcmLengths(std::size_t nonce_bytes, CK_ULONG data_bytes, CK_ULONG mac_bytes) {
  if (nonce_bytes < 7 || nonce_bytes > 13) return Invalid("CCM nonce not of 7 to 13 bytes");
  if (mac_bytes < 8 || mac_bytes > 16 || mac_bytes % 2 != 0) return Invalid("CCM MAC not of 8 to 16 bytes");
  if (nonce_bytes == 13 && data_bytes > 0xffff) return Invalid("too much data for such a long CCM nonce");
  return {};
}

Status CheckCcm(const CK_MECHANISM& mechanism) {
  const CcmParameter ccm = ReadCcm(mechanism);
  return CheckCcmLengths(ccm.nonce.size(), ccm.data_bytes, ccm.mac_bytes);
}

Status CheckChacha20(const ParameterLayout& layout, const void* parameter) {
  const CK_ULONG counter = UlongAt(parameter, offsetof(CK_CHACHA20_PARAMS, blockCounterBits));
  const CK_ULONG nonce = UlongAt(parameter, offsetof(CK_CHACHA20_PARAMS, ulNonceBits));
  // RFC 8439 has a counter of 32 bits and a nonce of 96; the original has 64 of each.
  const bool known = (counter == 32 && nonce == 96) || (counter == 64 && nonce == 64);
  if (!known || Buffer(layout, parameter, "pNonce").data() == nullptr) return Invalid("not a form of ChaCha20");
  return {};
}

Status CheckChacha20Poly1305(const ParameterLayout& layout, const void* parameter) {
  if (Buffer(layout, parameter, "pNonce").size() != 12) return Invalid("ChaCha20-Poly1305 takes a nonce of 96 bits");
  return {};
}

Status CheckHkdf(const CK_MECHANISM& mechanism) {
  const auto& hkdf = *static_cast<const CK_HKDF_PARAMS*>(mechanism.pParameter);
  if (hkdf.bExtract > CK_TRUE || hkdf.bExpand > CK_TRUE || (!hkdf.bExtract && !hkdf.bExpand)) {
    return Invalid("HKDF extracts, expands, or both");
  }
  if (DigestLength(hkdf.prfHashMechanism) == 0 || hkdf.prfHashMechanism == CKM_SHA512_T) return Invalid("unknown hash");
  if (!hkdf.bExtract) return {};
  const bool data = hkdf.ulSaltType == CKF_HKDF_SALT_DATA, key = hkdf.ulSaltType == CKF_HKDF_SALT_KEY;
  if (!data && !key && hkdf.ulSaltType != CKF_HKDF_SALT_NULL) return Invalid("unknown kind of salt");
  if (data != (hkdf.ulSaltLen != 0) || key != (hkdf.hSaltKey != CK_INVALID_HANDLE)) {
    return Invalid("the salt is not of the kind that ulSaltType says");
  }
  return {};
}

// PKCS#11 3.2, "SP 800-108 Key Derivation": which parts the input of each mode may have, and their forms.
Status CheckDataParams(const MechanismRow& row, std::span<const CK_PRF_DATA_PARAM> parts) {
  int variables = 0, counters = 0, lengths = 0;
  const bool counting = row.recipe == Recipe::kSp800Counter;
  for (const CK_PRF_DATA_PARAM& part : parts) {
    const bool counter = part.type == CK_SP800_108_ITERATION_VARIABLE ? counting : part.type == CK_SP800_108_COUNTER;
    variables += part.type == CK_SP800_108_ITERATION_VARIABLE ? 1 : 0;
    counters += counter && !counting ? 1 : 0;
    lengths += part.type == CK_SP800_108_DKM_LENGTH ? 1 : 0;
    if (counter) {
      if (part.ulValueLen != sizeof(CK_SP800_108_COUNTER_FORMAT)) return Invalid("a counter without its format");
      const CK_ULONG width = UlongAt(part.pValue, offsetof(CK_SP800_108_COUNTER_FORMAT, ulWidthInBits));
      if (width < 8 || width > 32 || width % 8 != 0) return Invalid("a counter has 8, 16, 24 or 32 bits");
    } else if (part.type == CK_SP800_108_ITERATION_VARIABLE) {
      if (part.ulValueLen != 0) return Invalid("the iteration variable of this mode has no format");
    } else if (part.type == CK_SP800_108_DKM_LENGTH) {
      if (part.ulValueLen != sizeof(CK_SP800_108_DKM_LENGTH_FORMAT)) return Invalid("a length without its format");
      const CK_ULONG method = UlongAt(part.pValue, 0);
      const CK_ULONG width = UlongAt(part.pValue, offsetof(CK_SP800_108_DKM_LENGTH_FORMAT, ulWidthInBits));
      if (method != CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS && method != CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS) {
        return Invalid("unknown method of the length");
      }
      if (width < 8 || width > 64 || width % 8 != 0) return Invalid("a length has whole bytes, eight at most");
    } else if (part.type != CK_SP800_108_BYTE_ARRAY || part.ulValueLen == 0) {
      return Invalid("a part of the input that is not taken");
    }
  }
  const bool variable = row.recipe == Recipe::kSp800DoublePipeline ? variables <= 1 : variables == 1;
  if (!variable || counters > 1 || lengths > 1) return Invalid("parts of the input are missing or too many");
  return {};
}

Status CheckSp800(const MechanismRow& row, const ParameterLayout& layout, const CK_MECHANISM& mechanism) {
  const void* parameter = mechanism.pParameter;
  if (!IsSp800Prf(Value(layout, parameter, "prfType"))) return Invalid("unknown pseudorandom function");
  for (const CK_DERIVED_KEY& key : AdditionalKeysIn(row, mechanism)) {
    if (key.phKey == nullptr) return Invalid("the handle of an additional key goes nowhere");
  }
  const ParameterField* parts = FieldNamed(layout, "pDataParams");
  return CheckDataParams(row, {static_cast<const CK_PRF_DATA_PARAM*>(FieldPointer(parameter, *parts)),
                               FieldStructCount(parameter, *parts)});
}

Status CheckPbkdf2(const CK_MECHANISM& mechanism) {
  const auto& pbkdf2 = *static_cast<const CK_PKCS5_PBKD2_PARAMS2*>(mechanism.pParameter);
  if (pbkdf2.saltSource != CKZ_SALT_SPECIFIED) return Invalid("unknown source of the salt");
  if (Pbkdf2Digest(pbkdf2.prf) == 0) return Invalid("unknown pseudorandom function");
  if (pbkdf2.ulPrfDataLen != 0) return Invalid("the pseudorandom function takes no data");
  if (pbkdf2.iterations < 1 || pbkdf2.iterations > kIterationsMax) return Invalid("too few or too many iterations");
  return {};
}

Status CheckTlsHash(CK_MECHANISM_TYPE hash) {
  if (DigestLength(hash) == 0 || hash == CKM_SHA512_T) return Invalid("unknown hash");
  return {};
}

Status CheckTlsPrf(CK_MECHANISM_TYPE prf) { return prf == CKM_TLS_PRF ? Status{} : CheckTlsHash(prf); }

// The blocks that TLS makes keys of: MAC keys, cipher keys and IVs of both sides.
Status CheckKeyMaterial(const MechanismRow& row, const ParameterLayout& layout, const CK_MECHANISM& mechanism) {
  const void* parameter = mechanism.pParameter;
  for (const char* name : {"ulMacSizeInBits", "ulKeySizeInBits", "ulIVSizeInBits"}) {
    const CK_ULONG bits = Value(layout, parameter, name);
    if (bits % 8 != 0 || bits > 512) return Invalid(std::string(name) + " is no size of a key or an IV");
  }
  if (Value(layout, parameter, "bIsExport") != CK_FALSE) return Invalid("export ciphers are not made");
  const TlsKeyMaterialParameter given = ReadTlsKeyMaterial(row, mechanism);
  if (given.mac_bytes + given.key_bytes + given.iv_bytes == 0) return Invalid("nothing is asked for");
  if (given.iv_bytes != 0 && (given.out->pIVClient == nullptr || given.out->pIVServer == nullptr)) {
    return Invalid("an IV is NULL but has a length");
  }
  return {};
}

Status CheckTlsMac(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  const TlsMacParameter mac = ReadTlsMac(row, mechanism);
  const auto& given = *static_cast<const CK_TLS_MAC_PARAMS*>(mechanism.pParameter);
  if (given.ulServerOrClient != 1 && given.ulServerOrClient != 2) return Invalid("neither server nor client");
  if (mac.mac_bytes < 12 || mac.mac_bytes > 64) return Invalid("not a length of a TLS MAC");
  return CheckTlsPrf(given.prfHashMechanism);
}

// How long a seed must be the sizes say, which are in the template; for an index there is one byte (FIPS 186-4 appendix
// A.2.3).
Status CheckDsaSeed(const CK_MECHANISM& mechanism) {
  const auto& given = *static_cast<const CK_DSA_PARAMETER_GEN_PARAM*>(mechanism.pParameter);
  constexpr std::array kHashes = {CKM_SHA_1, CKM_SHA224, CKM_SHA256, CKM_SHA384, CKM_SHA512};
  if (std::find(kHashes.begin(), kHashes.end(), given.hash) == kHashes.end()) return Invalid("unknown hash");
  if (given.ulSeedLen == 0) return Invalid("no seed");
  if (mechanism.mechanism == CKM_DSA_FIPS_G_GEN && given.ulIndex > 0xFF) return Invalid("the index is not of 8 bits");
  return {};
}

Status CheckEddsa(const ParameterLayout& layout, const void* parameter) {
  if (layout.flat) return {};
  if (Value(layout, parameter, "phFlag") > CK_TRUE) return Invalid("phFlag is no boolean");
  return {};
}

Status CheckValues(const MechanismRow& row, const ParameterLayout& layout, const CK_MECHANISM& mechanism) {
  switch (row.parameter) {
    case P::kGcm: return CheckGcm(mechanism);
    case P::kAesCtr: return CheckCtr(layout, mechanism.pParameter);
    case P::kPss: return CheckPss(row, layout, mechanism.pParameter);
    case P::kOaep: return CheckOaep(layout, mechanism.pParameter);
    case P::kEcdh1: return CheckEcdh(layout, mechanism.pParameter);
    case P::kEddsa: return CheckEddsa(layout, mechanism.pParameter);
    case P::kMacGeneral: return CheckMacLength(row, mechanism);
    case P::kHashBits: return CheckHashBits(mechanism);
    case P::kCcm: return CheckCcm(mechanism);
    case P::kChacha20: return CheckChacha20(layout, mechanism.pParameter);
    case P::kChacha20Poly1305: return CheckChacha20Poly1305(layout, mechanism.pParameter);
    case P::kRsaAesWrap: return CheckRsaAesWrap(mechanism);
    case P::kEcdhAesWrap: return CheckEcdhAesWrap(layout, mechanism.pParameter);
    case P::kX942Dh: return CheckX942(layout, mechanism.pParameter);
    case P::kHkdf: return CheckHkdf(mechanism);
    case P::kSp800Kdf:
    case P::kSp800Feedback: return CheckSp800(row, layout, mechanism);
    case P::kPbkdf2: return CheckPbkdf2(mechanism);
    case P::kTls12Master:
    case P::kTls12Extended: return CheckTlsHash(Value(layout, mechanism.pParameter, "prfHashMechanism"));
    case P::kTlsKeyMaterial: return CheckKeyMaterial(row, layout, mechanism);
    case P::kTlsPrf:
      if (ResultsIn(row, mechanism)[0].empty()) return Invalid("no output is asked for");
      return {};
    case P::kTls12KeyMaterial:
      RETURN_IF_ERROR(CheckTlsHash(Value(layout, mechanism.pParameter, "prfHashMechanism")));
      return CheckKeyMaterial(row, layout, mechanism);
    case P::kTlsKdf: return CheckTlsPrf(Value(layout, mechanism.pParameter, "prfMechanism"));
    case P::kTlsMac: return CheckTlsMac(row, mechanism);
    case P::kDhPublic:
      if (mechanism.ulParameterLen == 0) return Invalid("no public value of the other side");
      return {};
    case P::kOtp: return CheckOtpParameter(mechanism);
    case P::kDsaSeed:
    case P::kDsaSeedOut: return CheckDsaSeed(mechanism);
    case P::kManaged:
    case P::kKeyHandle:
    case P::kStringData:
    case P::kIvAndData8:
    case P::kIvAndData16:
    case P::kVersion:
    case P::kTlsMaster:
    case P::kNone:
    case P::kIv16:
    case P::kIv8:
    case P::kOptionalIv8:
    case P::kOptionalIv4:
    case P::kUlong:
    case P::kBytes:
    case P::kCount: return {};
  }
  return {};
}

// How the IV of a message comes to be. When decrypting it is given, whatever the generator says.
Status CheckGenerator(CK_ULONG generator, CK_ULONG fixed_bits, std::size_t iv_bytes, bool encrypting) {
  if (!encrypting) return {};
  if (generator > CKG_GENERATE_COUNTER_XOR) return Invalid("unknown IV generator");
  if (generator != CKG_NO_GENERATE && fixed_bits > iv_bytes * 8) return Invalid("more fixed IV bits than the IV has");
  return {};
}

}  // namespace

const ParameterLayout* LayoutFor(ParameterKind kind, std::size_t parameter_bytes) {
  if (kind == P::kBytes || kind == P::kDhPublic)
    return parameter_bytes <= kParameterStructBytesMax ? &kAnyBytes : nullptr;
  for (const KindAndLayout& entry : kLayouts) {
    if (entry.kind == kind && entry.layout.bytes == parameter_bytes) return &entry.layout;
  }
  return nullptr;
}

const ParameterLayout* MessageLayout(std::size_t parameter_bytes) {
  for (const ParameterLayout& layout : kMessageLayouts) {
    if (layout.bytes == parameter_bytes) return &layout;
  }
  return nullptr;
}

CK_ULONG FieldUlong(const void* parameter, const ParameterField& field) {
  if (field.kind == FieldKind::kByte) return *At(parameter, field.offset);
  return UlongAt(parameter, field.offset);
}

const void* FieldPointer(const void* parameter, const ParameterField& field) {
  const void* pointer;
  std::memcpy(&pointer, At(parameter, field.offset), sizeof pointer);
  return pointer;
}

std::size_t FieldStructCount(const void* parameter, const ParameterField& field) {
  if (field.kind == FieldKind::kStruct) return 1;
  return std::min<CK_ULONG>(UlongAt(parameter, field.length_offset), field.limit + CK_ULONG{1});
}

std::size_t FieldBufferBytes(const void* parameter, const ParameterField& field) {
  if (field.kind == FieldKind::kBytesOfFixedLength) return field.size;
  if (field.kind == FieldKind::kRoom) {
    const CK_ULONG* room;
    std::memcpy(&room, At(parameter, field.length_offset), sizeof room);
    return room == nullptr ? 0 : std::min<CK_ULONG>(*room, field.limit + CK_ULONG{1});
  }
  CK_ULONG length = UlongAt(parameter, field.length_offset);
  if (field.kind == FieldKind::kBytesWithBitLength) length = length / 8 + (length % 8 != 0 ? 1 : 0);
  return std::min<CK_ULONG>(length, field.limit + CK_ULONG{1});
}

Status CheckParameter(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  const std::size_t bytes = mechanism.ulParameterLen;
  const ParameterLayout* layout = LayoutFor(row.parameter, bytes);
  if (layout == nullptr) {
    return Invalid(std::string(row.name) + " takes no parameter of " + std::to_string(bytes) + " bytes");
  }
  if (bytes > 0 && mechanism.pParameter == nullptr) return Invalid("pParameter is NULL but has a length");
  if (bytes == 0)
    return row.parameter == P::kDhPublic ? Status(Invalid("no public value of the other side")) : Status{};
  RETURN_IF_ERROR(CheckBuffers(layout->fields, mechanism.pParameter));
  return CheckValues(row, *layout, mechanism);
}

Status CheckMessageParameter(const MechanismRow& row, const void* parameter, std::size_t parameter_bytes,
                             bool encrypting) {
  const P kind = row.parameter;
  const std::size_t expected = kind == P::kGcm                ? sizeof(GcmMessage)
                               : kind == P::kCcm              ? sizeof(CcmMessage)
                               : kind == P::kChacha20Poly1305 ? sizeof(ChachaMessage)
                                                              : 0;
  if (expected == 0 || parameter_bytes != expected) {
    return Invalid(std::string(row.name) + " takes no message parameter of " + std::to_string(parameter_bytes) +
                   " bytes");
  }
  if (parameter == nullptr) return Invalid("the message parameter is NULL but has a length");
  const ParameterLayout& layout = *MessageLayout(parameter_bytes);
  RETURN_IF_ERROR(CheckBuffers(layout.fields, parameter));
  if (kind == P::kChacha20Poly1305) return CheckChacha20Poly1305(layout, parameter);
  if (kind == P::kCcm) {
    const std::size_t nonce_bytes = Buffer(layout, parameter, "pNonce").size();
    RETURN_IF_ERROR(CheckCcmLengths(nonce_bytes, Value(layout, parameter, "ulDataLen"),
                                    UlongAt(parameter, offsetof(CcmMessage, ulMACLen))));
    return CheckGenerator(Value(layout, parameter, "nonceGenerator"), Value(layout, parameter, "ulNonceFixedBits"),
                          nonce_bytes, encrypting);
  }
  const std::size_t iv_bytes = Buffer(layout, parameter, "pIv").size();
  if (iv_bytes == 0) return Invalid("GCM without an IV");
  if (!IsTagLength(UlongAt(parameter, offsetof(GcmMessage, ulTagBits))))
    return Invalid("GCM tag not of 96 to 128 bits");
  return CheckGenerator(Value(layout, parameter, "ivGenerator"), Value(layout, parameter, "ulIvFixedBits"), iv_bytes,
                        encrypting);
}

GcmParameter ReadGcm(const CK_MECHANISM& mechanism) {
  const ParameterLayout* layout = LayoutFor(P::kGcm, mechanism.ulParameterLen);
  if (layout == nullptr) return {};
  return {Buffer(*layout, mechanism.pParameter, "pIv"), Buffer(*layout, mechanism.pParameter, "pAAD"),
          Value(*layout, mechanism.pParameter, "ulTagBits")};
}

CcmParameter ReadCcm(const CK_MECHANISM& mechanism) {
  const ParameterLayout* layout = LayoutFor(P::kCcm, mechanism.ulParameterLen);
  if (layout == nullptr) return {};
  return {Buffer(*layout, mechanism.pParameter, "pNonce"), Buffer(*layout, mechanism.pParameter, "pAAD"),
          Value(*layout, mechanism.pParameter, "ulDataLen"), Value(*layout, mechanism.pParameter, "ulMACLen")};
}

ByteView ReadContext(const CK_MECHANISM& mechanism) {
  const ParameterLayout* layout = LayoutFor(P::kManaged, mechanism.ulParameterLen);
  return layout == nullptr ? ByteView{} : Buffer(*layout, mechanism.pParameter, "pContext");
}

std::size_t ReadMacGeneral(const CK_MECHANISM& mechanism) {
  return mechanism.ulParameterLen == sizeof(CK_ULONG) ? UlongAt(mechanism.pParameter, 0) : 0;
}

std::size_t ReadHashBits(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  if (row.digest == CKM_SHA512_T && row.parameter == P::kMacGeneral) return ReadMacGeneral(mechanism);
  if (row.parameter != P::kHashBits || mechanism.ulParameterLen != sizeof(CK_ULONG)) return DigestLength(row.digest);
  return UlongAt(mechanism.pParameter, 0) / 8;
}

TlsMacParameter ReadTlsMac(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  if (row.parameter != P::kTlsMac) return {0, 12, row.type == CKM_TLS10_MAC_SERVER};
  if (mechanism.ulParameterLen != sizeof(CK_TLS_MAC_PARAMS)) return {0, 12, false};
  const auto& mac = *static_cast<const CK_TLS_MAC_PARAMS*>(mechanism.pParameter);
  return {mac.prfHashMechanism == CKM_TLS_PRF ? 0 : mac.prfHashMechanism, mac.ulMacLength, mac.ulServerOrClient == 1};
}

std::span<const CK_DERIVED_KEY> AdditionalKeysIn(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  if (row.parameter != P::kSp800Kdf && row.parameter != P::kSp800Feedback) return {};
  const ParameterLayout* layout = LayoutFor(row.parameter, mechanism.ulParameterLen);
  if (layout == nullptr || mechanism.pParameter == nullptr) return {};
  const ParameterField& field = *FieldNamed(*layout, "pAdditionalDerivedKeys");
  const auto* first = static_cast<const CK_DERIVED_KEY*>(FieldPointer(mechanism.pParameter, field));
  const std::size_t count = FieldStructCount(mechanism.pParameter, field);
  return first == nullptr || count > field.limit ? std::span<const CK_DERIVED_KEY>() : std::span(first, count);
}

std::array<MutableBytes, kAdditionalKeysMax> ResultsIn(const MechanismRow& row, const CK_MECHANISM& mechanism) {
  const ParameterLayout* layout = LayoutFor(row.parameter, mechanism.ulParameterLen);
  if (layout == nullptr || mechanism.pParameter == nullptr) return {};
  std::array<MutableBytes, kAdditionalKeysMax> handles;
  std::size_t count = 0;
  for (const CK_DERIVED_KEY& key : AdditionalKeysIn(row, mechanism)) {
    auto* at = reinterpret_cast<std::uint8_t*>(key.phKey);
    if (at != nullptr) handles[count++] = MutableBytes(at, sizeof *key.phKey);
  }
  if (count != 0) return handles;
  if (row.parameter == P::kTlsKeyMaterial || row.parameter == P::kTls12KeyMaterial) {
    const TlsKeyMaterialParameter given = ReadTlsKeyMaterial(row, mechanism);
    if (given.out == nullptr || given.iv_bytes > kTlsIv) return {};
    const auto iv = [&](CK_BYTE* at) { return at == nullptr ? MutableBytes() : MutableBytes(at, given.iv_bytes); };
    constexpr std::size_t kHandles = offsetof(CK_SSL3_KEY_MAT_OUT, pIVClient);
    return {MutableBytes(reinterpret_cast<std::uint8_t*>(given.out), kHandles), iv(given.out->pIVClient),
            iv(given.out->pIVServer)};
  }
  if (row.parameter == P::kDsaSeedOut) {
    const auto& given = *static_cast<const CK_DSA_PARAMETER_GEN_PARAM*>(mechanism.pParameter);
    if (given.pSeed == nullptr || given.ulSeedLen > kSeed) return {};
    return {MutableBytes(given.pSeed, given.ulSeedLen)};
  }
  for (const ParameterField& field : layout->fields) {
    const bool alone = field.kind == FieldKind::kRoom || field.kind == FieldKind::kBytesOfFixedLength;
    if (!alone || field.direction == Direction::kIn) continue;
    auto* at = static_cast<std::uint8_t*>(const_cast<void*>(FieldPointer(mechanism.pParameter, field)));
    const std::size_t bytes = FieldBufferBytes(mechanism.pParameter, field);
    if (at != nullptr && bytes <= field.limit) return {MutableBytes(at, bytes)};
  }
  return {};
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

CK_OBJECT_HANDLE* SecondKeyIn(const MechanismRow& row, const CK_MECHANISM& mechanism, bool* used) {
  *used = row.parameter == P::kKeyHandle;
  if (*used) return static_cast<CK_OBJECT_HANDLE*>(mechanism.pParameter);
  if (row.parameter != P::kHkdf) return nullptr;
  auto* hkdf = static_cast<CK_HKDF_PARAMS*>(mechanism.pParameter);
  *used = hkdf->bExtract != CK_FALSE && hkdf->ulSaltType == CKF_HKDF_SALT_KEY;
  return &hkdf->hSaltKey;
}

bool IsSp800Kdf(CK_ULONG kdf) { return kdf >= CKD_SHA1_KDF_SP800 && kdf <= CKD_SHA3_512_KDF_SP800; }

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

CK_MECHANISM_TYPE KdfDigest(CK_ULONG kdf) {
  switch (kdf) {
    case CKD_SHA1_KDF_SP800:
    case CKD_SHA1_KDF: return CKM_SHA_1;
    case CKD_SHA224_KDF_SP800:
    case CKD_SHA224_KDF: return CKM_SHA224;
    case CKD_SHA256_KDF_SP800:
    case CKD_SHA256_KDF: return CKM_SHA256;
    case CKD_SHA384_KDF_SP800:
    case CKD_SHA384_KDF: return CKM_SHA384;
    case CKD_SHA512_KDF_SP800:
    case CKD_SHA512_KDF: return CKM_SHA512;
    case CKD_SHA3_224_KDF_SP800:
    case CKD_SHA3_224_KDF: return CKM_SHA3_224;
    case CKD_SHA3_256_KDF_SP800:
    case CKD_SHA3_256_KDF: return CKM_SHA3_256;
    case CKD_SHA3_384_KDF_SP800:
    case CKD_SHA3_384_KDF: return CKM_SHA3_384;
    case CKD_SHA3_512_KDF_SP800:
    case CKD_SHA3_512_KDF: return CKM_SHA3_512;
    default: return 0;
  }
}

}  // namespace cmkd::spec

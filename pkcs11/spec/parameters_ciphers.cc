// Parameters of ciphers: IVs, counters, authenticated encryption as a whole and message by message, and the context of
// the managed mechanism.
#include "pkcs11/spec/parameter_rows.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {
namespace parameters {
namespace {

// CK_GCM_PARAMS as it was before ulIvBits came; some programs still send it.
struct GcmWithoutIvBits {
  CK_BYTE_PTR pIv;
  CK_ULONG ulIvLen;
  CK_BYTE_PTR pAAD;
  CK_ULONG ulAADLen;
  CK_ULONG ulTagBits;
};
using GcmMessage = CK_GCM_MESSAGE_PARAMS;
using CcmMessage = CK_CCM_MESSAGE_PARAMS;
using ChachaMessage = CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS;

constexpr std::uint16_t kTag = 16;
constexpr std::uint32_t kNonce = 16;        // of CCM
constexpr std::uint32_t kChachaNonce = 24;  // the longest of any variant

Status CheckCtr(const Given& given) {
  const CK_ULONG bits = given.Value("ulCounterBits");
  if (bits < 1 || bits > 128) return Invalid("CTR counter of " + std::to_string(bits) + " bits; 1 to 128 are possible");
  return {};
}

// SP 800-38D section 5.2.1.2 has 32 and 64 too, for protocols with few and short messages; not here.
Status CheckGcmLengths(std::size_t iv_bytes, CK_ULONG tag_bits) {
  if (iv_bytes == 0) return Invalid("GCM without an IV");
  if (tag_bits < 96 || tag_bits > 128 || tag_bits % 8 != 0)
    return Invalid("GCM tag of " + std::to_string(tag_bits) + " bits; 96 to 128 are allowed");
  return {};
}

Status CheckGcm(const Given& given) { return CheckGcmLengths(given.Buffer("pIv").size(), given.Value("ulTagBits")); }

// SP 800-38C appendix A.1; tags below 64 bits are for keys that see few messages.
Status CheckCcmLengths(std::size_t nonce_bytes, CK_ULONG data_bytes, CK_ULONG mac_bytes) {
  if (nonce_bytes < 7 || nonce_bytes > 13) return Invalid("CCM nonce not of 7 to 13 bytes");
  if (mac_bytes < 8 || mac_bytes > 16 || mac_bytes % 2 != 0) return Invalid("CCM MAC not of 8 to 16 bytes");
  if (nonce_bytes == 13 && data_bytes > 0xffff) return Invalid("too much data for such a long CCM nonce");
  return {};
}

Status CheckCcm(const Given& given) {
  return CheckCcmLengths(given.Buffer("pNonce").size(), given.Value("ulDataLen"), given.Value("ulMACLen"));
}

Status CheckChacha20(const Given& given) {
  const CK_ULONG counter = UlongAt(given.parameter, offsetof(CK_CHACHA20_PARAMS, blockCounterBits));
  const CK_ULONG nonce = UlongAt(given.parameter, offsetof(CK_CHACHA20_PARAMS, ulNonceBits));
  // RFC 8439 has a counter of 32 bits and a nonce of 96; the original has 64 of each.
  const bool known = (counter == 32 && nonce == 96) || (counter == 64 && nonce == 64);
  if (!known || given.Buffer("pNonce").data() == nullptr) return Invalid("not a form of ChaCha20");
  return {};
}

Status CheckChacha20Poly1305(const Given& given) {
  if (given.Buffer("pNonce").size() != 12) return Invalid("ChaCha20-Poly1305 takes a nonce of 96 bits");
  return {};
}

// How the IV of a message comes to be. When decrypting it is given, whatever the generator says.
Status CheckGenerator(const Given& given, CK_ULONG generator, CK_ULONG fixed_bits, std::size_t iv_bytes) {
  if (!given.encrypting) return {};
  if (generator > CKG_GENERATE_COUNTER_XOR) return Invalid("unknown IV generator");
  if (generator != CKG_NO_GENERATE && fixed_bits > iv_bytes * 8) return Invalid("more fixed IV bits than the IV has");
  return {};
}

Status CheckGcmMessage(const Given& given) {
  const std::size_t iv_bytes = given.Buffer("pIv").size();
  RETURN_IF_ERROR(CheckGcmLengths(iv_bytes, UlongAt(given.parameter, offsetof(GcmMessage, ulTagBits))));
  return CheckGenerator(given, given.Value("ivGenerator"), given.Value("ulIvFixedBits"), iv_bytes);
}

Status CheckCcmMessage(const Given& given) {
  const std::size_t nonce_bytes = given.Buffer("pNonce").size();
  const CK_ULONG mac_bytes = UlongAt(given.parameter, offsetof(CcmMessage, ulMACLen));
  RETURN_IF_ERROR(CheckCcmLengths(nonce_bytes, given.Value("ulDataLen"), mac_bytes));
  return CheckGenerator(given, given.Value("nonceGenerator"), given.Value("ulNonceFixedBits"), nonce_bytes);
}

constexpr std::array kRows = {
    Flat(P::kNone, 0),
    CMKD_PARAMETER(P::kGcm, CK_GCM_PARAMS, CheckGcm, CMKD_BUFFER(pIv, ulIvLen, kIv), CMKD_VALUE(ulIvBits),
                   CMKD_BUFFER(pAAD, ulAADLen, kLong), CMKD_VALUE(ulTagBits)),
    CMKD_PARAMETER(P::kGcm, GcmWithoutIvBits, CheckGcm, CMKD_BUFFER(pIv, ulIvLen, kIv),
                   CMKD_BUFFER(pAAD, ulAADLen, kLong), CMKD_VALUE(ulTagBits)),
    CMKD_PARAMETER(P::kGcm, CK_GCM_WRAP_PARAMS, CheckGcm, CMKD_BUFFER(pIv, ulIvLen, kIv), CMKD_VALUE(ulIvFixedBits),
                   CMKD_VALUE(ivGenerator), CMKD_BUFFER(pAAD, ulAADLen, kLong), CMKD_VALUE(ulTagBits)),
    CMKD_PARAMETER(P::kCcm, CK_CCM_PARAMS, CheckCcm, CMKD_VALUE(ulDataLen), CMKD_BUFFER(pNonce, ulNonceLen, kNonce),
                   CMKD_BUFFER(pAAD, ulAADLen, kLong), CMKD_VALUE(ulMACLen)),
    CMKD_PARAMETER(P::kCcm, CK_CCM_WRAP_PARAMS, CheckCcm, CMKD_VALUE(ulDataLen),
                   CMKD_BUFFER(pNonce, ulNonceLen, kNonce), CMKD_VALUE(ulNonceFixedBits), CMKD_VALUE(nonceGenerator),
                   CMKD_BUFFER(pAAD, ulAADLen, kLong), CMKD_VALUE(ulMACLen)),
    Flat(P::kIv16, 16),
    Flat(P::kIv8, 8),
    Flat(P::kOptionalIv8, 0),
    Flat(P::kOptionalIv8, 8),
    Flat(P::kOptionalIv4, 0),
    Flat(P::kOptionalIv4, 4),
    CMKD_PARAMETER(P::kAesCtr, CK_AES_CTR_PARAMS, CheckCtr, CMKD_VALUE(ulCounterBits), CMKD_VALUE(cb)),
    CMKD_PARAMETER(P::kChacha20, CK_CHACHA20_PARAMS, CheckChacha20, CMKD_BITS(pBlockCounter, blockCounterBits, 8),
                   CMKD_BITS(pNonce, ulNonceBits, kChachaNonce)),
    // The standard counts this nonce in bits.
    CMKD_PARAMETER(P::kChacha20Poly1305, CK_SALSA20_CHACHA20_POLY1305_PARAMS, CheckChacha20Poly1305,
                   CMKD_BITS(pNonce, ulNonceLen, kChachaNonce), CMKD_BUFFER(pAAD, ulAADLen, kLong)),
    Flat(P::kManaged, 0),
    CMKD_PARAMETER(P::kManaged, CK_CMKD_MANAGED_PARAMS, AnyValue,
                   CMKD_BUFFER(pContext, ulContextLen, CMKD_CONTEXT_MAX)),
    FlatUpTo(P::kBytes, kParameterStructBytesMax, AnyValue),
};

// The message parameters. The token writes the IV when it is asked to make one, and the tag when it encrypts.
constexpr std::array kMessageRows = {
    CMKD_PARAMETER(P::kGcm, GcmMessage, CheckGcmMessage, InOut(CMKD_BUFFER(pIv, ulIvLen, kIv)),
                   CMKD_VALUE(ulIvFixedBits), CMKD_VALUE(ivGenerator), InOut(CMKD_BITS(pTag, ulTagBits, kTag))),
    CMKD_PARAMETER(P::kCcm, CcmMessage, CheckCcmMessage, CMKD_VALUE(ulDataLen),
                   InOut(CMKD_BUFFER(pNonce, ulNonceLen, kNonce)), CMKD_VALUE(ulNonceFixedBits),
                   CMKD_VALUE(nonceGenerator), InOut(CMKD_BUFFER(pMAC, ulMACLen, kTag))),
    CMKD_PARAMETER(P::kChacha20Poly1305, ChachaMessage, CheckChacha20Poly1305,
                   CMKD_BITS(pNonce, ulNonceLen, kChachaNonce), InOut(CMKD_BYTES(pTag, kTag))),
};

}  // namespace

std::span<const ParameterRow> CipherParameters() { return kRows; }

}  // namespace parameters

using namespace parameters;

const ParameterLayout* MessageLayout(std::size_t parameter_bytes) {
  for (const ParameterRow& entry : kMessageRows) {
    if (entry.Takes(parameter_bytes)) return &entry.layout;
  }
  return nullptr;
}

Status CheckMessageParameter(const MechanismRow& row, const void* parameter, std::size_t parameter_bytes,
                             bool encrypting) {
  for (const ParameterRow& entry : kMessageRows) {
    if (entry.kind != row.parameter || !entry.Takes(parameter_bytes)) continue;
    if (parameter == nullptr) return Invalid("the message parameter is NULL but has a length");
    RETURN_IF_ERROR(CheckFields(entry.layout.fields, parameter));
    const CK_MECHANISM mechanism{row.type, const_cast<void*>(parameter), parameter_bytes};
    return entry.rule({row, entry.layout, mechanism, encrypting});
  }
  return Invalid(std::string(row.name) + " takes no message parameter of " + std::to_string(parameter_bytes) +
                 " bytes");
}

GcmParameter ReadGcm(const CK_MECHANISM& mechanism) {
  const ParameterLayout* layout = LayoutFor(P::kGcm, mechanism.ulParameterLen);
  if (layout == nullptr) return {};
  const Fields gcm{*layout, mechanism.pParameter};
  return {gcm.Buffer("pIv"), gcm.Buffer("pAAD"), gcm.Value("ulTagBits")};
}

CcmParameter ReadCcm(const CK_MECHANISM& mechanism) {
  const ParameterLayout* layout = LayoutFor(P::kCcm, mechanism.ulParameterLen);
  if (layout == nullptr) return {};
  const Fields ccm{*layout, mechanism.pParameter};
  return {ccm.Buffer("pNonce"), ccm.Buffer("pAAD"), ccm.Value("ulDataLen"), ccm.Value("ulMACLen")};
}

ByteView ReadContext(const CK_MECHANISM& mechanism) {
  const ParameterLayout* layout = LayoutFor(P::kManaged, mechanism.ulParameterLen);
  return layout == nullptr ? ByteView{} : Fields{*layout, mechanism.pParameter}.Buffer("pContext");
}

}  // namespace cmkd::spec

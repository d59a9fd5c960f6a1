// One message's IV and tag, in the layouts of PKCS#11 3.0.
#include "pkcs11/spec/message_parameter.h"

namespace cmkd::spec {
namespace {

constexpr CK_ULONG kRandomBitsMin = 96;

}  // namespace

CK_ULONG MessageParameter::generator() const {
  if (gcm()) return AsGcm().ivGenerator;
  return ccm() ? AsCcm().nonceGenerator : CKG_NO_GENERATE;  // ChaCha20-Poly1305's has no field for it
}

Status MessageParameter::ChooseIv(const std::function<Status(MutableBytes)>& fill) const {
  if (!ChoosesIv()) return {};
  const MutableBytes iv =
      gcm() ? MutableBytes{AsGcm().pIv, AsGcm().ulIvLen} : MutableBytes{AsCcm().pNonce, AsCcm().ulNonceLen};
  const CK_ULONG fixed = gcm() ? AsGcm().ulIvFixedBits : AsCcm().ulNonceFixedBits;
  if (generator() != CKG_GENERATE && generator() != CKG_GENERATE_RANDOM)
    return Fail(CKR_MECHANISM_PARAM_INVALID, "only random IVs are made here: a counter would not outlive the key");
  if (iv.size() * 8 < fixed + kRandomBitsMin) return Fail(CKR_MECHANISM_PARAM_INVALID, "less than 96 random bits");
  const std::size_t first = fixed / 8;  // the byte in which the fixed part ends
  const std::uint8_t kept = static_cast<std::uint8_t>(0xFF00u >> (fixed % 8));
  const std::uint8_t shared = iv[first];
  RETURN_IF_ERROR(fill(iv.subspan(first)));
  iv[first] = static_cast<std::uint8_t>((shared & kept) | (iv[first] & ~kept));
  return {};
}

CK_MECHANISM MessageParameter::WithFixedIv(CK_MECHANISM_TYPE type) {
  if (gcm()) {
    fixed_gcm_ = AsGcm();
    fixed_gcm_.ivGenerator = CKG_NO_GENERATE;
    return {type, &fixed_gcm_, sizeof fixed_gcm_};
  }
  if (ccm()) {
    fixed_ccm_ = AsCcm();
    fixed_ccm_.nonceGenerator = CKG_NO_GENERATE;
    return {type, &fixed_ccm_, sizeof fixed_ccm_};
  }
  return {type, given_.data, given_.length};
}

MutableBytes MessageParameter::tag() const {
  if (gcm()) return {AsGcm().pTag, AsGcm().ulTagBits / 8};
  if (ccm()) return {AsCcm().pMAC, AsCcm().ulMACLen};
  return {AsChacha().pTag, 16};
}

CK_MECHANISM MessageParameter::AsOneShot(CK_MECHANISM_TYPE type, ByteView associated_data, std::size_t plain_bytes) {
  auto* aad = const_cast<CK_BYTE_PTR>(associated_data.data());
  const CK_ULONG aad_bytes = associated_data.size();
  if (gcm()) {
    gcm_ = {AsGcm().pIv, AsGcm().ulIvLen, AsGcm().ulIvLen * 8, aad, aad_bytes, AsGcm().ulTagBits};
    return {type, &gcm_, sizeof gcm_};
  }
  if (ccm()) {
    ccm_.ulDataLen = plain_bytes;
    ccm_.pNonce = AsCcm().pNonce;
    ccm_.ulNonceLen = AsCcm().ulNonceLen;
    ccm_.pAAD = aad;
    ccm_.ulAADLen = aad_bytes;
    ccm_.ulMACLen = AsCcm().ulMACLen;
    return {type, &ccm_, sizeof ccm_};
  }
  // Both count the nonce in bits (3.2, "ChaCha20/Poly1305 mechanism parameters").
  chacha_.pNonce = AsChacha().pNonce;
  chacha_.ulNonceLen = AsChacha().ulNonceLen;
  chacha_.pAAD = aad;
  chacha_.ulAADLen = aad_bytes;
  return {type, &chacha_, sizeof chacha_};
}

}  // namespace cmkd::spec

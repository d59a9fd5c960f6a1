// One place that fills parameters in. Values are constants: the keys protect nothing.
#include "conformance/samples.h"

#include <cstring>

#include "pkcs11/spec/vendor.h"

namespace cmkd::conformance {
namespace {

using spec::OutputRule;
using spec::ParameterKind;

CK_BYTE iv[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
CK_BYTE associated[20] = {0xA0, 0xA1, 0xA2};
CK_BYTE counter[4] = {1};
CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};

template <class T>
Bytes AsParameter(const T& value) {
  Bytes bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

struct HashSet {
  CK_MECHANISM_TYPE hash;
  CK_RSA_PKCS_MGF_TYPE mgf;
};
constexpr HashSet kMgfs[] = {
    {CKM_SHA_1, CKG_MGF1_SHA1},        {CKM_SHA224, CKG_MGF1_SHA224},     {CKM_SHA256, CKG_MGF1_SHA256},
    {CKM_SHA384, CKG_MGF1_SHA384},     {CKM_SHA512, CKG_MGF1_SHA512},     {CKM_SHA3_224, CKG_MGF1_SHA3_224},
    {CKM_SHA3_256, CKG_MGF1_SHA3_256}, {CKM_SHA3_384, CKG_MGF1_SHA3_384}, {CKM_SHA3_512, CKG_MGF1_SHA3_512}};

CK_RSA_PKCS_PSS_PARAMS Pss(CK_MECHANISM_TYPE digest) {
  const CK_MECHANISM_TYPE hash = digest == 0 ? CKM_SHA256 : digest;
  for (const HashSet& set : kMgfs) {
    if (set.hash == hash) return {hash, set.mgf, spec::DigestLength(hash)};
  }
  return {CKM_SHA256, CKG_MGF1_SHA256, 32};
}

// False when this kind of parameter cannot be made up here.
bool FillParameter(const spec::MechanismRow& row, CK_ULONG message_bytes, Bytes& parameter) {
  switch (row.parameter) {
    case ParameterKind::kNone:
    case ParameterKind::kOptionalIv8:
    case ParameterKind::kOptionalIv4:
    case ParameterKind::kEddsa: return true;
    case ParameterKind::kIv16: parameter.assign(iv, iv + 16); return true;
    case ParameterKind::kIv8: parameter.assign(iv, iv + 8); return true;
    case ParameterKind::kAesCtr: {
      CK_AES_CTR_PARAMS ctr{128, {}};
      std::memcpy(ctr.cb, iv, sizeof ctr.cb);
      parameter = AsParameter(ctr);
      return true;
    }
    case ParameterKind::kGcm:
      // A GMAC has nothing but its message.
      parameter = (row.operations & CKF_SIGN) != 0
                      ? AsParameter(CK_GCM_PARAMS{iv, 12, 96, nullptr, 0, 128})
                      : AsParameter(CK_GCM_PARAMS{iv, 12, 96, associated, sizeof associated, 128});
      return true;
    case ParameterKind::kMacGeneral: parameter = AsParameter(CK_ULONG{8}); return true;
    case ParameterKind::kHashBits: parameter = AsParameter(CK_ULONG{160}); return true;
    case ParameterKind::kCcm:
      parameter = AsParameter(CK_CCM_PARAMS{message_bytes, iv, 12, associated, sizeof associated, 16});
      return true;
    case ParameterKind::kChacha20: parameter = AsParameter(CK_CHACHA20_PARAMS{counter, 32, iv, 96}); return true;
    case ParameterKind::kChacha20Poly1305:
      parameter = AsParameter(CK_SALSA20_CHACHA20_POLY1305_PARAMS{iv, 96, associated, sizeof associated});
      return true;
    case ParameterKind::kPss: parameter = AsParameter(Pss(row.digest)); return true;
    // The hash that every module knows.
    case ParameterKind::kOaep:
      parameter = AsParameter(CK_RSA_PKCS_OAEP_PARAMS{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0});
      return true;
    case ParameterKind::kTlsMac: parameter = AsParameter(CK_TLS_MAC_PARAMS{CKM_SHA256, 12, 1}); return true;
    case ParameterKind::kManaged: return true;
    case ParameterKind::kRsaAesWrap: parameter = AsParameter(CK_RSA_AES_KEY_WRAP_PARAMS{256, &oaep}); return true;
    case ParameterKind::kEcdhAesWrap:
      parameter = AsParameter(CK_ECDH_AES_KEY_WRAP_PARAMS{256, CKD_SHA256_KDF, sizeof iv, iv});
      return true;
    default: return false;
  }
}

bool IsKeyWrap(const spec::MechanismRow& row) {
  return row.output == OutputRule::kKeyWrap || row.output == OutputRule::kKeyWrapPad ||
         row.output == OutputRule::kKeyWrapPkcs7;
}
bool IsRsa(const spec::MechanismRow& row) { return row.key_type == CKK_RSA; }

Bytes Counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i + 1);
  return bytes;
}

// An input for the whole modulus of RSA 2048, smaller than it.
Bytes BelowModulus() {
  Bytes bytes = Counting(256);
  bytes[0] = 0;
  return bytes;
}

// What X9.31 signs ends with the number of its hash: SHA-256.
Bytes HashForX931() {
  Bytes bytes = Counting(33);
  bytes.back() = 0x34;
  return bytes;
}

Bytes ToSign(const spec::MechanismRow& row) {
  if (row.digest != 0 || row.parameter == ParameterKind::kEddsa) return Counting(100);
  if (row.type == CKM_RSA_X_509) return BelowModulus();
  if (row.type == CKM_RSA_X9_31) return HashForX931();
  if (IsRsa(row) || row.key_type == CKK_EC || row.key_type == CKK_SM2 || row.key_type == CKK_DSA) return Counting(32);
  return Counting(100);
}

Bytes ToEncrypt(const spec::MechanismRow& row) {
  if (row.type == CKM_RSA_X_509) return BelowModulus();
  if (IsRsa(row)) return Counting(32);
  switch (row.output) {
    case OutputRule::kSameLength:
    case OutputRule::kKeyWrap: return Counting(64);
    default: return Counting(61);
  }
}

}  // namespace

std::shared_ptr<Sample> MakeSample(const Offer& offer, CK_FLAGS use) {
  if (offer.row == nullptr) return nullptr;
  const spec::MechanismRow& row = *offer.row;
  auto sample = std::make_shared<Sample>();
  const bool signs = (use & (CKF_SIGN | CKF_VERIFY | CKF_SIGN_RECOVER | CKF_MESSAGE_SIGN)) != 0;
  sample->message = signs ? ToSign(row) : ToEncrypt(row);
  if (use == CKF_WRAP) sample->message.resize(32);  // the key that is wrapped: AES-CCM must know its length
  if (!FillParameter(row, sample->message.size(), sample->parameter)) return nullptr;
  sample->mechanism = {row.type, sample->parameter.empty() ? nullptr : sample->parameter.data(),
                       sample->parameter.size()};
  sample->key_type = row.key_type;
  sample->in_parts = row.parts == spec::Parts::kMulti;
  sample->tells_tampering = row.output == OutputRule::kPlusTag || row.output == OutputRule::kManaged ||
                            IsKeyWrap(row) || row.parameter == ParameterKind::kOaep;
  sample->whole_blocks = row.recipe == spec::Recipe::kEcb || row.recipe == spec::Recipe::kCbc;
  sample->one_length = IsRsa(row) || row.output == OutputRule::kManaged || row.output == OutputRule::kKeyWrap ||
                       row.parameter == ParameterKind::kCcm;
  const bool steals = row.recipe == spec::Recipe::kCts || row.recipe == spec::Recipe::kXts;
  sample->shortest = sample->one_length               ? sample->message.size()
                     : IsKeyWrap(row)                 ? 16
                     : steals                         ? 17
                     : row.output == OutputRule::kSm2 ? 1
                                                      : 0;
  return sample;
}

}  // namespace cmkd::conformance

// The layouts as constant data, and one generic check that walks them. What is special to a kind comes after it.
#include "pkcs11/spec/mechanism_parameters.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

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

// What holds for every struct: no pointer is NULL where bytes are promised, and no buffer is longer than its limit.
Status CheckBuffers(const ParameterLayout& layout, const void* parameter) {
  for (const ParameterField& field : layout.fields) {
    if (field.kind != FieldKind::kBytesWithLength && field.kind != FieldKind::kBytesWithBitLength &&
        field.kind != FieldKind::kBytesOfFixedLength) {
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

Status CheckHashAndMgf(const ParameterLayout& layout, const void* parameter) {
  if (DigestLength(Value(layout, parameter, "hashAlg")) == 0) return Invalid("unknown hashAlg");
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

Status CheckEcdh(const ParameterLayout& layout, const void* parameter) {
  const CK_ULONG kdf = Value(layout, parameter, "kdf");
  if (kdf != CKD_NULL && KdfDigest(kdf) == 0) return Invalid("unknown kdf");
  if (kdf == CKD_NULL && !Buffer(layout, parameter, "pSharedData").empty()) return Invalid("shared data without a kdf");
  if (Buffer(layout, parameter, "pPublicData").empty()) return Invalid("ECDH without the other side's public key");
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
  if (kind == P::kBytes) return parameter_bytes <= kParameterStructBytesMax ? &kAnyBytes : nullptr;
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

std::size_t FieldBufferBytes(const void* parameter, const ParameterField& field) {
  if (field.kind == FieldKind::kBytesOfFixedLength) return field.size;
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
  if (bytes == 0) return {};
  RETURN_IF_ERROR(CheckBuffers(*layout, mechanism.pParameter));
  return CheckValues(row, *layout, mechanism);
}

Status CheckMessageParameter(const MechanismRow& row, const void* parameter, std::size_t parameter_bytes,
                             bool encrypting) {
  // Of the mechanisms with messages only GCM is here; CCM and ChaCha20-Poly1305 have layouts so that the wire carries
  // them.
  if (row.parameter != P::kGcm || parameter_bytes != sizeof(GcmMessage)) {
    return Invalid(std::string(row.name) + " takes no message parameter of " + std::to_string(parameter_bytes) +
                   " bytes");
  }
  if (parameter == nullptr) return Invalid("the message parameter is NULL but has a length");
  const ParameterLayout& layout = *MessageLayout(parameter_bytes);
  RETURN_IF_ERROR(CheckBuffers(layout, parameter));
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

CK_MECHANISM_TYPE MgfDigest(CK_RSA_PKCS_MGF_TYPE mgf) {
  switch (mgf) {
    case CKG_MGF1_SHA1: return CKM_SHA_1;
    case CKG_MGF1_SHA224: return CKM_SHA224;
    case CKG_MGF1_SHA256: return CKM_SHA256;
    case CKG_MGF1_SHA384: return CKM_SHA384;
    case CKG_MGF1_SHA512: return CKM_SHA512;
    default: return 0;
  }
}

CK_MECHANISM_TYPE KdfDigest(CK_ULONG kdf) {
  switch (kdf) {
    case CKD_SHA1_KDF: return CKM_SHA_1;
    case CKD_SHA224_KDF: return CKM_SHA224;
    case CKD_SHA256_KDF: return CKM_SHA256;
    case CKD_SHA384_KDF: return CKM_SHA384;
    case CKD_SHA512_KDF: return CKM_SHA512;
    default: return 0;
  }
}

}  // namespace cmkd::spec

// Layouts that describe the structs as the compiler sees them, and parameters on both sides of each bound.
#include "pkcs11/spec/mechanism_parameters.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "tests/spec/template_builder.h"

namespace cmkd::spec {
namespace {

// All but those of any flat bytes.
std::vector<ParameterKind> Kinds() {
  std::vector<ParameterKind> kinds;
  for (std::uint8_t i = 0; i < static_cast<std::uint8_t>(ParameterKind::kCount); ++i) {
    const auto kind = static_cast<ParameterKind>(i);
    if (kind != ParameterKind::kBytes && kind != ParameterKind::kDhPublic) kinds.push_back(kind);
  }
  return kinds;
}

const MechanismRow& Row(CK_MECHANISM_TYPE type) { return *FindMechanism(type); }

template <class Struct>
CK_MECHANISM With(CK_MECHANISM_TYPE type, Struct& parameter) {
  return {type, &parameter, sizeof parameter};
}

template <class Struct>
CK_RV Check(CK_MECHANISM_TYPE type, Struct& parameter) {
  return test::RvOf(CheckParameter(Row(type), With(type, parameter)));
}

std::size_t BytesInStruct(const ParameterField& field) {
  switch (field.kind) {
    case FieldKind::kByte: return 1;
    case FieldKind::kFixedBytes: return field.size;
    default: return 8;
  }
}

// Which bytes of the struct a layout speaks of; a byte spoken of twice is a mistake.
std::vector<int> Coverage(const ParameterLayout& layout) {
  std::vector<int> bytes(layout.bytes);
  const auto mark = [&bytes](std::size_t offset, std::size_t count) {
    for (std::size_t i = offset; i < offset + count; ++i) ++bytes.at(i);
  };
  for (const ParameterField& field : layout.fields) {
    mark(field.offset, BytesInStruct(field));
    if (field.kind == FieldKind::kBytesWithLength || field.kind == FieldKind::kBytesWithBitLength ||
        field.kind == FieldKind::kStructArray || field.kind == FieldKind::kRoom)
      mark(field.length_offset, 8);
  }
  return bytes;
}

std::vector<const ParameterLayout*> AllLayouts() {
  std::vector<const ParameterLayout*> layouts;
  for (std::size_t bytes = 0; bytes <= kParameterStructBytesMax; ++bytes) {
    for (const ParameterKind kind : Kinds()) {
      if (const ParameterLayout* layout = LayoutFor(kind, bytes)) layouts.push_back(layout);
    }
    if (const ParameterLayout* layout = MessageLayout(bytes)) layouts.push_back(layout);
  }
  return layouts;
}

TEST(Layouts, SpeakOfEachByteOnceSaveForPadding) {
  ASSERT_EQ(AllLayouts().size(), 48u + 3u);
  for (const ParameterLayout* layout : AllLayouts()) {
    if (layout->flat) continue;
    std::size_t silent = 0;
    for (const int count : Coverage(*layout)) {
      EXPECT_LE(count, 1);
      silent += count == 0 ? 1u : 0u;
    }
    EXPECT_LE(silent, 7u) << layout->bytes;  // after phFlag of CK_EDDSA_PARAMS
  }
}

TEST(Layouts, BoundEveryBufferBehindAPointer) {
  for (const ParameterLayout* layout : AllLayouts()) {
    for (const ParameterField& field : layout->fields) {
      const bool pointer = field.kind != FieldKind::kUlong && field.kind != FieldKind::kByte &&
                           field.kind != FieldKind::kFixedBytes && field.kind != FieldKind::kKeyHandle;
      EXPECT_EQ(pointer, field.limit > 0) << field.name;
      EXPECT_LE(field.limit, kParameterBufferBytesMax) << field.name;
    }
  }
}

TEST(Layouts, ExistForTheLengthsOfTheStandardOnly) {
  EXPECT_NE(LayoutFor(ParameterKind::kGcm, 48), nullptr);
  EXPECT_NE(LayoutFor(ParameterKind::kGcm, 40), nullptr);
  EXPECT_EQ(LayoutFor(ParameterKind::kGcm, 47), nullptr);
  EXPECT_EQ(LayoutFor(ParameterKind::kGcm, 0), nullptr);
  EXPECT_NE(LayoutFor(ParameterKind::kOptionalIv8, 0), nullptr);
  EXPECT_EQ(LayoutFor(ParameterKind::kOptionalIv8, 4), nullptr);
  EXPECT_EQ(LayoutFor(ParameterKind::kIv16, 0), nullptr);
  EXPECT_NE(LayoutFor(ParameterKind::kBytes, kParameterStructBytesMax), nullptr);
  EXPECT_EQ(LayoutFor(ParameterKind::kBytes, kParameterStructBytesMax + 1), nullptr);
}

TEST(Layouts, AnyOtherLengthIsRefusedForEveryMechanism) {
  std::array<std::uint8_t, kParameterStructBytesMax + 1> zeros{};
  for (const MechanismRow& row : Mechanisms()) {
    for (std::size_t bytes = 0; bytes <= zeros.size(); ++bytes) {
      if (LayoutFor(row.parameter, bytes) != nullptr) continue;
      const CK_MECHANISM mechanism{row.type, zeros.data(), bytes};
      EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, CheckParameter(row, mechanism)) << row.name << " " << bytes;
    }
  }
}

TEST(Parameter, NullWithALengthIsRefusedForEveryMechanism) {
  for (const MechanismRow& row : Mechanisms()) {
    for (const std::size_t bytes : {1u, 4u, 8u, 16u, 24u, 40u, 48u}) {
      EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, CheckParameter(row, {row.type, nullptr, bytes})) << row.name;
    }
  }
}

TEST(Parameter, APointerWithoutALengthIsNoParameter) {
  std::uint8_t byte = 0;
  EXPECT_RV(CKR_OK, CheckParameter(Row(CKM_RSA_PKCS), {CKM_RSA_PKCS, &byte, 0}));
  EXPECT_RV(CKR_OK, CheckParameter(Row(CKM_AES_KEY_WRAP), {CKM_AES_KEY_WRAP, nullptr, 0}));
}

struct Gcm {
  std::array<std::uint8_t, 12> iv{};
  std::array<std::uint8_t, 4> aad{};
  CK_GCM_PARAMS params{iv.data(), iv.size(), 96, aad.data(), aad.size(), 128};
};

TEST(GcmParameter, TakesTagsOf96To128BitsInWholeBytes) {
  Gcm gcm;
  for (CK_ULONG bits = 0; bits <= 160; ++bits) {
    gcm.params.ulTagBits = bits;
    const bool good = bits == 96 || bits == 104 || bits == 112 || bits == 120 || bits == 128;
    EXPECT_EQ(Check(CKM_AES_GCM, gcm.params), good ? CKR_OK : CKR_MECHANISM_PARAM_INVALID) << bits;
  }
}

TEST(GcmParameter, TakesIvsOf1To65536Bytes) {
  Gcm gcm;
  std::vector<std::uint8_t> iv(kIvBytesMax + 1);
  gcm.params.pIv = iv.data();
  for (const auto& [bytes, good] : {std::pair{std::size_t{0}, false},
                                    {std::size_t{1}, true},
                                    {kIvBytesMax, true},
                                    {kIvBytesMax + 1, false},
                                    {~std::size_t{0}, false}}) {
    gcm.params.ulIvLen = bytes;
    EXPECT_EQ(Check(CKM_AES_GCM, gcm.params), good ? CKR_OK : CKR_MECHANISM_PARAM_INVALID) << bytes;
  }
}

TEST(GcmParameter, RefusesNullPointersWithLengthsAndTakesThemWithout) {
  Gcm gcm;
  gcm.params.pAAD = nullptr;
  EXPECT_EQ(Check(CKM_AES_GCM, gcm.params), CKR_MECHANISM_PARAM_INVALID);
  gcm.params.ulAADLen = 0;
  EXPECT_EQ(Check(CKM_AES_GCM, gcm.params), CKR_OK);
  gcm.params.pIv = nullptr;
  EXPECT_EQ(Check(CKM_AES_GCM, gcm.params), CKR_MECHANISM_PARAM_INVALID);
}

TEST(GcmParameter, RefusesAadOverTheLimitWithoutReadingIt) {
  Gcm gcm;
  gcm.params.ulAADLen = kParameterBufferBytesMax + 1;
  EXPECT_EQ(Check(CKM_AES_GCM, gcm.params), CKR_MECHANISM_PARAM_INVALID);
  gcm.params.ulAADLen = ~0UL;
  EXPECT_EQ(Check(CKM_AES_GCM, gcm.params), CKR_MECHANISM_PARAM_INVALID);
}

TEST(GcmParameter, ReadsBothLayoutsAlike) {
  Gcm gcm;
  struct {
    CK_BYTE_PTR iv;
    CK_ULONG iv_bytes;
    CK_BYTE_PTR aad;
    CK_ULONG aad_bytes;
    CK_ULONG tag_bits;
  } shorter{gcm.iv.data(), gcm.iv.size(), gcm.aad.data(), gcm.aad.size(), 128};
  ASSERT_EQ(Check(CKM_AES_GCM, shorter), CKR_OK);
  for (const GcmParameter& read : {ReadGcm(With(CKM_AES_GCM, gcm.params)), ReadGcm(With(CKM_AES_GCM, shorter))}) {
    EXPECT_EQ(read.iv.data(), gcm.iv.data());
    EXPECT_EQ(read.iv.size(), 12u);
    EXPECT_EQ(read.aad.data(), gcm.aad.data());
    EXPECT_EQ(read.aad.size(), 4u);
    EXPECT_EQ(read.tag_bits, 128u);
  }
}

TEST(CtrParameter, CountsIn1To128Bits) {
  CK_AES_CTR_PARAMS ctr{};
  for (const auto& [bits, rv] : {std::pair{0UL, CKR_MECHANISM_PARAM_INVALID},
                                 {1UL, CKR_OK},
                                 {128UL, CKR_OK},
                                 {129UL, CKR_MECHANISM_PARAM_INVALID}}) {
    ctr.ulCounterBits = bits;
    EXPECT_EQ(Check(CKM_AES_CTR, ctr), rv) << bits;
  }
}

TEST(PssParameter, MayMixHashesUnlessTheMechanismNamesOne) {
  CK_RSA_PKCS_PSS_PARAMS pss{CKM_SHA256, CKG_MGF1_SHA1, 20};
  EXPECT_EQ(Check(CKM_RSA_PKCS_PSS, pss), CKR_OK);
  EXPECT_EQ(Check(CKM_SHA256_RSA_PKCS_PSS, pss), CKR_OK);
  EXPECT_EQ(Check(CKM_SHA384_RSA_PKCS_PSS, pss), CKR_MECHANISM_PARAM_INVALID);
}

TEST(PssParameter, RefusesUnknownFunctionsAndSaltsThatFitNoModulus) {
  CK_RSA_PKCS_PSS_PARAMS pss{CKM_MD5, CKG_MGF1_SHA256, 20};
  EXPECT_EQ(Check(CKM_RSA_PKCS_PSS, pss), CKR_MECHANISM_PARAM_INVALID);
  pss = {CKM_SHA256, 99, 20};
  EXPECT_EQ(Check(CKM_RSA_PKCS_PSS, pss), CKR_MECHANISM_PARAM_INVALID);
  pss = {CKM_SHA256, CKG_MGF1_SHA256, 16384 / 8 - 32 - 2};
  EXPECT_EQ(Check(CKM_RSA_PKCS_PSS, pss), CKR_OK);
  ++pss.sLen;
  EXPECT_EQ(Check(CKM_RSA_PKCS_PSS, pss), CKR_MECHANISM_PARAM_INVALID);
  pss.sLen = ~0UL;
  EXPECT_EQ(Check(CKM_RSA_PKCS_PSS, pss), CKR_MECHANISM_PARAM_INVALID);
}

TEST(OaepParameter, TakesLabelsOnlyFromASource) {
  std::array<std::uint8_t, 5> label{};
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};
  EXPECT_EQ(Check(CKM_RSA_PKCS_OAEP, oaep), CKR_OK);
  oaep.source = 0;
  EXPECT_EQ(Check(CKM_RSA_PKCS_OAEP, oaep), CKR_OK);
  oaep.pSourceData = label.data();
  oaep.ulSourceDataLen = label.size();
  EXPECT_EQ(Check(CKM_RSA_PKCS_OAEP, oaep), CKR_MECHANISM_PARAM_INVALID);
  oaep.source = CKZ_DATA_SPECIFIED;
  EXPECT_EQ(Check(CKM_RSA_PKCS_OAEP, oaep), CKR_OK);
  oaep.hashAlg = 0;
  EXPECT_EQ(Check(CKM_RSA_PKCS_OAEP, oaep), CKR_MECHANISM_PARAM_INVALID);
}

TEST(EcdhParameter, KnowsTheKdfsOfX963AndSp800AndNone) {
  std::array<std::uint8_t, 65> point{};
  CK_ECDH1_DERIVE_PARAMS ecdh{CKD_NULL, 0, nullptr, point.size(), point.data()};
  for (const CK_ULONG kdf :
       {CK_ULONG{CKD_NULL}, CK_ULONG{CKD_SHA1_KDF}, CK_ULONG{CKD_SHA512_KDF}, CK_ULONG{CKD_SHA3_256_KDF},
        CK_ULONG{CKD_SHA1_KDF_SP800}, CK_ULONG{CKD_SHA3_512_KDF_SP800}}) {
    ecdh.kdf = kdf;
    EXPECT_EQ(Check(CKM_ECDH1_DERIVE, ecdh), CKR_OK) << kdf;
  }
  for (const CK_ULONG kdf : {CK_ULONG{0}, CK_ULONG{CKD_CPDIVERSIFY_KDF}, CK_ULONG{CKD_SHA1_KDF_ASN1}}) {
    ecdh.kdf = kdf;
    EXPECT_EQ(Check(CKM_ECDH1_DERIVE, ecdh), CKR_MECHANISM_PARAM_INVALID) << kdf;
  }
}

TEST(EcdhParameter, NeedsThePeersKeyAndTakesSharedDataOnlyWithAKdf) {
  std::array<std::uint8_t, 65> point{};
  CK_ECDH1_DERIVE_PARAMS ecdh{CKD_NULL, point.size(), point.data(), point.size(), point.data()};
  EXPECT_EQ(Check(CKM_ECDH1_DERIVE, ecdh), CKR_MECHANISM_PARAM_INVALID);
  ecdh.kdf = CKD_SHA256_KDF;
  EXPECT_EQ(Check(CKM_ECDH1_DERIVE, ecdh), CKR_OK);
  ecdh.ulPublicDataLen = 0;
  EXPECT_EQ(Check(CKM_ECDH1_DERIVE, ecdh), CKR_MECHANISM_PARAM_INVALID);
}

TEST(EddsaParameter, IsAbsentOrHasAContextOfAtMost255Bytes) {
  std::array<std::uint8_t, 256> context{};
  CK_EDDSA_PARAMS eddsa{CK_FALSE, 255, context.data()};
  EXPECT_RV(CKR_OK, CheckParameter(Row(CKM_EDDSA), {CKM_EDDSA, nullptr, 0}));
  EXPECT_EQ(Check(CKM_EDDSA, eddsa), CKR_OK);
  eddsa.ulContextDataLen = 256;
  EXPECT_EQ(Check(CKM_EDDSA, eddsa), CKR_MECHANISM_PARAM_INVALID);
  eddsa = {2, 0, nullptr};
  EXPECT_EQ(Check(CKM_EDDSA, eddsa), CKR_MECHANISM_PARAM_INVALID);
}

struct GcmMessage {
  std::array<std::uint8_t, 12> iv{};
  std::array<std::uint8_t, 16> tag{};
  CK_GCM_MESSAGE_PARAMS params{iv.data(), iv.size(), 0, CKG_GENERATE_RANDOM, tag.data(), 128};
  CK_RV Check(bool encrypting) {
    return test::RvOf(CheckMessageParameter(Row(CKM_AES_GCM), &params, sizeof params, encrypting));
  }
};

TEST(MessageParameter, OfGcmIsCheckedLikeTheOther) {
  GcmMessage message;
  EXPECT_EQ(message.Check(true), CKR_OK);
  message.params.ulTagBits = 64;
  EXPECT_EQ(message.Check(true), CKR_MECHANISM_PARAM_INVALID);
  message.params.ulTagBits = 128;
  message.params.pTag = nullptr;
  EXPECT_EQ(message.Check(true), CKR_MECHANISM_PARAM_INVALID);
}

TEST(MessageParameter, FixesAtMostAsManyBitsAsTheIvHas) {
  GcmMessage message;
  message.params.ulIvFixedBits = 96;
  EXPECT_EQ(message.Check(true), CKR_OK);
  message.params.ulIvFixedBits = 97;
  EXPECT_EQ(message.Check(true), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(message.Check(false), CKR_OK) << "when decrypting, the IV is simply given";
}

TEST(MessageParameter, RefusesUnknownGeneratorsForEncryption) {
  GcmMessage message;
  message.params.ivGenerator = CKG_GENERATE_COUNTER_XOR;
  EXPECT_EQ(message.Check(true), CKR_OK);
  message.params.ivGenerator = CKG_GENERATE_COUNTER_XOR + 1;
  EXPECT_EQ(message.Check(true), CKR_MECHANISM_PARAM_INVALID);
}

TEST(MessageParameter, BelongsToGcmOnly) {
  GcmMessage message;
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID,
            CheckMessageParameter(Row(CKM_AES_CTR), &message.params, sizeof message.params, true));
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, CheckMessageParameter(Row(CKM_AES_GCM), &message.params, 47, true));
  EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, CheckMessageParameter(Row(CKM_AES_GCM), nullptr, sizeof message.params, true));
}

TEST(MessageParameter, LengthTellsTheThreeLayoutsApart) {
  EXPECT_EQ(MessageLayout(sizeof(CK_GCM_MESSAGE_PARAMS))->fields[0].name, "pIv");
  EXPECT_EQ(MessageLayout(sizeof(CK_CCM_MESSAGE_PARAMS))->fields[0].name, "ulDataLen");
  EXPECT_EQ(MessageLayout(sizeof(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS))->fields[0].name, "pNonce");
  EXPECT_EQ(MessageLayout(0), nullptr);
  EXPECT_EQ(MessageLayout(49), nullptr);
}

TEST(Fields, BitLengthsAreRoundedUpToBytesAndCapped) {
  GcmMessage message;
  const ParameterField& tag = MessageLayout(sizeof message.params)->fields[3];
  ASSERT_EQ(tag.name, "pTag");
  for (const auto& [bits, bytes] :
       {std::pair{0UL, 0u}, {1UL, 1u}, {8UL, 1u}, {127UL, 16u}, {129UL, 17u}, {~0UL, 17u}}) {
    message.params.ulTagBits = bits;
    EXPECT_EQ(FieldBufferBytes(&message.params, tag), bytes) << bits;
  }
}

}  // namespace
}  // namespace cmkd::spec

// Templates there and back, and everything that is not one.
#include "pkcs11/spec/template_codec.h"

#include <gtest/gtest.h>

#include <random>

#include "pkcs11/spec/attributes.h"
#include "tests/spec/template_builder.h"

namespace cmkd::spec {
namespace {

using test::TemplateBuilder;

bool SameTemplate(std::span<const CK_ATTRIBUTE> a, std::span<const CK_ATTRIBUTE> b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].type != b[i].type || a[i].ulValueLen != b[i].ulValueLen) return false;
    const bool nested = IsTemplateAttribute(a[i].type);
    const auto inside = [](const CK_ATTRIBUTE& x) {
      return std::span(static_cast<const CK_ATTRIBUTE*>(x.pValue), x.ulValueLen / sizeof(CK_ATTRIBUTE));
    };
    if (nested ? !SameTemplate(inside(a[i]), inside(b[i])) : !Equal(ValueOf(a[i]), ValueOf(b[i]))) return false;
  }
  return true;
}

// Three levels: the deepest that a template may have inside one more.
struct Sample {
  Sample() {
    inner.Bool(CKA_SENSITIVE, true).Text(CKA_LABEL, "inner");
    middle.Bool(CKA_EXTRACTABLE, false).Nested(CKA_UNWRAP_TEMPLATE, inner);
    outer.Ulong(CKA_CLASS, CKO_SECRET_KEY).Nested(CKA_WRAP_TEMPLATE, middle).Value(CKA_ID, {}).Text(CKA_LABEL, "outer");
  }
  TemplateBuilder inner, middle, outer;
};

TEST(TemplateCodec, BringsBackWhatWentIn) {
  const Sample sample;
  const auto encoded = EncodeTemplate(sample.outer);
  ASSERT_TRUE(encoded.ok());
  const auto decoded = DecodeTemplate(*encoded);
  ASSERT_TRUE(decoded.ok());
  EXPECT_TRUE(SameTemplate(decoded->attributes(), sample.outer));
}

TEST(TemplateCodec, KeepsPointersGoodWhenMoved) {
  const Sample sample;
  auto decoded = DecodeTemplate(*EncodeTemplate(sample.outer));
  ASSERT_TRUE(decoded.ok());
  const DecodedTemplate moved = std::move(*decoded);
  EXPECT_TRUE(SameTemplate(moved.attributes(), sample.outer));
}

TEST(TemplateCodec, AnEmptyTemplateIsATemplate) {
  const auto encoded = EncodeTemplate({});
  ASSERT_TRUE(encoded.ok());
  EXPECT_EQ(*encoded, Bytes(4));
  const auto decoded = DecodeTemplate(*encoded);
  ASSERT_TRUE(decoded.ok());
  EXPECT_TRUE(decoded->attributes().empty());
}

TEST(TemplateCodec, RefusesEveryTruncation) {
  const Sample sample;
  const Bytes encoded = *EncodeTemplate(sample.outer);
  for (std::size_t bytes = 0; bytes < encoded.size(); ++bytes) {
    EXPECT_FALSE(DecodeTemplate(ByteView(encoded).first(bytes)).ok()) << bytes;
  }
}

TEST(TemplateCodec, RefusesBytesAfterTheEnd) {
  Bytes encoded = *EncodeTemplate({});
  encoded.push_back(0);
  const auto decoded = DecodeTemplate(encoded);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.error().rv, CKR_ATTRIBUTE_VALUE_INVALID);
}

TEST(TemplateCodec, SurvivesAnyChangeOfItsBytes) {
  const Sample sample;
  const Bytes encoded = *EncodeTemplate(sample.outer);
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    Bytes changed = encoded;
    for (int n = 0; n < 3; ++n) changed[random() % changed.size()] = static_cast<std::uint8_t>(random());
    const auto decoded = DecodeTemplate(changed);
    if (!decoded.ok()) continue;
    const auto again = EncodeTemplate(decoded->attributes());
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(*again, changed);
  }
}

Bytes Nest(int depth) {
  Bytes flat = *EncodeTemplate({});
  for (int i = 1; i < depth; ++i) {
    Bytes outer{1, 0, 0, 0};
    for (int n = 0; n < 8; ++n) outer.push_back(static_cast<std::uint8_t>(CKA_WRAP_TEMPLATE >> (8 * n)));
    for (int n = 0; n < 8; ++n) outer.push_back(static_cast<std::uint8_t>(flat.size() >> (8 * n)));
    outer.insert(outer.end(), flat.begin(), flat.end());
    flat = outer;
  }
  return flat;
}

TEST(TemplateCodec, EndsAtTheFourthLevel) {
  EXPECT_TRUE(DecodeTemplate(Nest(4)).ok());
  EXPECT_FALSE(DecodeTemplate(Nest(5)).ok());
  EXPECT_FALSE(DecodeTemplate(Nest(2000)).ok());
}

TEST(TemplateCodec, ATemplateInsideItselfEnds) {
  CK_ATTRIBUTE self{CKA_WRAP_TEMPLATE, &self, sizeof self};
  EXPECT_FALSE(EncodeTemplate({&self, 1}).ok());
}

TEST(TemplateCodec, TakesAtMost64Attributes) {
  const std::vector<CK_ATTRIBUTE> many(kTemplateCountMax + 1, CK_ATTRIBUTE{CKA_LABEL, nullptr, 0});
  EXPECT_TRUE(EncodeTemplate(std::span(many).first(kTemplateCountMax)).ok());
  EXPECT_FALSE(EncodeTemplate(many).ok());
}

TEST(TemplateCodec, RefusesLengthsThatLie) {
  std::uint8_t byte = 0;
  EXPECT_FALSE(EncodeTemplate(std::vector{CK_ATTRIBUTE{CKA_LABEL, nullptr, 1}}).ok());
  EXPECT_FALSE(EncodeTemplate(std::vector{CK_ATTRIBUTE{CKA_LABEL, &byte, CK_UNAVAILABLE_INFORMATION}}).ok());
  EXPECT_FALSE(EncodeTemplate(std::vector{CK_ATTRIBUTE{CKA_LABEL, &byte, kTemplateBytesMax + 1}}).ok());
  EXPECT_FALSE(EncodeTemplate(std::vector{CK_ATTRIBUTE{CKA_WRAP_TEMPLATE, &byte, 1}}).ok());
}

TEST(TemplateCodec, TheListOfMechanismsIsNoTemplate) {
  EXPECT_FALSE(IsTemplateAttribute(CKA_ALLOWED_MECHANISMS));
  EXPECT_TRUE(IsTemplateAttribute(CKA_DERIVE_TEMPLATE));
}

}  // namespace
}  // namespace cmkd::spec

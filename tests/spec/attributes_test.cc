// The attribute set: order, typed access, matching.
#include "pkcs11/spec/attributes.h"

#include <gtest/gtest.h>

#include "pkcs11/spec/template_codec.h"
#include "tests/spec/template_builder.h"

namespace cmkd::spec {
namespace {

using test::TemplateBuilder;

TEST(Attributes, ComeInOrderOfTypeWhateverWasSetFirst) {
  Attributes set;
  set.SetText(CKA_LABEL, "name");
  set.SetUlong(CKA_CLASS, CKO_DATA);
  set.SetBool(CKA_TOKEN, true);
  std::vector<CK_ATTRIBUTE_TYPE> types;
  for (const Attribute& attribute : set) types.push_back(attribute.type);
  EXPECT_EQ(types, (std::vector<CK_ATTRIBUTE_TYPE>{CKA_CLASS, CKA_TOKEN, CKA_LABEL}));
}

TEST(Attributes, ReadBackAsWhatTheyAre) {
  Attributes set;
  set.SetBool(CKA_TOKEN, true);
  set.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  set.SetText(CKA_LABEL, "name");
  EXPECT_TRUE(set.Bool(CKA_TOKEN));
  EXPECT_EQ(set.Ulong(CKA_CLASS), CKO_SECRET_KEY);
  EXPECT_EQ(set.Text(CKA_LABEL), "name");
}

TEST(Attributes, GiveTheFallbackForAbsentAndMissizedOnes) {
  Attributes set;
  set.SetText(CKA_LABEL, "name");
  EXPECT_TRUE(set.Bool(CKA_TOKEN, true));
  EXPECT_FALSE(set.Bool(CKA_LABEL));
  EXPECT_EQ(set.Ulong(CKA_LABEL), std::nullopt);
  EXPECT_TRUE(set.View(CKA_ID).empty());
  EXPECT_FALSE(set.Has(CKA_ID));
}

TEST(Attributes, SettingAgainReplacesAndRemovingForgets) {
  Attributes set;
  set.SetText(CKA_LABEL, "one");
  set.SetText(CKA_LABEL, "two");
  EXPECT_EQ(set.size(), 1u);
  EXPECT_EQ(set.Text(CKA_LABEL), "two");
  set.Remove(CKA_LABEL);
  set.Remove(CKA_LABEL);
  EXPECT_TRUE(set.empty());
}

TEST(Attributes, MayBeSetFromTheirOwnValues) {
  Attributes set;
  set.SetText(CKA_LABEL, "some longer name that is not kept in place");
  set.Set(CKA_LABEL, set.View(CKA_LABEL).first(4));
  EXPECT_EQ(set.Text(CKA_LABEL), "some");
  for (CK_ATTRIBUTE_TYPE type = CKA_LABEL + 1; type < CKA_LABEL + 50; ++type) set.Set(type, set.View(CKA_LABEL));
  EXPECT_EQ(set.Text(CKA_LABEL + 49), "some");
}

TEST(Attributes, AssignedAndMovedSetsAreWhatTheirSourceWas) {
  Attributes source;
  source.SetText(CKA_LABEL, "name");
  Attributes copy;
  copy.SetText(CKA_ID, "old");
  copy = source;
  EXPECT_EQ(copy, source);
  const Attributes moved = std::move(copy);
  EXPECT_EQ(moved, source);
}

TEST(Attributes, MatchWhenAllThatIsWantedIsThere) {
  Attributes set;
  set.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  set.SetText(CKA_LABEL, "name");
  TemplateBuilder wanted;
  EXPECT_TRUE(set.Matches(wanted));
  wanted.Text(CKA_LABEL, "name");
  EXPECT_TRUE(set.Matches(wanted));
  wanted.Ulong(CKA_CLASS, CKO_DATA);
  EXPECT_FALSE(set.Matches(wanted));
  TemplateBuilder absent;
  absent.Value(CKA_ID, {});
  EXPECT_FALSE(set.Matches(absent)) << "an empty value is not an absent one";
}

TEST(Attributes, KeepTemplatesFlatAndMatchThemByContent) {
  TemplateBuilder inside, same, outer, wanted;
  inside.Bool(CKA_SENSITIVE, true);
  same.Bool(CKA_SENSITIVE, true);
  outer.Nested(CKA_WRAP_TEMPLATE, inside);
  const auto set = Attributes::From(outer);
  ASSERT_TRUE(set.ok());
  EXPECT_EQ(*set->Find(CKA_WRAP_TEMPLATE), *EncodeTemplate(inside));
  wanted.Nested(CKA_WRAP_TEMPLATE, same);
  EXPECT_TRUE(set->Matches(wanted));
  TemplateBuilder other;
  other.Nested(CKA_WRAP_TEMPLATE, std::span<const CK_ATTRIBUTE>{});
  EXPECT_FALSE(set->Matches(other));
}

TEST(Attributes, RefuseNullWithALength) {
  EXPECT_FALSE(Attributes::From(std::vector{CK_ATTRIBUTE{CKA_LABEL, nullptr, 3}}).ok());
  EXPECT_TRUE(Attributes::From(std::vector{CK_ATTRIBUTE{CKA_LABEL, nullptr, 0}}).ok());
}

TEST(Attributes, TurnIntoATemplateThatPointsIntoThem) {
  Attributes set;
  set.SetText(CKA_LABEL, "name");
  const auto attributes = set.ToTemplate();
  ASSERT_EQ(attributes.size(), 1u);
  EXPECT_EQ(attributes[0].pValue, set.Find(CKA_LABEL)->data());
  EXPECT_TRUE(set.Matches(attributes));
}

// The flat bytes of a nested template are the caller's: whoever took them for C's form would follow the caller's
// numbers as pointers.
TEST(Attributes, TurnNestedTemplatesIntoPointersOfTheirOwn) {
  TemplateBuilder innermost;
  innermost.Text(CKA_LABEL, "innermost");
  TemplateBuilder inner;
  inner.Bool(CKA_SENSITIVE, true).Nested(CKA_WRAP_TEMPLATE, innermost);
  TemplateBuilder outer;
  outer.Text(CKA_LABEL, "outer").Nested(CKA_UNWRAP_TEMPLATE, inner);
  const auto set = Attributes::From(outer);
  ASSERT_TRUE(set.ok());
  const CTemplate first = set->ToTemplate();
  const CTemplate again = [&] { return set->ToTemplate(); }();
  for (const CTemplate* attributes : {&first, &again}) {
    EXPECT_TRUE(set->Matches(*attributes));
    const auto back = Attributes::From(*attributes);
    ASSERT_TRUE(back.ok());
    EXPECT_TRUE(*back == *set);
  }
  for (const CK_ATTRIBUTE& attribute : first.view()) {
    EXPECT_TRUE(attribute.type != CKA_UNWRAP_TEMPLATE || attribute.ulValueLen == 2 * sizeof(CK_ATTRIBUTE));
  }
}

TEST(Attributes, ANestedTemplateThatIsNoneBecomesEmpty) {
  Attributes set;
  // As long as one CK_ATTRIBUTE of C's, with a pointer to nowhere.
  set.Set(CKA_UNWRAP_TEMPLATE, Bytes(sizeof(CK_ATTRIBUTE), 0x41));
  const CTemplate attributes = set.ToTemplate();
  ASSERT_EQ(attributes.size(), 1u);
  EXPECT_EQ(attributes[0].pValue, nullptr);
  EXPECT_EQ(attributes[0].ulValueLen, 0u);
}

}  // namespace
}  // namespace cmkd::spec

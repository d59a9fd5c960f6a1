// Every row of the attribute table on every kind of object, for every verb, present and absent, with every current and
// asked value, for both roles and both profiles. What must come out is told here by the standard's footnotes alone, in
// words of its own, so that a rule forgotten in the code shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <optional>

#include "tests/spec/sample_objects.h"

namespace cmkd::spec::test {
namespace {

constexpr std::array kMakingVerbs = {Verb::kCreate, Verb::kGenerate, Verb::kUnwrap, Verb::kDerive};
constexpr std::array kChangingVerbs = {Verb::kCopy, Verb::kSet};
constexpr std::array kProfiles = {Profile::kManaged, Profile::kGeneral};

struct Case {
  const AttributeRow& row;
  const Kind& kind;
  Verb verb;
  Profile profile;
  bool so;
  std::optional<bool> asked;    // for booleans; otherwise the sample value is given
  std::optional<bool> current;  // for changes of booleans
};

bool IsMadeBy(const Kind& kind, Verb verb) { return verb == Verb::kCreate || IsKey(kind); }

AttributeRules ForbiddenBy(Verb verb) {
  return verb == Verb::kCreate     ? kForbiddenOnCreate
         : verb == Verb::kGenerate ? kForbiddenOnGenerate
                                   : kForbiddenOnUnwrap;
}

bool IsManagedTrap(const Case& c) {
  if (c.profile != Profile::kManaged || !IsHidden(c.kind)) return false;
  const bool clear_import = c.verb == Verb::kCreate && c.row.type == CKA_TOKEN && *c.asked;
  const bool opened = c.verb == Verb::kUnwrap && c.row.type == CKA_SENSITIVE && !*c.asked;
  return clear_import || opened;
}

// A key for one-time passwords does nothing else.
bool IsOtherUsage(const Case& c) {
  constexpr std::array kOther = {CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE};
  const bool asked = c.asked.value_or(false) && c.kind.object_class == CKO_OTP_KEY;
  return asked && std::find(kOther.begin(), kOther.end(), c.row.type) != kOther.end();
}

CK_RV ExpectedWhenMaking(const Case& c) {
  if (c.row.set_by == SetBy::kToken) return CKR_ATTRIBUTE_READ_ONLY;
  if (HasRule(c.row, ForbiddenBy(c.verb))) return CKR_TEMPLATE_INCONSISTENT;
  if (c.row.type == CKA_TRUSTED && *c.asked && !c.so) return CKR_ATTRIBUTE_READ_ONLY;
  if (c.row.type == CKA_URL) return CKR_TEMPLATE_INCONSISTENT;  // without the hashes that go with it
  return IsManagedTrap(c) || IsOtherUsage(c) ? CKR_TEMPLATE_INCONSISTENT : CKR_OK;
}

bool IsUsageFlag(const AttributeRow& row) {
  constexpr std::array kFlags = {CKA_ENCRYPT, CKA_DECRYPT,        CKA_SIGN,       CKA_SIGN_RECOVER,
                                 CKA_VERIFY,  CKA_VERIFY_RECOVER, CKA_WRAP,       CKA_UNWRAP,
                                 CKA_DERIVE,  CKA_ENCAPSULATE,    CKA_DECAPSULATE};
  return std::find(kFlags.begin(), kFlags.end(), row.type) != kFlags.end();
}

CK_RV ExpectedWhenSetting(const Case& c) {
  if (c.row.type == CKA_MODIFIABLE && c.current == false) return CKR_ACTION_PROHIBITED;
  if (c.row.type == CKA_TRUSTED) return c.so ? CKR_OK : CKR_ATTRIBUTE_READ_ONLY;
  if (!HasRule(c.row, kModifiable)) return CKR_ATTRIBUTE_READ_ONLY;
  if (c.profile == Profile::kManaged && IsUsageFlag(c.row)) return CKR_ATTRIBUTE_READ_ONLY;
  if (c.row.type == CKA_CHECK_VALUE) return CKR_ATTRIBUTE_READ_ONLY;
  if (c.row.type == CKA_PUBLIC_KEY_INFO) return CKR_ATTRIBUTE_VALUE_INVALID;  // the object has none
  if (HasRule(c.row, kLatchesTrue) && c.current == true && c.asked == false) return CKR_ATTRIBUTE_READ_ONLY;
  if (HasRule(c.row, kLatchesFalse) && c.current == false && c.asked == true) return CKR_ATTRIBUTE_READ_ONLY;
  return CKR_OK;
}

CK_RV ExpectedWhenCopying(const Case& c, bool same) {
  if (c.row.type == CKA_COPYABLE && c.current == false) return CKR_ACTION_PROHIBITED;
  if (same) return CKR_OK;
  if (c.row.type == CKA_TRUSTED) return c.so ? CKR_OK : CKR_ATTRIBUTE_READ_ONLY;
  if (!HasRule(c.row, kModifiable | kChangeableOnCopy)) return CKR_ATTRIBUTE_READ_ONLY;
  if (c.row.type == CKA_CHECK_VALUE) return CKR_ATTRIBUTE_READ_ONLY;
  if (c.row.type == CKA_PUBLIC_KEY_INFO) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (HasRule(c.row, kLatchesTrue) && c.current == true) return CKR_ATTRIBUTE_READ_ONLY;
  if (HasRule(c.row, kLatchesFalse) && c.current == false) return CKR_ATTRIBUTE_READ_ONLY;
  if (c.row.type == CKA_PRIVATE && c.current == true) return CKR_TEMPLATE_INCONSISTENT;
  if (c.profile == Profile::kManaged && IsUsageFlag(c.row) && c.asked == true) return CKR_TEMPLATE_INCONSISTENT;
  return CKR_OK;
}

std::string Describe(const Case& c) {
  constexpr std::array kVerbs = {"create", "generate", "unwrap", "derive", "copy", "set"};
  const auto text = [](std::optional<bool> value) { return !value ? "-" : *value ? "true" : "false"; };
  return std::string(kVerbs[static_cast<std::size_t>(c.verb)]) + " " + std::string(c.kind.name) + " " +
         std::string(c.row.name) + (c.profile == Profile::kManaged ? " managed" : " general") +
         (c.so ? " so" : " user") + " asked " + text(c.asked) + " current " + text(c.current);
}

Bytes AskedValue(const Case& c) {
  if (!c.asked) return SampleValue(c.row, c.kind);
  return {static_cast<std::uint8_t>(*c.asked ? 1 : 0)};
}

// Calls `check` for each role, profile and asked value of one row on one kind.
template <class Check>
void ForEachAsked(const AttributeRow& row, const Kind& kind, Verb verb, std::optional<bool> current, Check check) {
  for (const Profile profile : kProfiles) {
    for (const bool so : {false, true}) {
      if (row.kind != AttributeKind::kBool) {
        check(Case{row, kind, verb, profile, so, std::nullopt, current});
        continue;
      }
      for (const bool asked : {false, true}) check(Case{row, kind, verb, profile, so, asked, current});
    }
  }
}

template <class Check>
void ForEachRowOf(const Kind& kind, Check check) {
  for (const AttributeRow& row : AttributeTable()) {
    if (AppliesTo(row, kind.object_class, kind.key_type)) check(row);
  }
}

TEST(EveryAttribute, GivenWhenAnObjectIsMade) {
  int cases = 0;
  for (const Kind& kind : kKinds) {
    for (const Verb verb : kMakingVerbs) {
      if (!IsMadeBy(kind, verb)) continue;
      ForEachRowOf(kind, [&](const AttributeRow& row) {
        ForEachAsked(row, kind, verb, std::nullopt, [&](const Case& c) {
          TemplateBuilder builder;
          AddRequired(builder, kind, verb);
          builder.Remove(row.type);
          builder.Value(row.type, AskedValue(c));
          EXPECT_RV(ExpectedWhenMaking(c), CheckTemplate(ContextOf(kind, verb, c.profile, c.so), builder))
              << Describe(c);
          ++cases;
        });
      });
    }
  }
  EXPECT_GT(cases, 8000);
}

TEST(EveryAttribute, LeftOutWhenAnObjectIsMade) {
  for (const Kind& kind : kKinds) {
    for (const Verb verb : kMakingVerbs) {
      if (!IsMadeBy(kind, verb)) continue;
      ForEachRowOf(kind, [&](const AttributeRow& row) {
        TemplateBuilder builder;
        AddRequired(builder, kind, verb);
        builder.Remove(row.type);
        const CK_RV expected = HasRule(row, RequiredBy(verb)) ? CKR_TEMPLATE_INCOMPLETE : CKR_OK;
        EXPECT_RV(expected, CheckTemplate(ContextOf(kind, verb), builder)) << kind.name << " " << row.name;
      });
    }
  }
}

// Objects whose current value of the row is `current`, or the sample object when the row is no boolean.
Attributes CurrentObject(const AttributeRow& row, const Kind& kind, std::optional<bool> current) {
  Attributes object = SampleObject(kind);
  if (current) object.SetBool(row.type, *current);
  return object;
}

template <class Check>
void ForEachChange(Verb verb, Check check) {
  for (const Kind& kind : kKinds) {
    ForEachRowOf(kind, [&](const AttributeRow& row) {
      std::vector<std::optional<bool>> currents = {std::nullopt};
      if (row.kind == AttributeKind::kBool) currents = {false, true};
      for (const std::optional<bool> current : currents) ForEachAsked(row, kind, verb, current, check);
    });
  }
}

// CKA_ALWAYS_AUTHENTICATE without CKA_PRIVATE and a trusted certificate are pairs of attributes; they have tests of
// their own.
bool IsOfTwoAttributes(const Case& c) {
  return c.kind.object_class == CKO_CERTIFICATE && c.row.type == CKA_TRUSTED && c.current == true;
}

TEST(EveryAttribute, ChangedInPlaceOrInACopy) {
  int cases = 0;
  for (const Verb verb : kChangingVerbs) {
    ForEachChange(verb, [&](const Case& c) {
      if (IsOfTwoAttributes(c)) return;
      const Attributes object = CurrentObject(c.row, c.kind, c.current);
      TemplateBuilder builder;
      builder.Value(c.row.type, AskedValue(c));
      TemplateContext context = ContextOf(c.kind, c.verb, c.profile, c.so);
      context.current = &object;
      const bool same = object.Matches(builder);
      const CK_RV expected = c.verb == Verb::kSet ? ExpectedWhenSetting(c) : ExpectedWhenCopying(c, same);
      EXPECT_RV(expected, CheckTemplate(context, builder)) << Describe(c);
      ++cases;
    });
  }
  EXPECT_GT(cases, 7000);
}

TEST(EveryAttribute, OfAnotherKindOfObjectIsRefused) {
  for (const Kind& kind : kKinds) {
    for (const AttributeRow& row : AttributeTable()) {
      if (FindAttribute(row.type, kind.object_class, kind.key_type) != nullptr) continue;
      TemplateBuilder builder;
      AddRequired(builder, kind, Verb::kCreate);
      builder.Value(row.type, SampleValue(row, kind));
      EXPECT_RV(kForeignAttribute, CheckTemplate(ContextOf(kind, Verb::kCreate), builder))
          << kind.name << " " << row.name;
    }
  }
}

TEST(EveryAttribute, OfAWrongSizeIsRefused) {
  for (const Kind& kind : kKinds) {
    ForEachRowOf(kind, [&](const AttributeRow& row) {
      const bool sized = row.kind != AttributeKind::kBytes && row.kind != AttributeKind::kText &&
                         row.kind != AttributeKind::kBigInteger;
      for (const std::size_t bytes : {1u, 2u, 4u, 7u, 9u, 255u}) {
        const bool right = !sized || (row.kind == AttributeKind::kBool && bytes == 1);
        if (right) continue;
        TemplateBuilder builder;
        AddRequired(builder, kind, Verb::kCreate);
        builder.Remove(row.type);
        builder.Value(row.type, Bytes(bytes));
        EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate(ContextOf(kind, Verb::kCreate), builder))
            << kind.name << " " << row.name << " " << bytes;
      }
      TemplateBuilder null;
      AddRequired(null, kind, Verb::kCreate);
      null.Remove(row.type);
      null.Raw({row.type, nullptr, 8});
      EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate(ContextOf(kind, Verb::kCreate), null))
          << kind.name << " " << row.name;
    });
  }
}

TEST(EveryBoolean, IsZeroOrOne) {
  for (const Kind& kind : kKinds) {
    ForEachRowOf(kind, [&](const AttributeRow& row) {
      if (row.kind != AttributeKind::kBool) return;
      for (const std::uint8_t value : {std::uint8_t{2}, std::uint8_t{255}}) {
        TemplateBuilder builder;
        AddRequired(builder, kind, Verb::kCreate);
        builder.Value(row.type, {&value, 1});
        EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CheckTemplate(ContextOf(kind, Verb::kCreate), builder)) << row.name;
      }
    });
  }
}

// What a checked template turns into: an object that has each of its attributes, and none of another kind.
TEST(EveryObject, HasAllDefaultsOfItsKindAndNothingForeign) {
  for (const Kind& kind : kKinds) {
    for (const Verb verb : kMakingVerbs) {
      if (!IsMadeBy(kind, verb)) continue;
      TemplateBuilder builder;
      AddRequired(builder, kind, verb);
      const Attributes object = Complete(ContextOf(kind, verb), builder, CKM_AES_KEY_GEN);
      for (const Attribute& attribute : object) {
        EXPECT_NE(FindAttribute(attribute.type, kind.object_class, kind.key_type), nullptr)
            << kind.name << " " << attribute.type;
      }
      ForEachRowOf(kind, [&](const AttributeRow& row) {
        const bool always =
            row.initial != Default::kAbsent && row.initial != Default::kComputed && row.type != CKA_PUBLIC_EXPONENT;
        if (always) {
          EXPECT_TRUE(object.Has(row.type)) << kind.name << " " << row.name;
        }
        if (row.kind == AttributeKind::kBool && object.Has(row.type)) {
          EXPECT_EQ(object.Find(row.type)->size(), 1u) << row.name;
        }
      });
    }
  }
}

TEST(EveryObject, ThatIsCompleteIsUnchangedByAnEmptyCopyOrSet) {
  for (const Kind& kind : kKinds) {
    const Attributes object = SampleObject(kind);
    for (const Verb verb : kChangingVerbs) {
      TemplateContext context = ContextOf(kind, verb);
      context.current = &object;
      EXPECT_RV(CKR_OK, CheckTemplate(context, {})) << kind.name;
      EXPECT_EQ(Complete(context, {}), object) << kind.name;
    }
  }
}

TEST(EverySecretPart, IsShownOnlyByKeysThatAreNeitherSensitiveNorUnextractable) {
  for (const Kind& kind : kKinds) {
    for (const bool sensitive : {false, true}) {
      for (const bool extractable : {false, true}) {
        Attributes object = SampleObject(kind);
        if (IsHidden(kind)) {
          object.SetBool(CKA_SENSITIVE, sensitive);
          object.SetBool(CKA_EXTRACTABLE, extractable);
        }
        ForEachRowOf(kind, [&](const AttributeRow& row) {
          const bool hidden = HasRule(row, kHiddenWhenSensitive) && (sensitive || !extractable);
          EXPECT_EQ(MayReveal(object, row.type), !hidden) << kind.name << " " << row.name;
        });
      }
    }
  }
}

// All 2^8 combinations of a managed key's usages: only those within one group pass.
TEST(EveryCombinationOfUsages, OfAManagedKeyIsOneGroup) {
  constexpr std::array<std::pair<CK_ATTRIBUTE_TYPE, int>, 7> kFlags = {{{CKA_ENCRYPT, 0},
                                                                        {CKA_DECRYPT, 0},
                                                                        {CKA_SIGN, 1},
                                                                        {CKA_VERIFY, 1},
                                                                        {CKA_WRAP, 2},
                                                                        {CKA_UNWRAP, 2},
                                                                        {CKA_DERIVE, 3}}};
  for (unsigned mask = 0; mask < 1u << kFlags.size(); ++mask) {
    TemplateBuilder builder;
    builder.Ulong(CKA_VALUE_LEN, 32);
    std::array<bool, 4> groups{};
    for (std::size_t i = 0; i < kFlags.size(); ++i) {
      const bool on = (mask >> i & 1) != 0;
      builder.Bool(kFlags[i].first, on);
      groups[static_cast<std::size_t>(kFlags[i].second)] |= on;
    }
    const Attributes key =
        Complete(ContextOf(kKinds[10], Verb::kGenerate, Profile::kManaged), builder, CKM_AES_KEY_GEN);
    const auto count = std::count(groups.begin(), groups.end(), true);
    EXPECT_RV(count <= 1 ? CKR_OK : CKR_TEMPLATE_INCONSISTENT, CheckSeparation(Profile::kManaged, key)) << mask;
    EXPECT_RV(CKR_OK, CheckSeparation(Profile::kGeneral, key)) << mask;
  }
}

}  // namespace
}  // namespace cmkd::spec::test

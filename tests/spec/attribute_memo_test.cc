// NewAttributes gives what CheckTemplate and Complete give, also when it was asked before, and asked the like.
#include <gtest/gtest.h>

#include <vector>

#include "pkcs11/spec/attribute_rules.h"
#include "tests/spec/sample_objects.h"

namespace cmkd::spec::test {
namespace {

constexpr Kind kAes{CKO_SECRET_KEY, CKK_AES, "AES"};

// What must come out, by the two rules alone.
void ExpectTheRules(const TemplateContext& context, std::span<const CK_ATTRIBUTE> given, CK_MECHANISM_TYPE mechanism) {
  const Status checked = CheckTemplate(context, given);
  const Fallible<Attributes> made = NewAttributes(context, given, mechanism);
  ASSERT_EQ(made.ok(), checked.ok());
  if (!checked.ok()) {
    EXPECT_EQ(made.error().rv, checked.error().rv);
    return;
  }
  EXPECT_TRUE(*made == Complete(context, given, mechanism));
}

TEST(NewAttributes, EveryKindAndVerbTwice) {
  for (const Kind& kind : kKinds) {
    for (const Verb verb : {Verb::kCreate, Verb::kGenerate, Verb::kUnwrap, Verb::kDerive}) {
      TemplateBuilder given;
      AddRequired(given, kind, verb);
      for (int time = 0; time < 2; ++time) {
        SCOPED_TRACE(std::string(kind.name) + " " + std::to_string(static_cast<int>(verb)));
        ExpectTheRules(ContextOf(kind, verb), given, CKM_AES_KEY_GEN);
      }
    }
  }
}

// The same template means another object where anything beside it differs.
TEST(NewAttributes, NothingIsMistakenForAnother) {
  TemplateBuilder given;
  AddRequired(given, kAes, Verb::kGenerate);
  const Attributes secrecy = Complete(ContextOf(kAes, Verb::kGenerate), given, CKM_AES_KEY_GEN);
  std::vector<TemplateContext> contexts;
  for (const Verb verb : {Verb::kGenerate, Verb::kUnwrap, Verb::kDerive}) {
    for (const Profile profile : {Profile::kGeneral, Profile::kManaged}) {
      for (const bool so : {false, true}) contexts.push_back(ContextOf(kAes, verb, profile, so));
    }
  }
  contexts.push_back(ContextOf({CKO_SECRET_KEY, CKK_GENERIC_SECRET, "generic"}, Verb::kGenerate));
  contexts.push_back(ContextOf(kAes, Verb::kDerive));
  contexts.back().current = &secrecy;
  contexts.back().inherits_secrecy = true;
  for (const TemplateContext& first : contexts) {
    for (const TemplateContext& second : contexts) {
      for (const CK_MECHANISM_TYPE mechanism : {CKM_AES_KEY_GEN, CKM_AES_XTS_KEY_GEN}) {
        ExpectTheRules(first, given, CKM_AES_KEY_GEN);
        ExpectTheRules(second, given, mechanism);
      }
    }
  }
}

TEST(NewAttributes, EveryByteOfATemplateCounts) {
  for (const bool sensitive : {true, false, true, false}) {
    for (const CK_ULONG bytes : {16u, 24u, 32u, 33u}) {
      for (const std::string_view label : {"", "a", "b", "a longer label than what an attribute keeps within itself"}) {
        TemplateBuilder given;
        given.Ulong(CKA_VALUE_LEN, bytes).Bool(CKA_SENSITIVE, sensitive).Text(CKA_LABEL, label);
        ExpectTheRules(ContextOf(kAes, Verb::kGenerate), given, CKM_AES_KEY_GEN);
      }
    }
  }
}

// What is too long to be remembered is judged each time.
TEST(NewAttributes, LongTemplates) {
  for (const std::size_t size : {400u, 500u, 600u, 5000u}) {
    TemplateBuilder given;
    given.Ulong(CKA_VALUE_LEN, 32).Text(CKA_LABEL, std::string(size, 'x'));
    for (int time = 0; time < 2; ++time) ExpectTheRules(ContextOf(kAes, Verb::kGenerate), given, CKM_AES_KEY_GEN);
  }
}

}  // namespace
}  // namespace cmkd::spec::test

// The power-on self-tests themselves: they cover every recipe, and a wrong answer is noticed.
#include "firmware_sim/self_test.h"

#include <gtest/gtest.h>

#include <set>

#include "firmware_sim/engine.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;

TEST(SelfTest, EveryRecipeThatComputesHasAKnownAnswer) {
  std::set<Recipe> covered = {Recipe::kKeyGen, Recipe::kRsaKeyPairGen, Recipe::kEcKeyPairGen,
                              Recipe::kEdwardsKeyPairGen,
                              Recipe::kMontgomeryKeyPairGen};  // random; pairs are checked one by one
  // Modes of a block cipher, and constructions over HMAC, CMAC, OAEP, KWP and ECDH, each of which has an answer; their
  // own answers are in second_source_test.cc, derivation_test.cc, envelope_test.cc
  // and sm2_test.cc.
  covered.insert({Recipe::kOfb,
                  Recipe::kCfb1,
                  Recipe::kCfb8,
                  Recipe::kCfb64,
                  Recipe::kCfb128,
                  Recipe::kCts,
                  Recipe::kAesKwPkcs7,
                  Recipe::kHkdf,
                  Recipe::kSp800Counter,
                  Recipe::kSp800Feedback,
                  Recipe::kSp800DoublePipeline,
                  Recipe::kPbkdf2,
                  Recipe::kTlsMaster,
                  Recipe::kTlsExtendedMaster,
                  Recipe::kTlsKdf,
                  Recipe::kTlsMac,
                  Recipe::kRsaAesWrap,
                  Recipe::kEcdhAesWrap,
                  Recipe::kSm2Sign,
                  Recipe::kSm2Encrypt});
  for (const KnownAnswer& answer : KnownAnswers()) covered.insert(spec::FindMechanism(answer.mechanism)->recipe);
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    if (row.standing == spec::Standing::kApproved && !spec::IsMadeHere(row)) {
      EXPECT_TRUE(covered.contains(row.recipe)) << row.name;
    }
  }
}

TEST(SelfTest, Passes) { EXPECT_TRUE(RunSelfTests().ok()); }

TEST(SelfTest, AnyWrongAnswerFails) {
  for (KnownAnswer answer : KnownAnswers()) {
    Bytes wrong = ToBytes(answer.output);
    wrong[wrong.size() / 2] ^= 1;
    answer.output = wrong;
    const Status result = RunSelfTests({&answer, 1});
    ASSERT_FALSE(result.ok()) << spec::FindMechanism(answer.mechanism)->name;
    EXPECT_EQ(result.error().rv, CKR_FIPS_SELF_TEST_FAILED);
  }
}

TEST(SelfTest, HalvesOfDifferentPairsDoNotPass) {
  for (const char* name : {"P-256", "Ed25519", "X25519"}) {
    const spec::Curve& curve = *spec::FindCurveByName(name);
    const KeyPtr one = *Key::Private(std::move(*GenerateOnCurve(curve)));
    const KeyPtr two = *Key::Private(std::move(*GenerateOnCurve(curve)));
    EXPECT_TRUE(CheckPair(**Key::Public(one->PublicInfo()), *one).ok()) << name;
    EXPECT_FALSE(CheckPair(**Key::Public(two->PublicInfo()), *one).ok()) << name;
  }
}

}  // namespace
}  // namespace cmkd::sim

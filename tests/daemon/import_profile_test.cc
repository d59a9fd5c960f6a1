// What each crypto profile takes as imported material.
#include <gtest/gtest.h>

#include "daemon/custody/importer.h"

namespace cmkd::daemon {
namespace {

bool Takes(CryptoProfile profile, std::string_view spec) { return CheckImportable(profile, *FindKeySpec(spec)).ok(); }

TEST(CryptoProfile, SaysWhatMayBeImported) {
  struct Row {
    std::string_view spec;
    bool any, aes, sm;
  };
  constexpr Row kRows[] = {
      {"AES-256", true, true, false},   {"AES-192", true, false, false},   {"AES-128", true, false, false},
      {"SM4", true, false, true},       {"HMAC-256", false, false, false}, {"RSA-2048", false, false, false},
      {"EC-P256", false, false, false}, {"ED25519", false, false, false},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(Takes(CryptoProfile::kAny, row.spec), row.any) << row.spec;
    EXPECT_EQ(Takes(CryptoProfile::kAes, row.spec), row.aes) << row.spec;
    EXPECT_EQ(Takes(CryptoProfile::kSm, row.spec), row.sm) << row.spec;
  }
}

TEST(CryptoProfile, RefusesWithTheReasonOfALengthThatDoesNotFit) {
  const Status refused = CheckImportable(CryptoProfile::kSm, *FindKeySpec("AES-256"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().detail, static_cast<CK_ULONG>(cmk::Refusal::kMaterialLength));
}

TEST(DayOf, IsTheDayInUtc) {
  EXPECT_EQ(DayOf(Timestamp{0}), "19700101");
  EXPECT_EQ(DayOf(Timestamp{1798761599}), "20261231");
}

}  // namespace
}  // namespace cmkd::daemon

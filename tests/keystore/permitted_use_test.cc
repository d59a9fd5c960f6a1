// What a key may be used for: every key state with every version state and every use, around both validity dates.
#include "keystore/cmk/permitted_use.h"

#include <gtest/gtest.h>

#include "keystore/cmk/state.h"

namespace cmkd::cmk {
namespace {

constexpr Timestamp kDay0{1'800'000'000};

TEST(PermittedUse, IsYesInExactlyTheseCells) {
  int protect = 0, process = 0, describe = 0, cells = 0;
  for (const CmkStateRow& state : CmkStates())
    for (const VersionStateRow& version : VersionStates()) {
      Cmk cmk;
      cmk.state = state.state;
      const bool enabled = state.state == CmkState::kEnabled;
      const bool archived = state.state == CmkState::kArchived;
      const bool current = version.state == VersionState::kCurrent;
      const bool retired = version.state == VersionState::kRetired;
      const bool hidden = state.state == CmkState::kPendingDeletion || state.state == CmkState::kDestroyed;
      EXPECT_EQ(CheckUse(cmk, version.state, Use::kProtect, kDay0).ok(), enabled && current);
      EXPECT_EQ(CheckUse(cmk, version.state, Use::kProcess, kDay0).ok(), (enabled || archived) && (current || retired));
      EXPECT_EQ(CheckUse(cmk, version.state, Use::kDescribe, kDay0).ok(), !hidden);
      protect += CheckUse(cmk, version.state, Use::kProtect, kDay0).ok();
      process += CheckUse(cmk, version.state, Use::kProcess, kDay0).ok();
      describe += CheckUse(cmk, version.state, Use::kDescribe, kDay0).ok();
      ++cells;
    }
  EXPECT_EQ(cells, 42);
  EXPECT_EQ(protect, 1);
  EXPECT_EQ(process, 4);
  EXPECT_EQ(describe, 30);
}

TEST(PermittedUse, NamesTheStateThatRefuses) {
  Cmk cmk;
  const auto refusal = [&](CmkState state, VersionState version, Use use) {
    cmk.state = state;
    return CheckUse(cmk, version, use, kDay0).error();
  };
  EXPECT_EQ(refusal(CmkState::kDisabled, VersionState::kCurrent, Use::kProcess), Refusal::kKeyDisabled);
  EXPECT_EQ(refusal(CmkState::kArchived, VersionState::kCurrent, Use::kProtect), Refusal::kKeyArchived);
  EXPECT_EQ(refusal(CmkState::kPendingDeletion, VersionState::kCurrent, Use::kProcess), Refusal::kKeyPendingDeletion);
  EXPECT_EQ(refusal(CmkState::kEnabled, VersionState::kRetired, Use::kProtect), Refusal::kVersionRetired);
  EXPECT_EQ(refusal(CmkState::kEnabled, VersionState::kBlocked, Use::kProcess), Refusal::kVersionBlocked);
  EXPECT_EQ(refusal(CmkState::kEnabled, VersionState::kCompromised, Use::kProcess), Refusal::kVersionCompromised);
  EXPECT_EQ(refusal(CmkState::kDisabled, VersionState::kDestroyed, Use::kProcess), Refusal::kKeyDisabled)
      << "the key's state is named before the version's";
  EXPECT_TRUE(RaisesAlarm(Refusal::kKeyPendingDeletion));
  EXPECT_FALSE(RaisesAlarm(Refusal::kKeyDisabled));
}

TEST(PermittedUse, BeginsInTheSecondOfTheActivationDate) {
  for (const CmkState state : {CmkState::kPreActive, CmkState::kEnabled}) {
    Cmk cmk;
    cmk.state = state;
    cmk.dates.activation = kDay0;
    for (const Use use : {Use::kProtect, Use::kProcess}) {
      EXPECT_EQ(CheckUse(cmk, VersionState::kCurrent, use, kDay0 - Seconds(1)).error(), Refusal::kKeyPreActive);
      EXPECT_TRUE(CheckUse(cmk, VersionState::kCurrent, use, kDay0).ok());
      EXPECT_TRUE(CheckUse(cmk, VersionState::kCurrent, use, kDay0 + Seconds(1)).ok());
    }
    EXPECT_TRUE(CheckUse(cmk, VersionState::kCurrent, Use::kDescribe, kDay0 - Seconds(1)).ok());
  }
}

TEST(PermittedUse, ExpiryEndsProtectingAndNotProcessing) {
  Cmk cmk;
  cmk.state = CmkState::kEnabled;
  cmk.dates.expiry = kDay0;
  EXPECT_TRUE(CheckUse(cmk, VersionState::kCurrent, Use::kProtect, kDay0 - Seconds(1)).ok());
  EXPECT_EQ(CheckUse(cmk, VersionState::kCurrent, Use::kProtect, kDay0).error(), Refusal::kKeyExpired);
  EXPECT_EQ(CheckUse(cmk, VersionState::kCurrent, Use::kProtect, kDay0 + Seconds(1)).error(), Refusal::kKeyExpired);
  EXPECT_TRUE(CheckUse(cmk, VersionState::kCurrent, Use::kProcess, kDay0).ok());
}

TEST(PermittedUse, ReachingADateNeverRevivesAKeyThatWasStopped) {
  for (const CmkState state : {CmkState::kDisabled, CmkState::kPendingDeletion, CmkState::kDestroyed}) {
    Cmk cmk;
    cmk.state = state;
    cmk.dates.activation = kDay0;
    EXPECT_FALSE(CheckUse(cmk, VersionState::kCurrent, Use::kProcess, kDay0 + Days(1)).ok());
  }
}

TEST(States, NamesAndNumbersFindEachOther) {
  for (const CmkStateRow& row : CmkStates()) {
    EXPECT_EQ(CmkStateFromName(Name(row.state)), row.state);
    EXPECT_EQ(CmkStateFromNumber(static_cast<std::uint64_t>(row.state)), row.state);
  }
  EXPECT_EQ(CmkStateFromName("enabled"), std::nullopt);
  EXPECT_EQ(CmkStateFromNumber(0), std::nullopt);
  EXPECT_EQ(CmkStateFromNumber(8), std::nullopt);
  EXPECT_EQ(VersionStateFromNumber(7), std::nullopt);
  EXPECT_EQ(Name(static_cast<CmkState>(99)), "invalid");
  EXPECT_EQ(Name(Refusal::kNone), "NONE");
}

TEST(States, EveryRefusalSaysStateRuleAndRemedy) {
  for (const RefusalRow& row : Refusals()) {
    EXPECT_EQ(RefusalFromNumber(static_cast<std::uint64_t>(row.refusal)), row.refusal);
    for (const std::string_view part : {row.state, row.rule, row.remedy}) {
      ASSERT_FALSE(part.empty());
      EXPECT_EQ(part.back(), '.') << row.name;
    }
    EXPECT_NE(Explain(row.refusal).find(row.rule), std::string::npos);
  }
}

TEST(Ids, TextAndBytesFindEachOther) {
  const auto id = CmkId::FromHex("00112233445566778899aabbccddEEff");
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->ToHex(), "00112233445566778899aabbccddeeff");
  EXPECT_EQ(CmkId::FromBytes(id->view()), id);
  EXPECT_FALSE(CmkId::FromHex("00112233445566778899aabbccddeef").has_value());
  EXPECT_FALSE(CmkId::FromHex("00112233445566778899aabbccddeefg").has_value());
  EXPECT_FALSE(CmkId::FromBytes(id->view().first(15)).has_value());
  EXPECT_TRUE(CmkId{}.IsZero());
  EXPECT_LT(CmkId{}, *id);
}

}  // namespace
}  // namespace cmkd::cmk

// Events on versions by exhaustion: every version state with every event, and every sequence of them on a small key.
#include <gtest/gtest.h>

#include "keystore/cmk/lifecycle.h"
#include "keystore/cmk/permitted_use.h"
#include "keystore/cmk/usage.h"
#include "keystore/cmk/version_table.h"

namespace cmkd::cmk {
namespace {

constexpr Timestamp kDay0{1'800'000'000};
constexpr Duration kQuiet = Days(30);

// Three versions, the last one current.
Cmk SomeKey() {
  Cmk cmk;
  for (std::uint32_t number = 1; number <= 3; ++number) {
    KeyVersion version;
    version.number = {number};
    version.created = kDay0 - Days(90);
    version.material = {Material::Kind::kWrapped, 1, {static_cast<std::uint8_t>(number)}, {}};
    version.state = number == 3 ? VersionState::kCurrent : VersionState::kRetired;
    cmk.versions.push_back(version);
  }
  cmk.current = {3};
  return cmk;
}

TEST(VersionLifecycle, EveryCellDoesWhatTheTableSays) {
  int allowed = 0;
  for (const VersionStateRow& state : VersionStates())
    for (const VersionEventRow& event : VersionEvents()) {
      Cmk cmk = SomeKey();
      const KeyVersionNumber number{state.state == VersionState::kCurrent ? 3u : 1u};
      cmk.FindVersion(number)->state = state.state;
      const VersionRow* row = FindVersionTransition(state.state, event.event);
      ASSERT_NE(row, nullptr);
      const auto changed = ChangeVersion(cmk, number, event.event, kDay0, kQuiet);
      ASSERT_EQ(changed.ok(), row->refusal == Refusal::kNone) << state.name << " + " << event.name;
      if (!changed.ok()) {
        EXPECT_EQ(changed.error(), row->refusal);
        continue;
      }
      ++allowed;
      EXPECT_EQ(changed->FindVersion(number)->state, row->next);
      int current = 0;
      for (const KeyVersion& version : changed->versions) current += version.state == VersionState::kCurrent;
      EXPECT_EQ(current, 1);
      EXPECT_EQ(changed->CurrentVersion()->state, VersionState::kCurrent);
    }
  EXPECT_EQ(allowed, 11);
}

void Walk(const Cmk& cmk, int depth, std::uint64_t& sequences) {
  ++sequences;
  int current = 0;
  for (const KeyVersion& version : cmk.versions) current += version.state == VersionState::kCurrent;
  ASSERT_EQ(current, 1) << "there is always one version that protects";
  ASSERT_EQ(cmk.CurrentVersion()->state, VersionState::kCurrent);
  if (depth == 0) return;
  for (const KeyVersion& version : cmk.versions)
    for (const VersionEventRow& event : VersionEvents()) {
      const auto changed = ChangeVersion(cmk, version.number, event.event, kDay0, kQuiet);
      if (!changed.ok()) continue;
      const VersionState after = changed->FindVersion(version.number)->state;
      if (version.state == VersionState::kDestroyed) FAIL() << "destroyed is final";
      ASSERT_TRUE(version.state != VersionState::kCompromised || after == VersionState::kCompromised ||
                  after == VersionState::kDestroyed);
      ASSERT_NO_FATAL_FAILURE(Walk(*changed, depth - 1, sequences));
    }
}

TEST(VersionLifecycle, EverySequenceToLengthSixKeepsOneCurrentVersion) {
  std::uint64_t sequences = 0;
  Walk(SomeKey(), 6, sequences);
  EXPECT_GT(sequences, 10'000u);
}

TEST(VersionLifecycle, AVersionInUseIsNotDestroyed) {
  Cmk cmk = SomeKey();
  cmk.versions[0].last_used = kDay0 - kQuiet + Seconds(1);
  EXPECT_EQ(ChangeVersion(cmk, {1}, VersionEvent::kDestroy, kDay0, kQuiet).error(), Refusal::kVersionInUse);
  const auto destroyed = ChangeVersion(cmk, {1}, VersionEvent::kDestroy, kDay0 + Seconds(1), kQuiet);
  ASSERT_TRUE(destroyed.ok());
  // The material stays until the HSM has been told; the scheduler finds it.
  EXPECT_EQ(CondemnedMaterial(*destroyed).size(), 1u);
  EXPECT_EQ(NextDue(*destroyed), kDay0 + Seconds(1));
  const Cmk gone = ForgetDestroyed(*destroyed);
  EXPECT_TRUE(CondemnedMaterial(gone).empty());
  EXPECT_EQ(NextDue(gone), std::nullopt);
}

TEST(VersionLifecycle, KeysThatWaitOrAreGoneAreLeftAlone) {
  Cmk cmk = SomeKey();
  for (const auto& [state, refusal] : {std::pair(CmkState::kPendingDeletion, Refusal::kKeyPendingDeletion),
                                       std::pair(CmkState::kDestroyed, Refusal::kKeyDestroyed),
                                       std::pair(CmkState::kPendingImport, Refusal::kKeyPendingImport)}) {
    cmk.state = state;
    EXPECT_EQ(ChangeVersion(cmk, {1}, VersionEvent::kBlock, kDay0, kQuiet).error(), refusal);
  }
  cmk.state = CmkState::kEnabled;
  EXPECT_EQ(ChangeVersion(cmk, {9}, VersionEvent::kBlock, kDay0, kQuiet).error(), Refusal::kNoSuchVersion);
}

TEST(VersionLifecycle, MovingBackRetiresTheNewerVersion) {
  const auto back = ChangeVersion(SomeKey(), {1}, VersionEvent::kMakeCurrent, kDay0, kQuiet);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->current, KeyVersionNumber{1});
  EXPECT_EQ(back->versions[2].state, VersionState::kRetired);
  EXPECT_EQ(back->versions[2].retired_at, kDay0);
}

TEST(VersionDates, RetiredVersionsSignThroughAnOverlap) {
  Cmk cmk = SomeKey();
  KeyVersion& old = cmk.versions[0];
  EXPECT_EQ(CheckUse(cmk, old, Use::kProtect, kDay0).error(), Refusal::kVersionRetired);
  old.protects_until = kDay0 + Days(30);
  EXPECT_TRUE(CheckUse(cmk, old, Use::kProtect, kDay0).ok());
  EXPECT_EQ(CheckUse(cmk, old, Use::kProtect, kDay0 + Days(30)).error(), Refusal::kVersionRetired);
  EXPECT_TRUE(CheckUse(cmk, old, Use::kProcess, kDay0 + Days(30)).ok());
}

TEST(VersionDates, ExpiredMaterialIsNotUsedAndCompromisedOnlyByPolicy) {
  Cmk cmk = SomeKey();
  cmk.versions[2].expires = kDay0;
  EXPECT_TRUE(CheckUse(cmk, cmk.versions[2], Use::kProtect, kDay0 - Seconds(1)).ok());
  EXPECT_EQ(CheckUse(cmk, cmk.versions[2], Use::kProcess, kDay0).error(), Refusal::kVersionPendingImport);
  cmk.versions[1].state = VersionState::kCompromised;
  EXPECT_EQ(CheckUse(cmk, cmk.versions[1], Use::kProcess, kDay0).error(), Refusal::kVersionCompromised);
  cmk.processes_compromised = true;
  EXPECT_TRUE(CheckUse(cmk, cmk.versions[1], Use::kProcess, kDay0).ok());
  EXPECT_FALSE(CheckUse(cmk, cmk.versions[1], Use::kProtect, kDay0).ok());
}

TEST(Usage, AlarmsRotatesAndStopsBeforeTheLimit) {
  const std::uint64_t limit = EffectiveLimit(0, true);
  EXPECT_EQ(limit, std::uint64_t{1} << 32);
  EXPECT_EQ(CheckUsage((limit >> 1) - 1, limit), UsageVerdict::kFine);
  EXPECT_EQ(CheckUsage(limit >> 1, limit), UsageVerdict::kAlarm);
  EXPECT_EQ(CheckUsage(3'037'000'499, limit), UsageVerdict::kRotate) << "2^31.5";
  EXPECT_EQ(CheckUsage(limit - 1, limit), UsageVerdict::kRotate);
  EXPECT_EQ(CheckUsage(limit, limit), UsageVerdict::kStop);
  EXPECT_EQ(CheckUsage(~std::uint64_t{0}, 0), UsageVerdict::kFine);
  EXPECT_EQ(EffectiveLimit(10, true), 10u);
  EXPECT_EQ(EffectiveLimit(10, false), 10u);
  EXPECT_EQ(EffectiveLimit(0, false), 0u);
  for (const std::uint64_t each : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{10}, limit})
    EXPECT_LE(BlockFor(each, each), each);
}

}  // namespace
}  // namespace cmkd::cmk

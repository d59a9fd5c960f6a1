// The lifecycle by exhaustion: every cell at, before and after its date, and every sequence of events to length six.
// docs/lifecycle.md has the tables as Markdown; with CMKD_PRINT_TABLES set to a file's path, they are written there.
#include "keystore/cmk/lifecycle.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <tuple>

#include "keystore/cmk/brown_out.h"
#include "keystore/cmk/permitted_use.h"
#include "keystore/cmk/transition_table.h"
#include "keystore/cmk/version_table.h"

namespace cmkd::cmk {
namespace {

constexpr Timestamp kDay0{1'800'000'000};
constexpr const Bounds& kDefaults = BoundsOf(BoundsProfile::kDefault);

// The boundary instants, at compile time.
constexpr Facts Due(std::int64_t offset) {
  Facts facts;
  facts.now = kDay0 + Seconds(offset);
  facts.dates.activation = kDay0;
  facts.dates.deletion_date = kDay0;
  facts.dates.next_rotation = kDay0;
  facts.window = Days(30);
  return facts;
}
static_assert(FindTransition(CmkState::kPendingDeletion, CmkEvent::kTick, Due(-1))->effect == Effect::kWarn);
static_assert(FindTransition(CmkState::kPendingDeletion, CmkEvent::kTick, Due(-3 * 86400))->effect == Effect::kWarn);
static_assert(FindTransition(CmkState::kPendingDeletion, CmkEvent::kTick, Due(-3 * 86400 - 1))->refusal ==
              Refusal::kNothingDue);
static_assert(FindTransition(CmkState::kPendingDeletion, CmkEvent::kTick, Due(0))->effect == Effect::kDestroyMaterial);
static_assert(FindTransition(CmkState::kPendingDeletion, CmkEvent::kTick, Due(1))->effect == Effect::kDestroyMaterial);
static_assert(FindTransition(CmkState::kPreActive, CmkEvent::kTick, Due(-1))->refusal == Refusal::kNothingDue);
static_assert(FindTransition(CmkState::kPreActive, CmkEvent::kTick, Due(0))->next == CmkState::kEnabled);
static_assert(FindTransition(CmkState::kEnabled, CmkEvent::kTick, Due(-1))->refusal == Refusal::kNothingDue);
static_assert(FindTransition(CmkState::kEnabled, CmkEvent::kTick, Due(0))->effect == Effect::kNewVersion);
static_assert(FindTransition(CmkState::kPendingImport, CmkEvent::kMaterialReady, Due(-1))->next ==
              CmkState::kPreActive);
static_assert(FindTransition(CmkState::kPendingImport, CmkEvent::kMaterialReady, Due(0))->next == CmkState::kEnabled);
static_assert(kDefaults.window_min == Days(7) && kDefaults.window_max == Days(366) &&
              kDefaults.window_default == Days(30));

Material SomeMaterial() { return {Material::Kind::kWrapped, 1, {1, 2, 3}, {}}; }

// A key as it would be in `state`, with its date (whichever the state has) at kDay0.
Cmk KeyIn(CmkState state) {
  Cmk cmk;
  cmk.state = state;
  cmk.rotatable = true;
  cmk.created = kDay0 - Days(100);
  const bool without = state == CmkState::kPendingImport || state == CmkState::kDestroyed;
  KeyVersion version;
  version.number = {1};
  version.state = state == CmkState::kPendingImport ? VersionState::kPendingImport
                  : state == CmkState::kDestroyed   ? VersionState::kDestroyed
                                                    : VersionState::kCurrent;
  version.created = cmk.created;
  if (!without) version.material = SomeMaterial();
  cmk.versions.push_back(version);
  if (!without) cmk.current = {1};
  if (state == CmkState::kPreActive) cmk.dates.activation = kDay0;
  if (state == CmkState::kEnabled || state == CmkState::kDisabled || state == CmkState::kArchived) {
    cmk.rotation_period = Days(10);
    cmk.dates.next_rotation = kDay0;
  }
  if (state == CmkState::kPendingDeletion) {
    cmk.dates.deletion_scheduled_at = kDay0 - Days(30);
    cmk.dates.deletion_date = kDay0;
    cmk.state_before_deletion = CmkState::kEnabled;
  }
  return cmk;
}

// The event, with what it needs beside it.
Request Asked(CmkEvent event) {
  Request request(event);
  if (event == CmkEvent::kAnnounceDeletion) request.notice = Days(2);
  return request;
}

struct Expected {
  CmkState next;
  Effect effect;
};
using Cell = std::tuple<CmkState, CmkEvent, int>;

// What is allowed, written down a second time and in another form: everything absent must be refused.
std::map<Cell, Expected> AllowedCells() {
  using enum CmkState;
  using enum CmkEvent;
  std::map<Cell, Expected> cells;
  const auto always = [&](CmkState from, CmkEvent event, CmkState next, Effect effect = Effect::kNone) {
    for (const int offset : {-1, 0, 1}) cells[{from, event, offset}] = {next, effect};
  };
  const auto from_date = [&](CmkState from, CmkEvent event, CmkState next, Effect effect = Effect::kNone) {
    for (const int offset : {0, 1}) cells[{from, event, offset}] = {next, effect};
  };
  // A key whose activation date has come is Enabled for every event, written down or not.
  for (const CmkState from : {kEnabled, kPreActive}) {
    const auto enabled = from == kEnabled ? std::function(always) : std::function(from_date);
    enabled(from, kEnable, kEnabled, Effect::kNone);
    enabled(from, kDisable, kDisabled, Effect::kNone);
    enabled(from, kArchive, kArchived, Effect::kNone);
    enabled(from, kRotate, kEnabled, Effect::kNewVersion);
    always(from, kScheduleDeletion, kPendingDeletion);
    enabled(from, kAnnounceDeletion, kEnabled, Effect::kNone);
  }
  cells[{kPreActive, kActivate, -1}] = {kEnabled, Effect::kNone};
  from_date(kPreActive, kTick, kEnabled);
  from_date(kEnabled, kTick, kEnabled, Effect::kNewVersion);
  always(kPendingImport, kMaterialReady, kEnabled);
  always(kPendingImport, kScheduleDeletion, kPendingDeletion);
  always(kDisabled, kEnable, kEnabled);
  always(kDisabled, kDisable, kDisabled);
  always(kDisabled, kArchive, kArchived);
  always(kDisabled, kScheduleDeletion, kPendingDeletion);
  always(kArchived, kDisable, kDisabled);
  always(kArchived, kArchive, kArchived);
  always(kArchived, kUnarchive, kEnabled);
  always(kArchived, kScheduleDeletion, kPendingDeletion);
  always(kPendingDeletion, kScheduleDeletion, kPendingDeletion);
  always(kPendingDeletion, kCancelDeletion, kDisabled);
  cells[{kPendingDeletion, kTick, -1}] = {kPendingDeletion, Effect::kWarn};
  from_date(kPendingDeletion, kTick, kPendingDeletion, Effect::kDestroyMaterial);
  return cells;
}

TEST(Lifecycle, EveryCellIsAsWrittenBeforeAtAndAfterItsDate) {
  const auto allowed = AllowedCells();
  int looked_at = 0;
  for (const CmkStateRow& state : CmkStates())
    for (const CmkEventRow& event : CmkEvents())
      for (const int offset : {-1, 0, 1}) {
        SCOPED_TRACE(std::string(state.name) + " + " + std::string(event.name) + " at " + std::to_string(offset));
        const auto decided = Decide(KeyIn(state.state), Asked(event.event), kDay0 + Seconds(offset), kDefaults);
        const auto expected = allowed.find({state.state, event.event, offset});
        ASSERT_EQ(decided.ok(), expected != allowed.end()) << (decided.ok() ? "" : Name(decided.error()));
        if (decided.ok()) {
          EXPECT_EQ(decided->next, expected->second.next);
          EXPECT_EQ(decided->effect, expected->second.effect);
        } else {
          EXPECT_NE(decided.error(), Refusal::kNone);
        }
        ++looked_at;
      }
  EXPECT_EQ(looked_at, kCmkStateCount * kCmkEventCount * 3);
}

// What the record must look like whatever has happened to it.
void ExpectSound(const Cmk& cmk, Timestamp now) {
  int current = 0;
  for (std::size_t i = 0; i < cmk.versions.size(); ++i) {
    ASSERT_EQ(cmk.versions[i].number.value, i + 1);
    current += cmk.versions[i].state == VersionState::kCurrent;
    const bool has_material = cmk.versions[i].material.kind != Material::Kind::kNone;
    const bool should =
        cmk.versions[i].state == VersionState::kCurrent || cmk.versions[i].state == VersionState::kRetired;
    ASSERT_EQ(has_material, should);
  }
  const bool without = cmk.state == CmkState::kPendingImport || cmk.state == CmkState::kDestroyed ||
                       cmk.state_before_deletion == CmkState::kPendingImport;
  ASSERT_EQ(current, without ? 0 : 1);
  ASSERT_EQ(cmk.CurrentVersion() != nullptr, !without);
  ASSERT_EQ(cmk.dates.deletion_date.has_value(),
            cmk.state == CmkState::kPendingDeletion || cmk.state == CmkState::kDestroyed);
  const bool usable = CheckUse(cmk, VersionState::kCurrent, Use::kProtect, now).ok();
  ASSERT_EQ(usable, EffectiveState(cmk, now) == CmkState::kEnabled && !without && !BrownOutAt(cmk.dates, now));
  ASSERT_TRUE(cmk.state == CmkState::kEnabled || !cmk.dates.announced_until);
  if (cmk.state == CmkState::kPendingDeletion || cmk.state == CmkState::kDestroyed) {
    ASSERT_FALSE(CheckUse(cmk, VersionState::kCurrent, Use::kProcess, now).ok());
  }
}

// What has happened on the way, counted apart from the record.
struct History {
  Timestamp now = kDay0;
  std::optional<Timestamp> not_before;  // the waiting period promised
  int destructions_started = 0;
  int destructions_ended = 0;
};

class Walk {
 public:
  explicit Walk(Bounds bounds) : bounds_(bounds) {}

  void From(const Cmk& cmk, const History& history, int depth) {
    ++sequences_;
    ASSERT_NO_FATAL_FAILURE(ExpectSound(cmk, history.now));
    if (depth == 0) return;
    for (const CmkEventRow& row : CmkEvents()) ASSERT_NO_FATAL_FAILURE(Step(cmk, history, row.event, depth));
    ASSERT_NO_FATAL_FAILURE(Wait(cmk, history, depth));
  }
  std::uint64_t sequences() const { return sequences_; }

 private:
  // Time as two more events: to the second before the next date, and to the date.
  void Wait(const Cmk& cmk, const History& history, int depth) {
    const auto due = NextDue(cmk);
    if (!due || *due <= history.now) return;
    for (const Timestamp then : {*due - Seconds(1), *due}) {
      if (then <= history.now) continue;
      History later = history;
      later.now = then;
      ASSERT_NO_FATAL_FAILURE(From(cmk, later, depth - 1));
    }
  }

  void Step(const Cmk& cmk, const History& history, CmkEvent event, int depth) {
    const auto decided = Decide(cmk, Asked(event), history.now, bounds_);
    // A refused event leaves the record as it was: the sequence goes on as the shorter one without it.
    if (!decided.ok()) return;
    ASSERT_NE(cmk.state, CmkState::kDestroyed) << "destroyed is final";
    const bool fills = cmk.state == CmkState::kPendingImport && decided->next != CmkState::kPendingDeletion;
    const bool brings = fills || decided->effect == Effect::kNewVersion;
    const Cmk after = Apply(cmk, *decided, history.now, brings ? std::optional(SomeMaterial()) : std::nullopt);

    History then = history;
    const bool begins_to_wait = event == CmkEvent::kTick && decided->next != cmk.state;
    if (event == CmkEvent::kScheduleDeletion || (begins_to_wait && decided->next == CmkState::kPendingDeletion))
      then.not_before = history.now + bounds_.window_default;
    if (event == CmkEvent::kCancelDeletion) then.not_before.reset();
    if (decided->effect == Effect::kDestroyMaterial) {
      ASSERT_TRUE(then.not_before.has_value() && history.now >= *then.not_before) << "never before the window passed";
      then.destructions_started += !cmk.dates.destruction_started_at.has_value();
    }
    if (event == CmkEvent::kMaterialGone) {
      ASSERT_EQ(then.destructions_started, 1);
      ++then.destructions_ended;
    }
    ASSERT_LE(then.destructions_started, 1) << "material is destroyed at most once";
    ASSERT_LE(then.destructions_ended, 1);
    ASSERT_EQ(after.state == CmkState::kDestroyed, then.destructions_ended == 1);
    ASSERT_NO_FATAL_FAILURE(From(after, then, depth - 1));
  }

  Bounds bounds_;
  std::uint64_t sequences_ = 0;
};

Cmk Newborn(bool has_material, std::optional<Timestamp> activation) {
  Cmk cmk;
  cmk.state = BirthState(has_material, activation, kDay0);
  cmk.rotatable = true;
  cmk.created = kDay0;
  cmk.rotation_period = Days(365);
  cmk.dates.activation = activation;
  cmk.dates.next_rotation = kDay0 + Days(365);
  KeyVersion version;
  version.number = {1};
  version.created = kDay0;
  version.state = has_material ? VersionState::kCurrent : VersionState::kPendingImport;
  if (has_material) {
    version.material = SomeMaterial();
    cmk.current = {1};
  }
  cmk.versions.push_back(version);
  return cmk;
}

TEST(Lifecycle, EverySequenceToLengthSixKeepsThePromises) {
  std::uint64_t sequences = 0;
  for (const Bounds& profile : kBounds)
    for (const Bounds& bounds : {profile, ForGeneralToken(profile)})
      for (const bool has_material : {true, false})
        for (const auto activation : {std::optional<Timestamp>{}, std::optional(kDay0 + Days(3))}) {
          Walk walk(bounds);
          walk.From(Newborn(has_material, activation), {}, 6);
          if (HasFatalFailure()) return;
          sequences += walk.sequences();
        }
  EXPECT_GT(sequences, 100'000u);
  RecordProperty("sequences", std::to_string(sequences));
}

TEST(Lifecycle, DeletionWaitsUntilTheLastSecond) {
  Cmk cmk = KeyIn(CmkState::kEnabled);
  cmk.dates.next_rotation.reset();
  cmk = Apply(cmk, *Decide(cmk, {CmkEvent::kScheduleDeletion, Days(7)}, kDay0, kDefaults), kDay0);
  EXPECT_EQ(cmk.dates.deletion_date, kDay0 + Days(7));
  EXPECT_EQ(NextDue(cmk), kDay0 + Days(4)) << "the first warning";
  for (int day = 4; day < 7; ++day) {
    const Timestamp then = kDay0 + Days(day);
    EXPECT_EQ(Decide(cmk, CmkEvent::kTick, then - Seconds(1), kDefaults).error(), Refusal::kNothingDue);
    const auto warned = Decide(cmk, CmkEvent::kTick, then, kDefaults);
    ASSERT_TRUE(warned.ok());
    EXPECT_EQ(warned->effect, Effect::kWarn);
    cmk = Apply(cmk, *warned, then);
  }
  EXPECT_EQ(NextDue(cmk), kDay0 + Days(7));
  EXPECT_EQ(Decide(cmk, CmkEvent::kTick, kDay0 + Days(7) - Seconds(1), kDefaults).error(), Refusal::kNothingDue);
  const auto due = Decide(cmk, CmkEvent::kTick, kDay0 + Days(7), kDefaults);
  ASSERT_TRUE(due.ok());
  EXPECT_EQ(due->effect, Effect::kDestroyMaterial);
  EXPECT_EQ(due->next, CmkState::kPendingDeletion) << "the intention is written before the act";
}

TEST(Lifecycle, DestructionOnceBegunIsFinishedAndNeverCancelled) {
  Cmk cmk = KeyIn(CmkState::kPendingDeletion);
  cmk = Apply(cmk, *Decide(cmk, CmkEvent::kTick, kDay0, kDefaults), kDay0);
  EXPECT_EQ(Decide(cmk, CmkEvent::kCancelDeletion, kDay0, kDefaults).error(), Refusal::kDestructionStarted);
  EXPECT_EQ(Decide(cmk, {CmkEvent::kScheduleDeletion, Days(366)}, kDay0, kDefaults).error(),
            Refusal::kDestructionStarted);
  // The daemon was killed before it could destroy: the next tick says so again, and keeps the first date.
  const Timestamp later = kDay0 + Days(2);
  const auto again = Decide(cmk, CmkEvent::kTick, later, kDefaults);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->effect, Effect::kDestroyMaterial);
  EXPECT_EQ(again->dates.destruction_started_at, kDay0);
  cmk = Apply(cmk, *Decide(cmk, CmkEvent::kMaterialGone, later, kDefaults), later);
  EXPECT_EQ(cmk.state, CmkState::kDestroyed);
  EXPECT_EQ(cmk.dates.destroyed_at, later);
  EXPECT_EQ(cmk.versions.front().state, VersionState::kDestroyed);
  EXPECT_EQ(cmk.versions.front().material, Material{});
  EXPECT_EQ(NextDue(cmk), std::nullopt);
}

TEST(Lifecycle, MaterialIsNotDeclaredGoneWhileTheKeyLives) {
  for (const CmkState state :
       {CmkState::kPreActive, CmkState::kEnabled, CmkState::kDisabled, CmkState::kArchived, CmkState::kPendingDeletion})
    EXPECT_EQ(Decide(KeyIn(state), CmkEvent::kMaterialGone, kDay0 - Seconds(1), kDefaults).error(),
              Refusal::kMaterialStillThere);
}

TEST(Lifecycle, WindowIsHeldToItsBoundsOnBothSides) {
  const Cmk cmk = KeyIn(CmkState::kDisabled);
  const auto with = [&](Duration window, const Bounds& bounds) {
    return Decide(cmk, {CmkEvent::kScheduleDeletion, window}, kDay0, bounds);
  };
  for (const Bounds& bounds : kBounds) {
    EXPECT_TRUE(with(bounds.window_min, bounds).ok());
    EXPECT_TRUE(with(bounds.window_max, bounds).ok());
    EXPECT_EQ(with(bounds.window_min, bounds)->dates.deletion_date, kDay0 + bounds.window_min);
    EXPECT_EQ(with({bounds.window_min.seconds - 1}, bounds).error(), Refusal::kWindowOutOfBounds);
    EXPECT_EQ(with({bounds.window_max.seconds + 1}, bounds).error(), Refusal::kWindowOutOfBounds);
    EXPECT_EQ(with({-1}, ForGeneralToken(bounds)).error(), Refusal::kWindowOutOfBounds);
  }
}

TEST(Lifecycle, GeneralTokensDestroyAtOnceUnlessAskedToWait) {
  const Bounds general = ForGeneralToken(kDefaults);
  const auto now = Decide(KeyIn(CmkState::kEnabled), CmkEvent::kScheduleDeletion, kDay0, general);
  ASSERT_TRUE(now.ok());
  EXPECT_EQ(now->next, CmkState::kPendingDeletion);
  EXPECT_EQ(now->effect, Effect::kDestroyMaterial);
  EXPECT_EQ(now->dates.destruction_started_at, kDay0);
  const auto waits = Decide(KeyIn(CmkState::kEnabled), {CmkEvent::kScheduleDeletion, Days(1)}, kDay0, general);
  ASSERT_TRUE(waits.ok());
  EXPECT_EQ(waits->effect, Effect::kNone);
  EXPECT_EQ(waits->dates.deletion_date, kDay0 + Days(1));
}

TEST(Lifecycle, AScheduledDeletionOnlyMovesLater) {
  const Cmk cmk = KeyIn(CmkState::kPendingDeletion);
  const Timestamp now = kDay0 - Days(10);
  EXPECT_EQ(Decide(cmk, {CmkEvent::kScheduleDeletion, Days(10)}, now, kDefaults).error(),
            Refusal::kDeletionOnlyExtends);
  const auto longer = Decide(cmk, {CmkEvent::kScheduleDeletion, Days(11)}, now, kDefaults);
  ASSERT_TRUE(longer.ok());
  EXPECT_EQ(longer->dates.deletion_date, kDay0 + Days(1));
  EXPECT_EQ(longer->dates.deletion_scheduled_at, cmk.dates.deletion_scheduled_at);
  EXPECT_EQ(longer->state_before_deletion, CmkState::kEnabled);
}

TEST(Lifecycle, CancellingLeadsToDisabledOrBackToPendingImport) {
  Cmk cmk = KeyIn(CmkState::kPendingDeletion);
  auto cancelled = Decide(cmk, CmkEvent::kCancelDeletion, kDay0 + Days(1), kDefaults);
  ASSERT_TRUE(cancelled.ok()) << "overdue, but not begun: it can still be saved";
  EXPECT_EQ(cancelled->next, CmkState::kDisabled);
  EXPECT_FALSE(cancelled->dates.deletion_date.has_value());
  EXPECT_FALSE(cancelled->state_before_deletion.has_value());
  EXPECT_EQ(Decide(cmk, CmkEvent::kCancelDeletion, kDay0, BoundsOf(BoundsProfile::kAlibaba))->next, CmkState::kEnabled);
  cmk.state_before_deletion = CmkState::kPendingImport;
  for (const Bounds& bounds : kBounds)
    EXPECT_EQ(Decide(cmk, CmkEvent::kCancelDeletion, kDay0, bounds)->next, CmkState::kPendingImport);
}

TEST(Lifecycle, TencentWantsAKeyDisabledFirst) {
  const Bounds& tencent = BoundsOf(BoundsProfile::kTencent);
  EXPECT_EQ(Decide(KeyIn(CmkState::kEnabled), CmkEvent::kScheduleDeletion, kDay0, tencent).error(),
            Refusal::kDisableFirst);
  EXPECT_EQ(Decide(KeyIn(CmkState::kArchived), CmkEvent::kScheduleDeletion, kDay0, tencent).error(),
            Refusal::kDisableFirst);
  EXPECT_TRUE(Decide(KeyIn(CmkState::kDisabled), CmkEvent::kScheduleDeletion, kDay0, tencent).ok());
  EXPECT_TRUE(Decide(KeyIn(CmkState::kPendingImport), CmkEvent::kScheduleDeletion, kDay0, tencent).ok());
}

TEST(Lifecycle, ProtectedAndServiceOwnedKeysAreNotDeleted) {
  Cmk cmk = KeyIn(CmkState::kEnabled);
  cmk.deletion_protected = true;
  EXPECT_EQ(Decide(cmk, CmkEvent::kScheduleDeletion, kDay0, kDefaults).error(), Refusal::kDeletionProtected);
  EXPECT_TRUE(Decide(cmk, CmkEvent::kDisable, kDay0, kDefaults).ok());
  cmk.key_class = KeyClass::kService;
  for (const CmkEvent event : {CmkEvent::kScheduleDeletion, CmkEvent::kDisable, CmkEvent::kArchive})
    EXPECT_EQ(Decide(cmk, event, kDay0, kDefaults).error(), Refusal::kServiceOwned);
  EXPECT_TRUE(Decide(cmk, CmkEvent::kRotate, kDay0, kDefaults).ok());
}

// ---- Announced deletions

Request Announced(Duration notice, Duration window = Days(30)) {
  Request request(CmkEvent::kAnnounceDeletion, window);
  request.notice = notice;
  return request;
}

TEST(BrownOuts, GrowFromDayToDayAndEndBeforeTheNotice) {
  for (std::int64_t days = 1; days <= 90; ++days) {
    Dates dates;
    dates.announced_at = kDay0;
    dates.announced_until = kDay0 + Days(days);
    Duration longest;
    for (std::int64_t day = 0; day < days; ++day) {
      const BrownOut each = BrownOutOfDay(kDay0, days, day);
      const Duration length = each.ends - each.begins;
      EXPECT_GE(each.begins, kDay0 + Days(day));
      EXPECT_LE(each.ends, kDay0 + Days(day + 1));
      EXPECT_GE(length, std::max(longest, Seconds(60)));
      longest = length;
      EXPECT_EQ(BrownOutAt(dates, each.begins - Seconds(1)), std::nullopt);
      EXPECT_EQ(BrownOutAt(dates, each.begins), each);
      EXPECT_EQ(BrownOutAt(dates, each.ends - Seconds(1)), each);
      EXPECT_EQ(BrownOutAt(dates, each.ends), std::nullopt);
      dates.warned_at = each.begins - Seconds(1);
      EXPECT_EQ(NextBrownOut(dates), each);
    }
    EXPECT_EQ(longest, Hours(12)) << "half of the last day";
    dates.warned_at = dates.announced_until;
    EXPECT_EQ(NextBrownOut(dates), std::nullopt);
  }
}

TEST(BrownOuts, RefuseTheKeyThenRestoreItAndLeadToTheWaitingPeriod) {
  Cmk key = KeyIn(CmkState::kEnabled);
  key.dates.next_rotation.reset();
  const auto announced = Decide(key, Announced(Days(3)), kDay0, kDefaults);
  ASSERT_TRUE(announced.ok());
  key = Apply(key, *announced, kDay0);
  int told = 0;
  Timestamp now = kDay0;
  while (key.state == CmkState::kEnabled) {
    ASSERT_TRUE(NextDue(key).has_value());
    now = *NextDue(key);
    ASSERT_LE(now, kDay0 + Days(3));
    const bool refused = BrownOutAt(key.dates, now).has_value();
    for (const Use use : {Use::kProtect, Use::kProcess}) {
      const auto checked = CheckUse(key, VersionState::kCurrent, use, now);
      ASSERT_EQ(checked.ok(), !refused);
      if (!refused) continue;
      ASSERT_EQ(checked.error(), Refusal::kKeyBrownOut);
      ASSERT_TRUE(CheckUse(key, VersionState::kCurrent, use, BrownOutAt(key.dates, now)->ends).ok());
    }
    const auto ticked = Decide(key, CmkEvent::kTick, now, kDefaults);
    ASSERT_TRUE(ticked.ok());
    told += ticked->effect == Effect::kWarn;
    key = Apply(key, *ticked, now);
  }
  EXPECT_EQ(told, 3) << "once for each brown-out";
  EXPECT_EQ(now, kDay0 + Days(3));
  EXPECT_EQ(key.state, CmkState::kPendingDeletion);
  EXPECT_EQ(key.dates.deletion_date, kDay0 + Days(33));
  EXPECT_EQ(key.dates.announced_until, std::nullopt);
  const auto cancelled = Decide(key, CmkEvent::kCancelDeletion, now, kDefaults);
  ASSERT_TRUE(cancelled.ok());
  EXPECT_EQ(cancelled->next, CmkState::kDisabled);
}

TEST(BrownOuts, EndWithTheAnnouncement) {
  const Cmk key = KeyIn(CmkState::kEnabled);
  const Cmk announced = Apply(key, *Decide(key, Announced(Days(3)), kDay0, kDefaults), kDay0);
  for (const CmkEvent event : {CmkEvent::kCancelDeletion, CmkEvent::kDisable, CmkEvent::kArchive,
                               CmkEvent::kForgetMaterial, CmkEvent::kScheduleDeletion}) {
    Cmk before = announced;
    before.origin = Origin::kUnwrapped;
    const auto decided = Decide(before, event, kDay0, kDefaults);
    ASSERT_TRUE(decided.ok()) << Name(event);
    EXPECT_EQ(decided->dates.announced_until, std::nullopt) << Name(event);
  }
  EXPECT_EQ(Decide(announced, CmkEvent::kCancelDeletion, kDay0, kDefaults)->next, CmkState::kEnabled);
  EXPECT_EQ(Decide(key, CmkEvent::kCancelDeletion, kDay0, kDefaults).error(), Refusal::kDeletionNotScheduled);
  // A clock that is not believed begins no waiting period.
  EXPECT_FALSE(Decide(announced, CmkEvent::kTick, Instant(kDay0 + Days(3), Days(3), false), kDefaults)->next ==
               CmkState::kPendingDeletion);
}

TEST(BrownOuts, AreHeldToTheRulesOfADeletion) {
  Cmk key = KeyIn(CmkState::kEnabled);
  for (const Duration notice : {Days(0), Days(91), Hours(25)})
    EXPECT_EQ(Decide(key, Announced(notice), kDay0, kDefaults).error(), Refusal::kNoticeOutOfBounds);
  EXPECT_TRUE(Decide(key, Announced(Days(90)), kDay0, kDefaults).ok());
  EXPECT_EQ(Decide(key, Announced(Days(3), Days(6)), kDay0, kDefaults).error(), Refusal::kWindowOutOfBounds);
  EXPECT_EQ(Decide(key, Announced(Days(3)), kDay0, BoundsOf(BoundsProfile::kTencent)).error(), Refusal::kDisableFirst);
  key.deletion_protected = true;
  EXPECT_EQ(Decide(key, Announced(Days(3)), kDay0, kDefaults).error(), Refusal::kDeletionProtected);
}

TEST(Classes, AServicesKeyIsItsOwnersAndHeldByItsConsumers) {
  Cmk key = KeyIn(CmkState::kEnabled);
  key.key_class = KeyClass::kService;
  Request request(CmkEvent::kDisable);
  EXPECT_EQ(Decide(key, request, kDay0, kDefaults).error(), Refusal::kServiceOwned);
  request.by_owner = true;
  EXPECT_TRUE(Decide(key, request, kDay0, kDefaults).ok());
  key.consumers = {"backup"};
  for (const CmkEvent event : {CmkEvent::kDisable, CmkEvent::kArchive, CmkEvent::kScheduleDeletion}) {
    Request each(event);
    each.by_owner = true;
    EXPECT_EQ(Decide(key, each, kDay0, kDefaults).error(), Refusal::kConsumersRegistered);
  }
  // Anybody's key is not deleted while somebody depends on it; to disable it stays the way to stop every use.
  key.key_class = KeyClass::kCustomer;
  EXPECT_EQ(Decide(key, CmkEvent::kScheduleDeletion, kDay0, kDefaults).error(), Refusal::kConsumersRegistered);
  EXPECT_TRUE(Decide(key, CmkEvent::kDisable, kDay0, kDefaults).ok());
}

TEST(Rotation, RetiresTheOldVersionAndNumbersTheNewOne) {
  Cmk cmk = KeyIn(CmkState::kEnabled);
  const auto decided = Decide(cmk, CmkEvent::kRotate, kDay0 - Days(1), kDefaults);
  ASSERT_TRUE(decided.ok());
  EXPECT_EQ(decided->dates.next_rotation, kDay0) << "a rotation on demand does not move the schedule";
  cmk = Apply(cmk, *decided, kDay0 - Days(1), SomeMaterial());
  EXPECT_EQ(cmk.current, KeyVersionNumber{2});
  ASSERT_EQ(cmk.versions.size(), 2u);
  EXPECT_EQ(cmk.versions[0].state, VersionState::kRetired);
  EXPECT_EQ(cmk.versions[0].retired_at, kDay0 - Days(1));
  EXPECT_EQ(cmk.versions[1].state, VersionState::kCurrent);
}

TEST(Rotation, IsDoneOnceHoweverLongItWasOverdue) {
  Cmk cmk = KeyIn(CmkState::kEnabled);
  const Timestamp late = kDay0 + Days(1000);
  const auto decided = Decide(cmk, CmkEvent::kTick, late, kDefaults);
  ASSERT_TRUE(decided.ok());
  EXPECT_EQ(decided->dates.next_rotation, late + Days(10));
  cmk = Apply(cmk, *decided, late, SomeMaterial());
  EXPECT_EQ(Decide(cmk, CmkEvent::kTick, late, kDefaults).error(), Refusal::kNothingDue);
}

TEST(Rotation, PausesWhileDisabledAndIsCaughtUpOnce) {
  Cmk cmk = KeyIn(CmkState::kDisabled);
  const Timestamp late = kDay0 + Days(1);
  EXPECT_EQ(NextDue(cmk), std::nullopt);
  EXPECT_EQ(Decide(cmk, CmkEvent::kTick, late, kDefaults).error(), Refusal::kNothingDue);
  cmk = Apply(cmk, *Decide(cmk, CmkEvent::kEnable, late, kDefaults), late);
  EXPECT_EQ(NextDue(cmk), kDay0);
  EXPECT_EQ(Decide(cmk, CmkEvent::kTick, late, kDefaults)->effect, Effect::kNewVersion);
}

TEST(Rotation, IsRefusedToFixedVersionsTooManyVersionsAndTooSoon) {
  Cmk cmk = KeyIn(CmkState::kEnabled);
  Bounds bounds = kDefaults;
  bounds.rotation_gap = Seconds(60);
  cmk.versions.front().created = kDay0;
  EXPECT_EQ(Decide(cmk, CmkEvent::kRotate, kDay0 + Seconds(59), bounds).error(), Refusal::kRotatedTooRecently);
  EXPECT_TRUE(Decide(cmk, CmkEvent::kRotate, kDay0 + Seconds(60), bounds).ok());
  bounds.versions_max = 2;
  EXPECT_TRUE(Decide(cmk, CmkEvent::kRotate, kDay0 + Seconds(60), bounds).ok());
  bounds.versions_max = 1;
  EXPECT_EQ(Decide(cmk, CmkEvent::kRotate, kDay0 + Seconds(60), bounds).error(), Refusal::kTooManyVersions);
  cmk.rotatable = false;
  EXPECT_EQ(Decide(cmk, CmkEvent::kRotate, kDay0 + Seconds(60), bounds).error(), Refusal::kNotRotatable);
  EXPECT_EQ(NextDue(cmk), kDay0) << "its label moves on by schedule";
}

TEST(Import, FillsTheVersionThatWaits) {
  Cmk cmk = KeyIn(CmkState::kPendingImport);
  cmk = Apply(cmk, *Decide(cmk, CmkEvent::kMaterialReady, kDay0, kDefaults), kDay0, SomeMaterial());
  EXPECT_EQ(cmk.state, CmkState::kEnabled);
  ASSERT_EQ(cmk.versions.size(), 1u);
  EXPECT_EQ(cmk.current, KeyVersionNumber{1});
  EXPECT_EQ(cmk.versions.front().state, VersionState::kCurrent);
  EXPECT_EQ(cmk.versions.front().material, SomeMaterial());
}

TEST(LifecycleDeathTest, AVersionWithoutMaterialStopsTheProcess) {
  const Cmk cmk = KeyIn(CmkState::kEnabled);
  const auto rotate = Decide(cmk, CmkEvent::kRotate, kDay0, kDefaults);
  ASSERT_TRUE(rotate.ok());
  EXPECT_DEATH((void)Apply(cmk, *rotate, kDay0), "");
}

TEST(Lifecycle, DatesAtTheEndOfTimeAreNotReached) {
  const Timestamp end{std::numeric_limits<std::int64_t>::max()};
  const auto decided = Decide(KeyIn(CmkState::kDisabled), CmkEvent::kScheduleDeletion, end - Seconds(1), kDefaults);
  ASSERT_TRUE(decided.ok());
  EXPECT_EQ(decided->dates.deletion_date, end);
}

void PrintTables(std::ostream& out) {
  out << "| state | SP 800-57 |\n|---|---|\n";
  for (const CmkStateRow& row : CmkStates()) out << "| " << row.name << " | " << row.sp800_57 << " |\n";
  out << "\n| version state | SP 800-57 |\n|---|---|\n";
  for (const VersionStateRow& row : VersionStates()) out << "| " << row.name << " | " << row.sp800_57 << " |\n";
  out << "\n| from | on | when | to | effect |\n|---|---|---|---|---|\n";
  for (const TransitionRow& row : kTransitions) {
    if (row.refusal != Refusal::kNone) continue;
    const char* effect = row.effect == Effect::kNewVersion        ? "new version"
                         : row.effect == Effect::kDestroyMaterial ? "destroy material"
                         : row.effect == Effect::kWarn            ? "warn operators"
                         : row.effect == Effect::kWipeImported    ? "wipe imported material"
                                                                  : "";
    out << "| " << Name(row.from) << " | " << Name(row.event) << " | " << Name(row.when) << " | " << Name(row.next)
        << " | " << effect << " |\n";
  }
  out << "\n| state |";
  for (const CmkEventRow& event : CmkEvents()) out << " " << event.name << " |";
  out << "\n|---|";
  for (std::size_t i = 0; i < CmkEvents().size(); ++i) out << "---|";
  out << "\n";
  for (const CmkStateRow& state : CmkStates()) {
    out << "| " << state.name << " |";
    for (const CmkEventRow& event : CmkEvents()) {
      std::string cell;
      for (const TransitionRow& row : kTransitions) {
        if (row.from != state.state || row.event != event.event) continue;
        if (!cell.empty()) cell += "; else ";
        if (row.when != When::kAlways) cell += std::string(Name(row.when)) + ": ";
        cell += row.refusal == Refusal::kNone ? "→ " + std::string(Name(row.next)) : std::string(Name(row.refusal));
      }
      out << " " << cell << " |";
    }
    out << "\n";
  }
  out << "\n| version state |";
  for (const VersionEventRow& event : VersionEvents()) out << " " << event.name << " |";
  out << "\n|---|";
  for (std::size_t i = 0; i < VersionEvents().size(); ++i) out << "---|";
  out << "\n";
  for (const VersionStateRow& state : VersionStates()) {
    out << "| " << state.name << " |";
    for (const VersionEventRow& event : VersionEvents()) {
      const VersionRow* row = FindVersionTransition(state.state, event.event);
      out << " "
          << (row->refusal == Refusal::kNone ? "→ " + std::string(Name(row->next)) : std::string(Name(row->refusal)))
          << " |";
    }
    out << "\n";
  }
  out << "\n| state | version | protect | process | describe |\n|---|---|---|---|---|\n";
  for (const CmkStateRow& state : CmkStates())
    for (const VersionStateRow& version : VersionStates()) {
      out << "| " << state.name << " | " << version.name << " |";
      for (const Use use : {Use::kProtect, Use::kProcess, Use::kDescribe}) {
        Cmk cmk;
        cmk.state = state.state;
        const auto checked = CheckUse(cmk, version.state, use, kDay0);
        out << " " << (checked.ok() ? "yes" : Name(checked.error())) << " |";
      }
      out << "\n";
    }
  out << "\n| number | refusal | state | rule | remedy | alarm |\n|---|---|---|---|---|---|\n";
  for (const RefusalRow& row : Refusals())
    out << "| " << static_cast<int>(row.refusal) << " | " << row.name << " | " << row.state << " | " << row.rule
        << " | " << row.remedy << " | " << (row.alarm ? "yes" : "") << " |\n";
  out << "\n| profile | deletion window | default | rotation period | default | disabled first | cancel returns to |\n"
      << "|---|---|---|---|---|---|---|\n";
  const auto days = [](Duration duration) { return duration.seconds / 86400; };
  for (const Bounds& row : kBounds)
    out << "| " << row.name << " | " << days(row.window_min) << " to " << days(row.window_max) << " d | "
        << days(row.window_default) << " d | " << days(row.rotation_min) << " to " << days(row.rotation_max) << " d | "
        << days(row.rotation_default) << " d | " << (row.disable_first ? "yes" : "no") << " | "
        << Name(row.cancel_returns_to) << " |\n";
}

TEST(Lifecycle, TheDocumentHasTheTablesOfTheCode) {
  std::ostringstream tables;
  PrintTables(tables);
  const char* path = std::getenv("CMKD_PRINT_TABLES");
  if (path != nullptr && *path != '\0') std::ofstream(path) << tables.str();
  std::ifstream file(CMKD_SOURCE_DIR "/docs/lifecycle.md");
  const std::string document{std::istreambuf_iterator<char>(file), {}};
  EXPECT_NE(document.find(tables.str()), std::string::npos)
      << "print them anew with CMKD_PRINT_TABLES=FILE and put them at the end of docs/lifecycle.md";
}

TEST(Lifecycle, WallTimeAloneDestroysNothing) {
  Cmk cmk = KeyIn(CmkState::kDisabled);
  const Instant scheduled(kDay0, Seconds(1000), true);
  cmk = Apply(cmk, *Decide(cmk, {CmkEvent::kScheduleDeletion, Days(30)}, scheduled, kDefaults), kDay0);
  cmk.dates.warned_at = kDay0 + Days(400);  // warnings are not the point here
  const Timestamp late = kDay0 + Days(399);
  const auto tick = [&](Duration observed, bool trusted) {
    return Decide(cmk, CmkEvent::kTick, Instant(late, observed, trusted), kDefaults);
  };
  EXPECT_EQ(tick(Seconds(1000), true).error(), Refusal::kClockSuspect) << "the clock says a year, nobody saw it pass";
  EXPECT_EQ(tick({1000 + Days(27).seconds - 1}, true).error(), Refusal::kClockSuspect);
  EXPECT_EQ(tick({1000 + Days(27).seconds}, false).error(), Refusal::kClockSuspect) << "it jumped not long ago";
  const auto due = tick({1000 + Days(27).seconds}, true);
  ASSERT_TRUE(due.ok());
  EXPECT_EQ(due->effect, Effect::kDestroyMaterial);
}

TEST(Lifecycle, ADoubtfulClockRotatesAKeyOnce) {
  Cmk cmk = KeyIn(CmkState::kEnabled);
  cmk.versions.front().created = kDay0 - Days(1);
  Instant doubt(kDay0, Seconds(0), false);
  doubt.suspect_since = kDay0 - Days(1);
  EXPECT_EQ(Decide(cmk, CmkEvent::kTick, doubt, kDefaults)->effect, Effect::kNewVersion);
  doubt.suspect_since = kDay0 - Days(2);
  EXPECT_EQ(Decide(cmk, CmkEvent::kTick, doubt, kDefaults).error(), Refusal::kNothingDue) << "rotated since the jump";
}

TEST(Lifecycle, ImportedMaterialIsForgottenAndComesBack) {
  for (const CmkState state : {CmkState::kEnabled, CmkState::kDisabled, CmkState::kArchived}) {
    Cmk cmk = KeyIn(state);
    EXPECT_EQ(Decide(cmk, CmkEvent::kForgetMaterial, kDay0, kDefaults).error(), Refusal::kNotImported);
    cmk.origin = Origin::kUnwrapped;
    cmk.dates.next_rotation.reset();
    cmk.versions.front().expires = kDay0 + Days(5);
    EXPECT_EQ(NextDue(cmk), kDay0 + Days(5));
    EXPECT_FALSE(Decide(cmk, CmkEvent::kTick, kDay0 + Days(5) - Seconds(1), kDefaults).ok());
    const auto expired = Decide(cmk, CmkEvent::kTick, kDay0 + Days(5), kDefaults);
    ASSERT_TRUE(expired.ok());
    EXPECT_EQ(expired->effect, Effect::kWipeImported);
    const Cmk waiting = Apply(cmk, *expired, kDay0 + Days(5));
    EXPECT_EQ(waiting.state, CmkState::kPendingImport);
    EXPECT_EQ(waiting.versions.front().material, Material{});
    EXPECT_EQ(waiting.versions.front().state, VersionState::kPendingImport);
    EXPECT_EQ(waiting.current, KeyVersionNumber{});
    const auto back = Decide(waiting, CmkEvent::kMaterialReady, kDay0 + Days(6), kDefaults);
    ASSERT_TRUE(back.ok());
    const Cmk again = Apply(waiting, *back, kDay0 + Days(6), SomeMaterial());
    EXPECT_EQ(again.state, CmkState::kEnabled);
    EXPECT_EQ(again.versions.size(), 1u) << "the same version: what it protected opens again";
    EXPECT_EQ(again.current, KeyVersionNumber{1});
  }
}

TEST(Lifecycle, MaterialForgottenWhileWaitingForDeletionComesBackAsPendingImport) {
  Cmk cmk = KeyIn(CmkState::kPendingDeletion);
  cmk.origin = Origin::kUnwrapped;
  const Timestamp now = kDay0 - Days(10);
  cmk = Apply(cmk, *Decide(cmk, CmkEvent::kForgetMaterial, now, kDefaults), now);
  EXPECT_EQ(cmk.state, CmkState::kPendingDeletion);
  EXPECT_EQ(cmk.current, KeyVersionNumber{});
  cmk = Apply(cmk, *Decide(cmk, CmkEvent::kCancelDeletion, now, kDefaults), now);
  EXPECT_EQ(cmk.state, CmkState::kPendingImport);
}

TEST(Lifecycle, RotationPeriodsAreHeldToTheirBounds) {
  for (const Bounds& bounds : kBounds) {
    EXPECT_TRUE(CheckRotationPeriod({}, bounds).ok());
    EXPECT_TRUE(CheckRotationPeriod(bounds.rotation_min, bounds).ok());
    EXPECT_TRUE(CheckRotationPeriod(bounds.rotation_max, bounds).ok());
    EXPECT_FALSE(CheckRotationPeriod({bounds.rotation_min.seconds - 1}, bounds).ok());
    EXPECT_EQ(CheckRotationPeriod({bounds.rotation_max.seconds + 1}, bounds).error(),
              Refusal::kRotationPeriodOutOfBounds);
  }
}

}  // namespace
}  // namespace cmkd::cmk

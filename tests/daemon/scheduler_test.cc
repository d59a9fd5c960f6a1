// What time brings, on a clock of the test's own: deletions to their end, scheduled rotations, and clocks that jump,
// over restarts. The device is the simulated one, the store the one in memory.
#include "daemon/custody/scheduler.h"

#include <gtest/gtest.h>

#include "daemon/config/config.h"
#include "keystore/cmk/permitted_use.h"
#include "keystore/store/memory_store.h"
#include "tests/daemon/audit_fixture.h"
#include "tests/daemon/hsm_rig.h"

namespace cmkd::daemon {
namespace {

constexpr Timestamp kDay0{1'800'000'000};

class SetClock final : public Clock {
 public:
  Timestamp Now() const override { return {wall.seconds}; }
  std::chrono::nanoseconds Monotonic() const override { return std::chrono::seconds(up.seconds); }
  Duration wall{kDay0.seconds};
  Duration up{1000};
};

// A daemon's custody, stopped and started again over the same store.
struct Custody {
  Custody(store::Store& store, Backends& backends, const Clock& clock, const TokensConfig& config, AuditLog& audit)
      : keeper(store, clock, cmk::BootId{1}),
        records(store),
        custodian(store, records, backends, keeper, config),
        counter(store, keeper, nullptr),
        scheduler(store, keeper, custodian, counter, audit) {
    EXPECT_TRUE(keeper.Look().ok());
  }
  TimeKeeper keeper;
  Records records;
  Custodian custodian;
  UseCounter counter;
  Scheduler scheduler;
};

class SchedulerTest : public AuditTest {
 protected:
  void SetUp() override {
    log_ = Open();
    backends_.Add(rig_.Start());
    config_.default_hsm = backends_.all().begin()->first;
    config_.default_profile = TokenProfile::kManaged;
    store_ = store::MakeMemoryStore({}, kDay0);
    Restart();
    ASSERT_TRUE(custody_->custodian.InitToken(0, "ring", Bytes(32, 1)).ok());
    token_ = (*custody_->records.ListTokens()).front();
    token_ = *custody_->records.GetToken(token_->id);
  }

  void Restart() {
    custody_.reset();
    custody_ = std::make_unique<Custody>(*store_, backends_, clock_now_, config_, *log_);
  }

  cmk::CmkId MakeKey(const std::string& name, Duration rotation = {}, bool rotatable = true) {
    const Custodian::Under under = *custody_->custodian.WrappingKeyFor(token_->id, Custodian::Keep::kToken);
    Backend* backend = *backends_.Get(config_.default_hsm);
    Made made = *backend->GenerateKey({CKM_AES_KEY_GEN, nullptr, 0}, CKK_AES, 32, under);
    NewObjects objects;
    cmk::Cmk key;
    key.name = name;
    key.spec = "AES-256";
    key.rotatable = rotatable;
    key.rotation_period = rotation;
    if (rotation > Duration{}) key.dates.next_rotation = custody_->keeper.Now() + rotation;
    key.current = {1};
    cmk::KeyVersion version;
    version.number = {1};
    version.created = custody_->keeper.Now();
    version.material = made.material;
    key.versions.push_back(version);
    objects.key = key;
    spec::Attributes attributes;
    attributes.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
    attributes.SetUlong(CKA_KEY_TYPE, CKK_AES);
    attributes.SetUlong(CKA_VALUE_LEN, 32);
    attributes.SetText(CKA_LABEL, name);
    attributes.SetBool(CKA_TOKEN, true);
    objects.objects.push_back(attributes);
    const auto handles = custody_->custodian.Add(token_->id, std::move(objects), {});
    EXPECT_TRUE(handles.ok());
    return *(*custody_->records.GetObject(handles->front()))->cmk;
  }

  // Time that everybody sees pass, with the scheduler at work every six hours.
  void Pass(Duration time) {
    for (std::int64_t passed = 0; passed < time.seconds; passed += Hours(6).seconds) {
      const std::int64_t step = std::min<std::int64_t>(Hours(6).seconds, time.seconds - passed);
      clock_now_.wall.seconds += step;
      clock_now_.up.seconds += step;
      custody_->scheduler.Tick();
    }
  }
  void JumpTo(std::int64_t wall) {
    clock_now_.wall.seconds = wall;
    custody_->scheduler.Tick();
  }

  cmk::Cmk Key(const cmk::CmkId& id) { return **custody_->records.GetCmk(id); }
  std::size_t Alarms(const std::string& text) {
    std::size_t count = 0;
    AuditReadOptions options;
    options.on_record = [&](const StoredRecord& record) {
      count += record.event.kind == AuditKind::kAlarm && record.event.text.find(text) != std::string_view::npos;
      return true;
    };
    (void)Verify(options);
    return count;
  }

  SetClock clock_now_;
  TokensConfig config_;
  std::unique_ptr<AuditLog> log_;
  HsmRig rig_{RigKind::kSimulatorInside};
  Backends backends_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Custody> custody_;
  Records::TokenPtr token_;
};

TEST_F(SchedulerTest, ADeletionIsWarnedOfCarriedOutAndLeavesATombstone) {
  const cmk::CmkId id = MakeKey("payments");
  const auto scheduled = custody_->custodian.Change(id, {cmk::CmkEvent::kScheduleDeletion, Days(30)});
  ASSERT_TRUE(scheduled.ok());
  Pass(Days(29));
  EXPECT_EQ(Key(id).state, cmk::CmkState::kPendingDeletion);
  EXPECT_EQ(Alarms("will be destroyed"), 3u) << "one a day in the last three days";
  Restart();
  Pass(Days(2));
  const cmk::Cmk gone = Key(id);
  EXPECT_EQ(gone.state, cmk::CmkState::kDestroyed);
  EXPECT_TRUE(gone.versions.front().material.blob.empty());
  EXPECT_EQ(gone.name, "payments") << "the tombstone says what it was";
  EXPECT_EQ(Alarms("destroyed at the end"), 1u);
  const auto read = store_->BeginRead();
  EXPECT_TRUE((*read)->FindCmksByName(token_->id, "payments")->empty());
  const store::Term of_key[] = {store::OfCmk(id)};
  EXPECT_TRUE((*read)->FindObjects(token_->id, of_key)->empty());
}

TEST_F(SchedulerTest, AnAnnouncedDeletionIsToldOfThenWaits) {
  const cmk::CmkId id = MakeKey("announced");
  cmk::Request request(cmk::CmkEvent::kAnnounceDeletion, Days(10));
  request.notice = Days(5);
  ASSERT_TRUE(custody_->custodian.Change(id, request).ok());
  int refused = 0, served = 0;
  for (int hour = 0; hour < 5 * 24 - 6; ++hour) {
    Pass(Hours(1));
    const bool allowed =
        cmk::CheckUse(Key(id), cmk::VersionState::kCurrent, cmk::Use::kProcess, custody_->keeper.Now()).ok();
    ++(allowed ? served : refused);
  }
  EXPECT_EQ(Key(id).state, cmk::CmkState::kEnabled);
  EXPECT_GE(refused, 20) << "of 12 + 6 + 3 + 1.5 + 0.75 hours";
  EXPECT_GE(served, 80);
  EXPECT_EQ(Alarms("a brown-out before its deletion"), 5u) << "one a day";
  Pass(Hours(12));
  EXPECT_EQ(Key(id).state, cmk::CmkState::kPendingDeletion);
  EXPECT_EQ(Alarms("its announced deletion waits"), 1u);
  Pass(Days(11));
  EXPECT_EQ(Key(id).state, cmk::CmkState::kDestroyed);
}

TEST_F(SchedulerTest, AJumpingClockDestroysNothingEarly) {
  const Timestamp targets[] = {kDay0 + Hours(1), kDay0 + Days(31), kDay0 + Days(3650), {0}, {4'291'747'200}};
  for (const Timestamp target : targets) {
    const cmk::CmkId id = MakeKey("jump to " + std::to_string(target.seconds));
    ASSERT_TRUE(custody_->custodian.Change(id, {cmk::CmkEvent::kScheduleDeletion, Days(30)}).ok());
    Pass(Hours(12));
    JumpTo(target.seconds);
    Restart();
    Pass(Days(25));
    EXPECT_EQ(Key(id).state, cmk::CmkState::kPendingDeletion) << target.seconds;
    Restart();
    // Behind a clock that was set back the schedule goes on by the time that passes.
    Pass(Days(40));
    EXPECT_EQ(Key(id).state, cmk::CmkState::kDestroyed) << target.seconds;
    JumpTo(kDay0.seconds);
    Pass(Days(2));
  }
  EXPECT_GE(Alarms("the clock jumped"), 5u);
}

TEST_F(SchedulerTest, KeysRotateOnScheduleOnceEvenAfterALongAbsence) {
  const cmk::CmkId id = MakeKey("rotates", Days(30));
  Pass(Days(29));
  EXPECT_EQ(Key(id).versions.size(), 1u);
  Pass(Days(2));
  EXPECT_EQ(Key(id).versions.size(), 2u);
  EXPECT_EQ(Key(id).versions.back().state, cmk::VersionState::kCurrent);
  // A daemon that was away for a year makes up for it once.
  clock_now_.wall.seconds += Days(365).seconds;
  clock_now_.up.seconds += Days(365).seconds;
  Restart();
  Pass(Days(1));
  EXPECT_EQ(Key(id).versions.size(), 3u);
  Pass(Days(28));
  EXPECT_EQ(Key(id).versions.size(), 3u);
}

TEST_F(SchedulerTest, AJumpingClockRotatesAKeyOnce) {
  const cmk::CmkId id = MakeKey("rotates", Days(30));
  Pass(Hours(1));
  JumpTo(kDay0.seconds + Days(31).seconds);
  JumpTo(kDay0.seconds + Days(65).seconds);
  JumpTo(kDay0.seconds + Days(100).seconds);
  Restart();
  custody_->scheduler.Tick();
  EXPECT_EQ(Key(id).versions.size(), 2u);
}

TEST_F(SchedulerTest, AFixedVersionKeyMovesItsLabelOnSchedule) {
  const cmk::CmkId id = MakeKey("legacy", Days(30), false);
  Pass(Days(31));
  EXPECT_EQ(Key(id).state, cmk::CmkState::kArchived);
  EXPECT_EQ(Key(id).name, "legacy@v1");
  const auto read = store_->BeginRead();
  const auto ids = *(*read)->FindCmksByName(token_->id, "legacy");
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_EQ(Key(ids.front()).predecessor, id);
}

TEST_F(SchedulerTest, DisabledKeysWaitAndRotateWhenEnabledAgain) {
  const cmk::CmkId id = MakeKey("sleeps", Days(30));
  ASSERT_TRUE(custody_->custodian.Change(id, cmk::CmkEvent::kDisable).ok());
  Pass(Days(60));
  EXPECT_EQ(Key(id).versions.size(), 1u);
  ASSERT_TRUE(custody_->custodian.Change(id, cmk::CmkEvent::kEnable).ok());
  Pass(Hours(6));
  EXPECT_EQ(Key(id).versions.size(), 2u);
}

TEST_F(SchedulerTest, UsesSurviveAKilledDaemonAndAreGivenBackOnACleanStop) {
  const cmk::CmkId id = MakeKey("counted");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(custody_->counter.CountProtect(id, {1}, 1000, 100, false).ok());
  EXPECT_EQ(custody_->counter.Count(id, Key(id).versions.front()).uses, 5u);
  EXPECT_GE(Key(id).versions.front().uses, 5u) << "written down before they were made";
  Restart();  // as a kill: nothing was given back
  EXPECT_GE(custody_->counter.Count(id, Key(id).versions.front()).uses, 5u);
  const std::uint64_t before = Key(id).versions.front().uses;
  ASSERT_TRUE(custody_->counter.CountProtect(id, {1}, 1000, 100, false).ok());
  ASSERT_TRUE(custody_->counter.Save(true).ok());
  EXPECT_EQ(Key(id).versions.front().uses, before + 1);
  EXPECT_TRUE(Key(id).versions.front().last_used.has_value());
}

TEST_F(SchedulerTest, UsesOfEachClientAreCountedAndNeverTooFewAfterAKill) {
  const cmk::CmkId id = MakeKey("shared");
  const auto clients = [&] { return *custody_->counter.Clients(id, {1}); };
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(custody_->counter.CountProtect(id, {1}, 1000, 10, true).ok());
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(custody_->counter.CountProcess(id, {1}, 1001, 5).ok());
  ASSERT_EQ(clients().size(), 2u);
  EXPECT_EQ(clients()[0].uid, 1000u);
  EXPECT_EQ(clients()[0].protects, 100u);
  EXPECT_EQ(clients()[0].processes, 0u);
  EXPECT_EQ(clients()[0].bytes, 1000u);
  EXPECT_EQ(clients()[1].protects, 0u);
  EXPECT_EQ(clients()[1].processes, 40u);
  EXPECT_EQ(clients()[1].bytes, 200u);
  Restart();  // as a kill: nothing was given back
  EXPECT_GE(clients()[0].protects, 100u);
  EXPECT_LE(clients()[0].protects, 100u + cmk::BlockFor(0, 100));
  EXPECT_GE(clients()[1].processes, 40u);
  EXPECT_LE(clients()[1].processes, 40u + cmk::BlockFor(0, 40));
  EXPECT_GE(clients()[0].bytes, 1000u);
  EXPECT_LE(clients()[0].bytes, 1000u + cmk::ByteBlockFor(1000));
  const std::uint64_t before = clients()[1].processes;
  ASSERT_TRUE(custody_->counter.CountProcess(id, {1}, 1001, 5).ok());
  ASSERT_TRUE(custody_->counter.Save(true).ok());
  Restart();
  EXPECT_EQ(clients()[1].processes, before + 1) << "a clean stop gives back what was not used";
}

TEST_F(SchedulerTest, ManyClientsAreCountedTogether) {
  const cmk::CmkId id = MakeKey("crowded");
  const std::uint32_t many = cmk::kClientsKept + 20;
  for (std::uint32_t uid = 0; uid < many; ++uid) ASSERT_TRUE(custody_->counter.CountProcess(id, {1}, uid, 1).ok());
  const auto rows = *custody_->counter.Clients(id, {1});
  ASSERT_EQ(rows.size(), cmk::kClientsKept + 1);
  EXPECT_EQ(rows.back().uid, cmk::kOtherClients);
  EXPECT_EQ(rows.back().processes, 20u);
  std::uint64_t sum = 0;
  for (const cmk::ClientUse& row : rows) sum += row.processes;
  EXPECT_EQ(sum, many);
}

TEST_F(SchedulerTest, AUsageLimitStopsBeforeItIsPassed) {
  const cmk::CmkId id = MakeKey("limited");
  ASSERT_TRUE(custody_->custodian
                  .Edit("test", id,
                        [](cmk::Cmk& key, const store::TokenRecord&) -> Status {
                          key.usage_limit = 20;
                          return {};
                        })
                  .ok());
  int allowed = 0;
  while (allowed < 100 && custody_->counter.CountProtect(id, {1}, 1000, 1, true).ok()) ++allowed;
  EXPECT_EQ(allowed, 20);
  Restart();
  const Status refused = custody_->counter.CountProtect(id, {1}, 1000, 1, true);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().detail, CK_ULONG{spec::kVersionExhausted});
}

}  // namespace
}  // namespace cmkd::daemon

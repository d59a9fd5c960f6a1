// Epochs of wrapping keys: what remains goes on, what was deleted is gone for good, and no interruption loses a key.
#include <signal.h>

#include <algorithm>
#include <thread>

#include "tests/daemon/custody_fixture.h"

namespace cmkd::daemon {
namespace {

using Step = Custodian::EpochStep;
using store::EpochState;

class EpochTest : public CustodyTest {
 protected:
  // Steps until the epoch is through or something fails; time passes in between.
  Fallible<Step> RunOn() {
    for (int i = 0; i < 1000; ++i) {
      auto step = custodian().StepEpoch(token_);
      if (!step.ok() || *step == Step::kDone || *step == Step::kNothing) return step;
      if (*step == Step::kWaits) clock_now_.Pass(Seconds(1));
    }
    return Fail(CKR_GENERAL_ERROR, "an epoch without an end");
  }
  std::size_t Count(EpochState state) {
    const auto epochs = Token().epochs;
    return static_cast<std::size_t>(
        std::count_if(epochs.begin(), epochs.end(), [&](const auto& epoch) { return epoch.state == state; }));
  }
  std::uint32_t Current() { return CurrentWrappingKey(Token())->epoch; }
  bool Opens(const WrappingKey& under, const cmk::Material& material) {
    KeyMaterial key;
    key.material = material;
    return backend().Rewrap({}, key, under).ok();
  }
};

TEST_P(EpochTest, TakesEverythingOverAndDestroysTheOldKey) {
  const cmk::CmkId aes = MakeAes("aes");
  const cmk::CmkId resident = MakeEd25519("ed");
  for (int i = 0; i < 3; ++i) ASSERT_GOOD(custodian().Rotate(aes));
  std::vector<Bytes> before;
  for (std::size_t v = 0; v < 4; ++v) before.push_back(*Does(Key(aes), v));
  const Bytes signature = *Does(Key(resident));
  const cmk::Cmk old = Key(aes);
  const cmk::Material old_resident = Key(resident).versions.front().material;
  const std::uint32_t epoch = Current();
  ASSERT_GOOD(custodian().BeginEpoch(token_));
  EXPECT_FALSE(*custodian().BeginEpoch(token_)) << "one at a time";
  const auto end = RunOn();
  ASSERT_GOOD(end);
  EXPECT_EQ(*end, Step::kDone);
  EXPECT_GT(Current(), epoch);
  for (std::size_t v = 0; v < 4; ++v) {
    EXPECT_EQ(Key(aes).versions[v].material.epoch, Current());
    const auto after = Does(Key(aes), v);
    ASSERT_GOOD(after);
    EXPECT_EQ(*after, before[v]);
  }
  ASSERT_GOOD(Does(Key(resident)));
  EXPECT_EQ(*Does(Key(resident)), signature);
  if (old_resident.kind == cmk::Material::Kind::kResident) {
    EXPECT_EQ(Key(resident).versions.front().material, old_resident);
  }
  const WrappingKey now = *CurrentWrappingKey(Token());
  for (const cmk::KeyVersion& version : old.versions) EXPECT_FALSE(Opens(now, version.material));
  EXPECT_TRUE(Opens(now, Key(aes).versions.front().material));
  EXPECT_EQ(*RunOn(), Step::kNothing);
}

TEST_P(EpochTest, ACopyFromBeforeADeletionIsOfNoUse) {
  const cmk::CmkId doomed = MakeAes("doomed");
  const cmk::CmkId stays = MakeAes("stays");
  const Bytes before = *Does(Key(stays));
  config_.new_epoch_hours = 0;
  Stop();
  std::filesystem::copy(state(), root_ + "/copy", std::filesystem::copy_options::recursive);
  Start();
  ASSERT_GOOD(custodian().Change(doomed, cmk::CmkEvent::kScheduleDeletion));
  ASSERT_EQ(Key(doomed).state, cmk::CmkState::kDestroyed);
  const auto end = RunOn();
  ASSERT_GOOD(end);
  EXPECT_EQ(*end, Step::kDone) << "by itself, after a destruction";
  EXPECT_EQ(*Does(Key(stays)), before);
  Stop();
  std::filesystem::rename(state(), root_ + "/today");
  std::filesystem::rename(root_ + "/copy", state());
  Start();
  EXPECT_EQ(Key(doomed).state, cmk::CmkState::kEnabled) << "so the copy says";
  EXPECT_FALSE(Does(Key(doomed)).ok());
  EXPECT_FALSE(Opens(*CurrentWrappingKey(Token()), Key(doomed).versions.front().material));
  Stop();
  std::filesystem::remove_all(state());
  std::filesystem::rename(root_ + "/today", state());
  Start();
  ASSERT_GOOD(Does(Key(stays)));
  EXPECT_EQ(*Does(Key(stays)), before);
}

TEST_P(EpochTest, GoesOnAfterAPowerLossAtAnyStepOfTheStore) {
  const cmk::CmkId aes = MakeAes("aes");
  ASSERT_GOOD(custodian().Rotate(aes));
  const Bytes before = *Does(Key(aes), 0);
  KeyBench bench(backend());
  const std::size_t objects = bench.CountObjects();
  for (const auto fault : {store::Fault::kPowerLossBefore, store::Fault::kPowerLossAfter}) {
    bool struck = true;
    for (std::uint64_t step = 1; struck; ++step) {
      faults_->Arm(fault, step);
      const auto begun = custodian().BeginEpoch(token_);
      if (begun.ok()) (void)RunOn();
      struck = faults_->power_lost();
      NewCustody();
      if (*RunOn() == Step::kNothing && !begun.ok()) {
        ASSERT_GOOD(custodian().BeginEpoch(token_));
        ASSERT_GOOD(RunOn());
      }
      EXPECT_EQ(Count(EpochState::kCurrent), 1u) << step;
      EXPECT_EQ(Count(EpochState::kPending) + Count(EpochState::kRetired) + Count(EpochState::kCondemned), 0u) << step;
      const auto after = Does(Key(aes), 0);
      ASSERT_GOOD(after);
      EXPECT_EQ(*after, before) << step;
      // The keys that are loaded come and go; wrapping keys must not pile up.
      backend().Forget(NameOf(aes, {1}));
      EXPECT_LE(bench.CountObjects(), objects + 1) << step;
    }
  }
}

TEST_P(EpochTest, WaitsForThoseWhoAreMakingKeys) {
  auto hold = std::make_unique<Fallible<Custodian::Under>>(custodian().WrappingKeyFor(token_, Custodian::Keep::kToken));
  ASSERT_GOOD(*hold);
  auto made = backend().GenerateKey(Plain(CKM_AES_KEY_GEN), CKK_AES, 32, **hold);
  ASSERT_GOOD(made);
  ASSERT_GOOD(custodian().BeginEpoch(token_));
  for (int i = 0; i < 20; ++i) {
    const auto step = custodian().StepEpoch(token_);
    ASSERT_GOOD(step);
    EXPECT_NE(*step, Step::kDone);
    clock_now_.Pass(Seconds(60));
  }
  EXPECT_EQ(Count(EpochState::kRetired), 1u);
  const cmk::CmkId late = Keep("late", CKO_SECRET_KEY, CKK_AES, made->material, "AES-256");
  const Bytes before = *Does(Key(late));
  hold.reset();
  EXPECT_EQ(*RunOn(), Step::kDone);
  ASSERT_GOOD(Does(Key(late)));
  EXPECT_EQ(*Does(Key(late)), before);
  // Whoever did not hold the key does not get his record in.
  NewObjects objects;
  objects.key = Key(late);
  objects.key->name = "too late";
  objects.key->versions.front().material = made->material;
  EXPECT_FALSE(custodian().Add(token_, std::move(objects), {}).ok());
}

TEST_P(EpochTest, SessionObjectsKeepTheirWrappingKey) {
  const WrappingKey session = custodian().WrappingKeyFor(token_, Custodian::Keep::kSession)->key;
  auto made = backend().GenerateKey(Plain(CKM_AES_KEY_GEN), CKK_AES, 32, session);
  ASSERT_GOOD(made);
  ASSERT_GOOD(custodian().BeginEpoch(token_));
  ASSERT_EQ(*RunOn(), Step::kDone);
  EXPECT_EQ(custodian().WrappingKeyFor(token_, Custodian::Keep::kSession)->key.reference, session.reference);
  EXPECT_TRUE(Opens(session, made->material));
}

TEST_P(EpochTest, WhatTheDeviceCannotOpenKeepsTheOldKey) {
  const cmk::CmkId good = MakeAes("good");
  const cmk::CmkId bad = MakeAes("bad");
  const auto damage = [](cmk::Cmk& key, const store::TokenRecord&) -> Status {
    key.versions.front().material.blob.back() ^= 1;
    return {};
  };
  ASSERT_GOOD(custodian().Edit("test", bad, damage));
  ASSERT_GOOD(custodian().BeginEpoch(token_));
  EXPECT_FALSE(RunOn().ok());
  EXPECT_EQ(Count(EpochState::kRetired), 1u) << "nothing is given up for lost by itself";
  EXPECT_EQ(Key(good).versions.front().material.epoch, Current());
  EXPECT_GOOD(Does(Key(good)));
  ASSERT_GOOD(custodian().Edit("test", bad, damage));
  EXPECT_EQ(*RunOn(), Step::kDone);
  EXPECT_GOOD(Does(Key(bad)));
}

TEST_P(EpochTest, TheSchedulerBeginsOneADayAfterADestruction) {
  const cmk::CmkId one = MakeAes("one");
  const cmk::CmkId stays = MakeAes("stays");
  ASSERT_GOOD(custodian().Change(one, cmk::CmkEvent::kScheduleDeletion));
  const std::uint32_t epoch = Current();
  for (int hour = 0; hour < 23; ++hour) {
    clock_now_.Pass(Hours(1));
    custody_->scheduler.Tick();
  }
  EXPECT_EQ(Current(), epoch);
  for (int i = 0; i < 8; ++i) {
    clock_now_.Pass(Hours(1));
    custody_->scheduler.Tick();
  }
  EXPECT_GT(Current(), epoch);
  EXPECT_EQ(Count(EpochState::kDestroyed), 1u);
  EXPECT_FALSE(Token().epoch_due.has_value());
  EXPECT_GOOD(Does(Key(stays)));
}

INSTANTIATE_TEST_SUITE_P(Every, EpochTest,
                         testing::Values(RigKind::kSimulatorInside, RigKind::kSimulatorHosted, RigKind::kSoftHsmHosted),
                         [](const auto& tested) { return NameOf(tested.param); });

// What only a device in a process of its own can go through.
class HostedEpochTest : public EpochTest {};

TEST_P(HostedEpochTest, AKilledHostCostsNoKey) {
  std::vector<cmk::CmkId> keys;
  std::vector<Bytes> before;
  for (int i = 0; i < 12; ++i) {
    keys.push_back(MakeAes("key " + std::to_string(i)));
    before.push_back(*Does(Key(keys.back())));
  }
  for (int round = 0; round < 4; ++round) {
    std::atomic<bool> stop{false};
    std::thread killer([&] {
      for (int i = 0; !stop && i < 6; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5 + 7 * i + 3 * round));
        if (const int pid = HsmRig::HostPid(); pid > 0) ::kill(pid, SIGKILL);
      }
      stop = true;
    });
    (void)custodian().BeginEpoch(token_);
    for (int tries = 0; tries < 500; ++tries) {
      const auto end = RunOn();
      if (end.ok() && stop) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    killer.join();
    EXPECT_EQ(Count(EpochState::kRetired) + Count(EpochState::kCondemned), 0u);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto after = Does(Key(keys[i]));
      ASSERT_GOOD(after);
      EXPECT_EQ(*after, before[i]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, HostedEpochTest, testing::Values(RigKind::kSoftHsmHosted),
                         [](const auto& tested) { return NameOf(tested.param); });

}  // namespace
}  // namespace cmkd::daemon

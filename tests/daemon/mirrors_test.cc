// Mirrors: a token whose keys several HSMs hold. One that goes is not missed, one that comes back catches up before it
// serves, and nothing that was deleted comes back with it.
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <thread>

#include "tests/daemon/custody_fixture.h"

namespace cmkd::daemon {
namespace {

using Step = Custodian::EpochStep;
using store::EpochState;

TEST(MirrorStates, AreATableOverAllThatCanBeSeen) {
  for (std::size_t i = 0; i < kMirrorStates; ++i) EXPECT_EQ(static_cast<std::size_t>(kMirrorRows[i].state), i);
  for (const bool there : {false, true}) {
    for (const bool known : {false, true}) {
      for (const std::size_t missing : {0u, 1u, 3u}) {
        for (const std::size_t condemned : {0u, 2u}) {
          const MirrorFacts facts{there, known, missing, condemned};
          const MirrorRow& row = RowOf(MirrorStateOf(facts));
          EXPECT_EQ(row.serves, there && known && missing == 0) << row.name;
          EXPECT_EQ(row.receives, there && known) << row.name;
          EXPECT_EQ(row.catches_up, there && known && missing != 0) << row.name;
          EXPECT_EQ(MirrorStateOf(facts) == MirrorState::kInStep, there && known && missing == 0 && condemned == 0);
        }
      }
    }
  }
}

// Two devices: that of the parameter, which is the first, and "twin" behind a host of its own.
class MirrorTest : public CustodyTest {
 protected:
  void SetUp() override {
    // First: the hosted simulator is prepared by the one inside.
    twin_ = std::make_unique<HsmRig>(GetParam() == RigKind::kSimulatorInside ? RigKind::kSimulatorHosted
                                                                             : RigKind::kSoftHsmHosted);
    ASSERT_TRUE(twin_->missing().empty()) << twin_->missing();
    twin_->config().name = "twin";
    twin_->surroundings().may_be_away = true;
    CustodyTest::SetUp();
    backends_.Add(twin_->Start());
    twin().SetOwner(OwnerWords(opened_.store->id()));
  }

  Backend& twin() { return **backends_.Get("twin"); }
  Backend& all() { return **backends_.Of(Token()); }

  // Its memory is gone and its host is killed: what comes up again finds no token.
  void TakeTwinAway() {
    std::filesystem::rename(TwinMemory(), TwinMemory() + ".away");
    KillTwin();
    ASSERT_TRUE(Eventually([&] { return !twin().available(); }));
  }
  void BringTwinBack() {
    std::filesystem::remove_all(TwinMemory());
    std::filesystem::rename(TwinMemory() + ".away", TwinMemory());
    ASSERT_TRUE(Eventually([&] { return twin().available(); }));
  }
  void KillTwin() {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string pid = entry.path().filename();
      if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
      std::ifstream file(entry.path() / "cmdline");
      std::string line;  // a process that ends meanwhile has none; reading it otherwise would throw
      std::getline(file, line);
      if (line.find("cmkd-hsm-host") != std::string::npos &&
          line.find(twin_->folder() + "/hsm-twin") != std::string::npos)
        ::kill(std::stoi(pid), SIGKILL);
    }
  }
  template <class Condition>
  static bool Eventually(Condition condition) {
    for (int i = 0; i < 6000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  Status Enrol() {
    ASSIGN_OR_RETURN(const Digest fingerprint, custodian().TransportFingerprint(token_, "twin"));
    return custodian().AddMirror(token_, "twin", fingerprint);
  }
  // Steps until the epoch is through, something fails, or it waits for what time does not bring.
  Fallible<Step> RunOn() {
    Fallible<Step> step = Step::kNothing;
    for (int i = 0, waits = 0; i < 1000 && waits < 8; ++i) {
      step = custodian().StepEpoch(token_);
      if (!step.ok() || *step == Step::kDone || *step == Step::kNothing) return step;
      waits = *step == Step::kWaits ? waits + 1 : 0;
      if (*step == Step::kWaits) clock_now_.Pass(Seconds(1));
    }
    return step;
  }
  MirrorSet::Seen See(const std::string& name) {
    const auto seen = custodian().LookAtMirrors(token_);
    EXPECT_GOOD(seen);
    for (const MirrorSet::Seen& each : *seen) {
      if (each.name == name) return each;
    }
    ADD_FAILURE() << name << " is no mirror";
    return {};
  }
  void Enrolled() {
    ASSERT_GOOD(Enrol());
    ASSERT_GOOD(RunOn());
    ASSERT_EQ(See("twin").state, MirrorState::kInStep) << See("twin").trouble;
    ASSERT_EQ(See(backend().name()).state, MirrorState::kInStep);
  }
  std::size_t Count(EpochState state) {
    const auto epochs = Token().epochs;
    return static_cast<std::size_t>(
        std::count_if(epochs.begin(), epochs.end(), [&](const auto& epoch) { return epoch.state == state; }));
  }
  cmk::CmkId Make(const std::string& name) {
    const auto under = custodian().WrappingKeyFor(token_, Custodian::Keep::kToken);
    auto made = all().GenerateKey(Plain(CKM_AES_KEY_GEN), CKK_AES, 32, *under);
    EXPECT_GOOD(made);
    if (!made.ok()) return {};
    return Keep(name, CKO_SECRET_KEY, CKK_AES, made->material, "AES-256");
  }
  // What a version of a key does with a fixed input, in this device.
  static Fallible<Bytes> DoesIn(Backend& device, const cmk::Cmk& key, std::size_t version = 0) {
    KeyMaterial material;
    material.material = key.versions[version].material;
    CK_BYTE iv[12] = {};
    CK_GCM_PARAMS gcm{iv, sizeof iv, 96, nullptr, 0, 128};
    CK_MECHANISM mechanism = With(CKM_AES_GCM, gcm);
    Bytes input(16, 7), output(64);
    CK_ULONG length = output.size();
    RETURN_IF_ERROR(device.Run([&](CK_FUNCTION_LIST_PTR f, Backend::Lease& lease) -> CK_RV {
      const auto handle = lease.Load(NameOf(key.id, key.versions[version].number), material);
      if (!handle.ok()) return handle.error().rv;
      length = output.size();
      if (const CK_RV rv = f->C_EncryptInit(lease.session(), &mechanism, *handle); rv != CKR_OK) return rv;
      return f->C_Encrypt(lease.session(), input.data(), input.size(), output.data(), &length);
    }));
    output.resize(length);
    return output;
  }

  std::unique_ptr<HsmRig> twin_;

 private:
  std::string TwinMemory() const {
    return twin_->folder() + (GetParam() == RigKind::kSimulatorInside ? "/flash" : "/tokens");
  }
};

TEST_P(MirrorTest, ASecondHsmTakesOverWhatThereIsAndTheFirstCanGo) {
  const cmk::CmkId id = MakeAes("key");
  ASSERT_GOOD(custodian().Rotate(id));
  const Bytes first = *DoesIn(backend(), Key(id), 0), second = *DoesIn(backend(), Key(id), 1);
  Enrolled();
  for (Backend* device : {&backend(), &twin(), &all()}) {
    const auto one = DoesIn(*device, Key(id), 0), two = DoesIn(*device, Key(id), 1);
    ASSERT_GOOD(one);
    ASSERT_GOOD(two);
    EXPECT_EQ(*one, first) << device->name();
    EXPECT_EQ(*two, second) << device->name();
  }
  const store::TokenRecord before = Token();
  ASSERT_GOOD(custodian().RemoveMirror(token_, backend().name(), false));
  EXPECT_EQ(Token().hsm, "twin");
  for (const store::WrappingEpoch& epoch : before.epochs) {
    const auto has = backend().HasWrappingKey(epoch.hsm_reference);
    ASSERT_GOOD(has);
    EXPECT_FALSE(*has) << epoch.number;
  }
  ASSERT_GOOD(DoesIn(all(), Key(id), 0));
  EXPECT_EQ(*DoesIn(all(), Key(id), 1), second);
  ASSERT_GOOD(custodian().Rotate(id));
  EXPECT_GOOD(DoesIn(all(), Key(id), 2));
  EXPECT_FALSE(custodian().RemoveMirror(token_, "twin", false).ok()) << "the last one";
}

TEST_P(MirrorTest, OneThatGoesIsNotMissedAndCatchesUpBeforeItServes) {
  const cmk::CmkId id = MakeAes("key");
  const cmk::CmkId doomed = MakeAes("doomed");
  Enrolled();
  const Bytes before = *DoesIn(all(), Key(id));
  const cmk::Cmk deleted = Key(doomed);
  TakeTwinAway();
  EXPECT_EQ(See("twin").state, MirrorState::kAway);
  EXPECT_TRUE(See("twin").away_since.has_value());
  EXPECT_EQ(*DoesIn(all(), Key(id)), before);
  const cmk::CmkId made_alone = Make("made alone");
  ASSERT_GOOD(custodian().Rotate(id));

  ASSERT_GOOD(custodian().Change(doomed, cmk::CmkEvent::kScheduleDeletion));
  ASSERT_EQ(Key(doomed).state, cmk::CmkState::kDestroyed);
  ASSERT_GOOD(custodian().BeginEpoch(token_));
  auto end = RunOn();
  ASSERT_GOOD(end);
  EXPECT_EQ(*end, Step::kWaits) << "the old key may be in the one that is away";
  EXPECT_EQ(Count(EpochState::kCondemned), 1u);
  EXPECT_NE(custodian().ProgressOf(Token()).waits_for.find("twin"), std::string::npos);
  EXPECT_FALSE(DoesIn(backend(), deleted).ok()) << "final in the one that is there";
  // Another one is not held up by it.
  ASSERT_GOOD(custodian().BeginEpoch(token_));
  ASSERT_GOOD(RunOn());
  EXPECT_EQ(Count(EpochState::kRetired), 0u);
  EXPECT_EQ(Count(EpochState::kCondemned), 2u);

  BringTwinBack();
  const MirrorSet::Seen back = See("twin");
  EXPECT_EQ(back.state, MirrorState::kLagging);
  EXPECT_NE(back.facts.missing, 0u);
  EXPECT_NE(back.facts.condemned, 0u);
  EXPECT_FALSE(DoesIn(twin(), Key(made_alone)).ok());
  const auto begun = custodian().LookAfterMirrors(token_, true);
  ASSERT_GOOD(begun);
  EXPECT_TRUE(*begun);
  end = RunOn();
  ASSERT_GOOD(end);
  EXPECT_EQ(*end, Step::kDone);
  EXPECT_EQ(See("twin").state, MirrorState::kInStep);
  EXPECT_EQ(Count(EpochState::kCondemned), 0u);
  EXPECT_FALSE(DoesIn(twin(), deleted).ok()) << "the deletion is final here, too";
  EXPECT_EQ(*DoesIn(twin(), Key(id), 0), before);
  EXPECT_GOOD(DoesIn(twin(), Key(id), 1));
  EXPECT_GOOD(DoesIn(twin(), Key(made_alone)));
  EXPECT_FALSE(*custodian().LookAfterMirrors(token_, true)) << "nothing is left to do";
}

TEST_P(MirrorTest, AHostThatIsKilledAtAnyStepOfCatchingUpDelaysItOnly) {
  const cmk::CmkId id = MakeAes("key");
  const Bytes before = *DoesIn(backend(), Key(id));
  ASSERT_GOOD(Enrol());
  bool done = false;
  for (int steps = 0; !done && steps < 12; ++steps) {
    KillTwin();
    ASSERT_TRUE(Eventually([&] { return twin().available(); }));
    (void)custodian().LookAfterMirrors(token_, true);
    for (int i = 0; i <= steps && !done; ++i) {
      const auto step = custodian().StepEpoch(token_);
      if (step.ok() && *step == Step::kWaits) clock_now_.Pass(Seconds(1));
      done = step.ok() && *step == Step::kDone;
    }
    const auto now = DoesIn(all(), Key(id));
    ASSERT_GOOD(now);
    EXPECT_EQ(*now, before);
  }
  while (*custodian().LookAfterMirrors(token_, true)) ASSERT_GOOD(RunOn());
  ASSERT_GOOD(RunOn());
  EXPECT_EQ(See("twin").state, MirrorState::kInStep) << See("twin").trouble;
  EXPECT_EQ(*DoesIn(twin(), Key(id)), before);
}

TEST_P(MirrorTest, CatchingUpGoesOnAfterAPowerLossAtAnyStepOfTheStore) {
  const cmk::CmkId id = MakeAes("key");
  const Bytes before = *DoesIn(backend(), Key(id));
  const Digest fingerprint = *custodian().TransportFingerprint(token_, "twin");
  for (const auto fault : {store::Fault::kPowerLossBefore, store::Fault::kPowerLossAfter}) {
    bool struck = true;
    for (std::uint64_t step = 1; struck && step < 40; ++step) {
      faults_->Arm(fault, step);
      (void)custodian().AddMirror(token_, "twin", fingerprint);
      (void)RunOn();
      struck = faults_->power_lost();
      NewCustody();
      // What a restarted daemon does; the operator asks again if his answer was lost.
      if (Token().mirrors.size() < 2) {
        ASSERT_GOOD(custodian().AddMirror(token_, "twin", fingerprint));
      }
      ASSERT_GOOD(RunOn());
      while (*custodian().LookAfterMirrors(token_, true)) ASSERT_GOOD(RunOn());
      ASSERT_GOOD(RunOn());
      EXPECT_EQ(See("twin").state, MirrorState::kInStep) << step << ": " << See("twin").trouble;
      EXPECT_EQ(Count(EpochState::kCurrent), 1u) << step;
      EXPECT_EQ(Count(EpochState::kPending) + Count(EpochState::kRetired) + Count(EpochState::kCondemned), 0u) << step;
      for (Backend* device : {&backend(), &twin()}) {
        const auto now = DoesIn(*device, Key(id));
        ASSERT_GOOD(now);
        EXPECT_EQ(*now, before) << device->name();
      }
      ASSERT_GOOD(custodian().RemoveMirror(token_, "twin", false));
    }
    EXPECT_FALSE(struck) << "it came to an end without the fault";
  }
}

TEST_P(MirrorTest, AnotherDeviceBehindTheSameNameGetsNothing) {
  const cmk::CmkId id = MakeAes("key");
  Digest wrong = *custodian().TransportFingerprint(token_, "twin");
  wrong[0] ^= 1;
  const Status refused = custodian().AddMirror(token_, "twin", wrong);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().rv, CKR_ARGUMENTS_BAD);
  EXPECT_TRUE(Token().mirrors.empty());
  Enrolled();
  {
    auto txn = faults_->BeginWrite("test");
    store::TokenRecord token = *(*txn)->GetToken(token_);
    token.mirrors.back().fingerprint = ToBytes(wrong);
    ASSERT_TRUE((*txn)->PutToken(token).ok());
    ASSERT_TRUE((*txn)->Commit().ok());
  }
  EXPECT_EQ(See("twin").state, MirrorState::kForeign);
  ASSERT_GOOD(custodian().BeginEpoch(token_));
  ASSERT_GOOD(RunOn());
  const auto has = twin().HasWrappingKey(CurrentWrappingKey(Token())->reference);
  ASSERT_GOOD(has);
  EXPECT_FALSE(*has);
  EXPECT_GOOD(DoesIn(all(), Key(id)));
  EXPECT_FALSE(*custodian().LookAfterMirrors(token_, true)) << "no epoch brings a stranger into step";
  EXPECT_FALSE(custodian().RemoveMirror(token_, backend().name(), false).ok()) << "nobody else is in step";
  const std::uint32_t epoch = CurrentWrappingKey(Token())->epoch;
  ASSERT_GOOD(custodian().RemoveMirror(token_, "twin", true));
  ASSERT_GOOD(RunOn());
  EXPECT_GT(CurrentWrappingKey(Token())->epoch, epoch) << "what it had is of no use for what comes";
  EXPECT_EQ(Count(EpochState::kCondemned), 0u) << "given up as lost, it holds nothing up";
}

TEST_P(MirrorTest, AKeyThatOneDeviceKeepsToItselfIsRefused) {
  // What each keeps to itself, if anything: SoftHSM Edwards keys, NSS (which has none of those) all curves.
  const bool edwards = backend().FindMechanism(CKM_EC_EDWARDS_KEY_PAIR_GEN) != nullptr;
  const cmk::CmkId resident = edwards ? MakeEd25519("resident") : MakeP256("resident");
  if (Key(resident).versions.front().material.kind == cmk::Material::Kind::kResident) {
    const Status refused = Enrol();
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().rv, CKR_ACTION_PROHIBITED);
    EXPECT_TRUE(Token().mirrors.empty());
    return;
  }
  // The simulators wrap everything.
  Enrolled();
  EXPECT_GOOD(Does(Key(resident)));
}

TEST_P(MirrorTest, NothingIsLeftOverAndNothingLooksAltered) {
  MakeAes("key");
  Enrolled();
  Registry registry([](Application&) {});
  const auto found = Reconcile(*faults_, backends_, custodian(), registry, RootKeyReferences(state()), {});
  ASSERT_GOOD(found);
  for (const Discrepancy& finding : found->findings) {
    // NSS's softoken does not remember of a token object that it was made there (docs/hsm.md).
    if (GetParam() == RigKind::kNssHosted && finding.hsm == "test" &&
        finding.what.find("not made in the device") != finding.what.npos)
      continue;
    ADD_FAILURE() << finding.hsm << " " << Name(finding.kind) << " " << finding.what << " " << finding.label;
  }
}

TEST_P(MirrorTest, TheRootKeyOpensInEither) {
  ASSERT_TRUE(ShareRootKey(state(), backend(), twin()).ok());
  const auto one = LoadRootKey(state(), backend(), RootKeyState::kReady);
  const auto other = LoadRootKey(state(), twin(), RootKeyState::kReady);
  ASSERT_TRUE(one.ok()) << one.error();
  ASSERT_TRUE(other.ok()) << other.error();
  EXPECT_TRUE(Equal(one->view(), other->view()));
  EXPECT_EQ(RootKeyReferences(state()).size(), 2u);
  const auto references = RootKeyReferences(state());
  ASSERT_TRUE(ShareRootKey(state(), backend(), twin()).ok());
  EXPECT_EQ(RootKeyReferences(state()), references) << "once is enough";
}

// opencryptoki's soft token is none of them: it wraps no key, so all of them reside in it.
INSTANTIATE_TEST_SUITE_P(Pairs, MirrorTest,
                         testing::Values(RigKind::kSimulatorInside, RigKind::kSimulatorHosted, RigKind::kSoftHsmHosted,
                                         RigKind::kNssHosted),
                         [](const auto& tested) { return NameOf(tested.param); });

}  // namespace
}  // namespace cmkd::daemon

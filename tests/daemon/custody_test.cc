// What the custodian's changes leave in the HSM, and what it does about keys that are wanted while they wait.
#include <gmock/gmock.h>

#include "tests/daemon/custody_fixture.h"

namespace cmkd::daemon {
namespace {

using ::testing::IsEmpty;

class CustodianTest : public CustodyTest {
 protected:
  std::vector<Discrepancy> Look(const Repair& repair = {}) {
    Registry registry([](Application&) {});
    const auto done = Reconcile(*faults_, backends_, custodian(), registry, {}, repair);
    EXPECT_GOOD(done);
    std::vector<Discrepancy> orphans;
    for (const Discrepancy& finding : done->findings) {
      if (finding.kind == DiscrepancyKind::kOrphan && finding.label.ends_with(" key")) orphans.push_back(finding);
    }
    return orphans;
  }
  NewObjects NewEd25519(const std::string& name) {
    const auto under = custodian().WrappingKeyFor(token_, Custodian::Keep::kToken);
    spec::Attributes parameters;
    parameters.Set(CKA_EC_PARAMS, Bytes{6, 3, 0x2b, 0x65, 0x70});
    auto made = backend().GenerateKeyPair(Plain(CKM_EC_EDWARDS_KEY_PAIR_GEN), CKK_EC_EDWARDS, parameters, *under);
    EXPECT_GOOD(made);
    NewObjects objects;
    cmk::Cmk key;
    key.name = name;
    key.current = {1};
    cmk::KeyVersion version;
    version.number = {1};
    version.material = made->material;
    key.versions.push_back(version);
    objects.key = key;
    spec::Attributes attributes;
    attributes.SetUlong(CKA_CLASS, CKO_PRIVATE_KEY);
    attributes.SetUlong(CKA_KEY_TYPE, CKK_EC_EDWARDS);
    attributes.SetText(CKA_LABEL, name);
    attributes.SetBool(CKA_TOKEN, true);
    objects.objects.push_back(attributes);
    return objects;
  }
  Fallible<std::vector<CK_OBJECT_HANDLE>> AddEd25519(const std::string& name, const RequestName& request) {
    return custodian().Add(token_, NewEd25519(name), request);
  }
  // The keys of the token objects from this handle on.
  std::vector<cmk::CmkId> KeysFrom(CK_OBJECT_HANDLE handle) {
    std::vector<cmk::CmkId> keys;
    for (auto object = custody_->records.GetObject(handle); object.ok();
         object = custody_->records.GetObject(++handle)) {
      keys.push_back(*(*object)->cmk);
    }
    return keys;
  }
  Fallible<std::vector<CK_OBJECT_HANDLE>> AddThree(const RequestName& request) {
    std::vector<NewObjects> all;
    for (const char* name : {"first", "second", "third"}) all.push_back(NewEd25519(name));
    std::optional<std::size_t> refused;
    return custodian().AddAll(token_, std::move(all), request, &refused);
  }
};

TEST_P(CustodianTest, ARequestThatComesTwiceLeavesNoOrphan) {
  const RequestName request{Bytes(16, 5), Bytes(32, 6)};
  const auto first = AddEd25519("once", request);
  ASSERT_GOOD(first);
  const auto second = AddEd25519("once", request);
  ASSERT_GOOD(second);
  EXPECT_EQ(*first, *second);
  EXPECT_THAT(Look(), IsEmpty());
  EXPECT_FALSE(AddEd25519("once", {Bytes(16, 5), Bytes(32, 7)}).ok()) << "the same id for another request";
  EXPECT_THAT(Look(), IsEmpty());
  EXPECT_GOOD(Does([&] {
    cmk::Cmk key = Key(*(*custody_->records.GetObject(first->front()))->cmk);
    key.spec = "ED25519";
    return key;
  }()));
}

TEST_P(CustodianTest, KeysThatAreMadeTogetherAreAllThereOrNone) {
  for (const auto fault : {store::Fault::kPowerLossBefore, store::Fault::kPowerLossAfter}) {
    bool struck = true;
    for (std::uint8_t step = 1; struck; ++step) {
      const auto both = static_cast<std::uint8_t>(2 * step + (fault == store::Fault::kPowerLossAfter ? 1 : 0));
      const RequestName request{Bytes(16, both), Bytes(32, 1)};
      const CK_OBJECT_HANDLE before = AddEd25519("before", {})->front();
      faults_->Arm(fault, step);
      const auto first = AddThree(request);
      struck = faults_->power_lost();
      EXPECT_TRUE(struck || first.ok());
      NewCustody();
      const auto keys = KeysFrom(before + 1);
      const std::size_t there = keys.size();
      EXPECT_TRUE(there == 0 || there == 3) << there << " at step " << int{step};
      // It was not answered, so the application asks again.
      const auto second = AddThree(request);
      ASSERT_GOOD(second);
      ASSERT_EQ(second->size(), 3u);
      EXPECT_EQ(second->front(), before + 1);
      const auto now = KeysFrom(before + 1);
      ASSERT_EQ(now.size(), 3u) << int{step};
      if (there == 3) {
        EXPECT_EQ(now, keys) << "they were made already";
      }
      for (const cmk::CmkId& id : now) {
        cmk::Cmk key = Key(id);
        key.spec = "ED25519";
        EXPECT_GOOD(Does(key));
      }
      // What the store did not come to know is destroyed at once; not while it is in doubt whether it did.
      const std::size_t orphans = Look({.orphans = true}).size();
      EXPECT_TRUE(orphans == 0 || (orphans == 3 && there == 0 && struck)) << orphans << " at step " << int{step};
      EXPECT_THAT(Look(), IsEmpty());
    }
  }
}

TEST_P(CustodianTest, APowerLossAtAnyStepOfARotationLeavesOneCurrentVersionAndNoOrphan) {
  const cmk::CmkId aes = MakeAes("aes");
  const Bytes before = *Does(Key(aes), 0);
  for (const auto fault : {store::Fault::kPowerLossBefore, store::Fault::kPowerLossAfter}) {
    bool struck = true;
    for (std::uint64_t step = 1; struck; ++step) {
      faults_->Arm(fault, step);
      const bool answered = custodian().Rotate(aes).ok();
      struck = faults_->power_lost();
      NewCustody();
      const cmk::Cmk key = Key(aes);
      std::size_t current = 0;
      for (const cmk::KeyVersion& version : key.versions) current += version.state == cmk::VersionState::kCurrent;
      EXPECT_EQ(current, 1u) << step;
      EXPECT_EQ(key.current, key.versions.back().number) << step;
      EXPECT_TRUE(struck || answered) << step;
      const auto after = Does(key, 0);
      ASSERT_GOOD(after);
      EXPECT_EQ(*after, before) << step;
      EXPECT_GOOD(Does(key, key.versions.size() - 1));
      EXPECT_THAT(Look(), IsEmpty()) << step;
    }
  }
}

TEST_P(CustodianTest, WhoeverWantsADoomedKeyPutsItsDeletionOffWhereThatIsPolicy) {
  config_.default_profile = TokenProfile::kManaged;
  ASSERT_GOOD(custodian().InitToken(1, "managed", Bytes(32, 1)));
  const auto tokens = custody_->records.ListTokens();
  for (const auto& token : *tokens) {
    if (token->label == "managed") token_ = token->id;
  }
  const cmk::CmkId key = MakeAes("doomed");
  ASSERT_GOOD(custodian().Change(key, {cmk::CmkEvent::kScheduleDeletion, Days(7)}));
  const Timestamp before = *Key(key).dates.deletion_date;
  custodian().NoteWanted(key);
  EXPECT_THAT(custodian().PutOffWanted(), IsEmpty()) << "not the policy";
  config_.attempt_extends_days = 10;
  custodian().NoteWanted(key);
  EXPECT_EQ(custodian().PutOffWanted().size(), 1u);
  EXPECT_EQ(*Key(key).dates.deletion_date, before + Days(3));
  clock_now_.Pass(Hours(2));
  custodian().NoteWanted(key);
  EXPECT_THAT(custodian().PutOffWanted(), IsEmpty()) << "at most once a day";
  clock_now_.Pass(Hours(23));
  custodian().NoteWanted(key);
  EXPECT_EQ(custodian().PutOffWanted().size(), 1u);
  ASSERT_GOOD(custodian().Change(key, cmk::CmkEvent::kCancelDeletion));
  custodian().NoteWanted(key);
  EXPECT_THAT(custodian().PutOffWanted(), IsEmpty()) << "it does not wait any more";
}

INSTANTIATE_TEST_SUITE_P(Every, CustodianTest,
                         testing::Values(RigKind::kSimulatorInside, RigKind::kSimulatorHosted, RigKind::kSoftHsmHosted),
                         [](const auto& tested) { return NameOf(tested.param); });

}  // namespace
}  // namespace cmkd::daemon

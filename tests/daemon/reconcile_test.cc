// What lies in an HSM, held against what the store says.
#include "daemon/custody/reconcile.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <thread>

#include "daemon/hsm/key_templates.h"
#include "daemon/startup/root_key.h"
#include "tests/daemon/custody_fixture.h"

namespace cmkd::daemon {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ReconcileTest : public CustodyTest {
 protected:
  std::vector<Discrepancy> Look(const Repair& repair = {}) {
    auto done = Reconcile(*faults_, backends_, custodian(), registry_, RootKeyReferences(state()), repair);
    EXPECT_GOOD(done);
    return done.ok() ? std::move(done->findings) : std::vector<Discrepancy>{};
  }
  void DestroyInDevice(ByteView id) {
    const auto objects = backend().ListObjects();
    ASSERT_GOOD(objects);
    for (const DeviceObject& object : *objects) {
      if (Equal(object.attributes.View(CKA_ID), id)) {
        ASSERT_GOOD(backend().DestroyObject(object));
      }
    }
  }
  // A token key as somebody else would make it there.
  void MakeInDevice(ByteView id, std::string_view label, bool decrypts) {
    const Status made = backend().Run([&](CK_FUNCTION_LIST_PTR f, Backend::Lease& lease) -> CK_RV {
      ObjectTemplate t;
      t.AddUlong(CKA_CLASS, CKO_SECRET_KEY);
      t.AddUlong(CKA_KEY_TYPE, CKK_AES);
      t.AddUlong(CKA_VALUE_LEN, 32);
      t.AddBytes(CKA_ID, id);
      t.AddBytes(CKA_LABEL, AsBytes(label));
      for (const auto yes : {CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_WRAP, CKA_UNWRAP}) t.AddBool(yes, true);
      for (const auto no : {CKA_EXTRACTABLE, CKA_DERIVE, CKA_SIGN, CKA_VERIFY}) t.AddBool(no, false);
      t.AddBool(CKA_ENCRYPT, decrypts);
      t.AddBool(CKA_DECRYPT, decrypts);
      CK_MECHANISM mechanism = Plain(CKM_AES_KEY_GEN);
      CK_OBJECT_HANDLE handle = 0;
      return f->C_GenerateKey(lease.session(), &mechanism, t.data(), t.size(), &handle);
    });
    ASSERT_GOOD(made);
  }

  Registry registry_{[](Application&) {}};
};

TEST_P(ReconcileTest, NothingIsWrongWhereNothingHappened) {
  MakeAes("aes");
  MakeEd25519("ed");
  EXPECT_THAT(Look(), IsEmpty());
  ASSERT_GOOD(custodian().BeginEpoch(token_));
  for (int i = 0; i < 12; ++i) {
    (void)custodian().StepEpoch(token_);
    clock_now_.Pass(Seconds(1));
    EXPECT_THAT(Look(), IsEmpty()) << "also in the middle of an epoch";
  }
}

TEST_P(ReconcileTest, OrphansAreFoundAndDestroyedOnlyWhenAsked) {
  const auto orphan = backend().MakeWrappingKey(77);
  ASSERT_GOOD(orphan);
  MakeInDevice(Bytes(16, 0xAB), "somebody else's", true);
  auto findings = Look();
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].kind, DiscrepancyKind::kOrphan);
  EXPECT_EQ(findings[0].id, orphan->reference);
  EXPECT_FALSE(findings[0].destroyed);
  findings = Look({.orphans = true, .leftovers = true, .nameless = true});
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_TRUE(findings[0].destroyed);
  EXPECT_THAT(Look(), IsEmpty());
}

TEST_P(ReconcileTest, WhatIsMissingDoubleOrAlteredIsTold) {
  const WrappingKey current = *CurrentWrappingKey(Token());
  DestroyInDevice(current.reference);
  auto findings = Look({.orphans = true, .leftovers = true, .nameless = true});
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].kind, DiscrepancyKind::kMissing);
  EXPECT_THAT(findings[0].what, HasSubstr("wrapping key of token ring"));
  // Somebody slips in one of his own, which also decrypts.
  MakeInDevice(current.reference, "cmkd wrapping key", true);
  findings = Look();
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].kind, DiscrepancyKind::kAltered);
  MakeInDevice(current.reference, "cmkd wrapping key", false);
  findings = Look({.orphans = true, .leftovers = true, .nameless = true});
  ASSERT_THAT(findings, SizeIs(2));
  EXPECT_EQ(findings[1].kind == DiscrepancyKind::kDouble || findings[0].kind == DiscrepancyKind::kDouble, true);
  for (const Discrepancy& finding : findings) EXPECT_FALSE(finding.destroyed) << "what is named is never destroyed";
}

TEST_P(ReconcileTest, NamelessKeysAndLeftoversAreLeftAloneUnlessAskedFor) {
  MakeInDevice({}, "", false);
  const std::string owner = OwnerWords(faults_->id());
  MakeInDevice(Bytes(16, 1), owner + " session key", false);
  MakeInDevice(Bytes(16, 2), owner + " key", false);
  MakeInDevice(Bytes(16, 3), "cmkd 0123456789abcdef key", false);
  EXPECT_THAT(Look(), SizeIs(3)) << "another store's objects are none of ours";
  auto findings = Look({.orphans = true, .leftovers = false, .nameless = false});
  EXPECT_EQ(std::count_if(findings.begin(), findings.end(), [](const Discrepancy& f) { return f.destroyed; }), 1);
  EXPECT_THAT(Look(), SizeIs(2));
  Look({.orphans = true, .leftovers = true, .nameless = true});
  EXPECT_THAT(Look(), IsEmpty());
}

TEST_P(ReconcileTest, AKeyThatIsBeingMadeIsNoOrphan) {
  const cmk::CmkId resident = MakeEd25519("ed");
  if (Key(resident).versions.front().material.kind != cmk::Material::Kind::kResident) {
    EXPECT_NE(GetParam(), RigKind::kSoftHsmHosted) << "which does not wrap such keys";
    return;
  }
  auto under =
      std::make_unique<Fallible<Custodian::Under>>(custodian().WrappingKeyFor(token_, Custodian::Keep::kToken));
  spec::Attributes parameters;
  parameters.Set(CKA_EC_PARAMS, Bytes{6, 3, 0x2b, 0x65, 0x70});
  auto made = backend().GenerateKeyPair(Plain(CKM_EC_EDWARDS_KEY_PAIR_GEN), CKK_EC_EDWARDS, parameters, **under);
  ASSERT_GOOD(made);
  std::thread maker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    Keep("late", CKO_PRIVATE_KEY, CKK_EC_EDWARDS, made->material, "ED25519");
    under.reset();
  });
  EXPECT_THAT(Look({.orphans = true, .leftovers = true, .nameless = true}), IsEmpty());
  maker.join();
  DestroyInDevice(Key(resident).versions.front().material.blob);
  const auto findings = Look();
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].kind, DiscrepancyKind::kMissing);
  EXPECT_THAT(findings[0].what, HasSubstr("ring/ed"));
}

INSTANTIATE_TEST_SUITE_P(Every, ReconcileTest,
                         testing::Values(RigKind::kSimulatorInside, RigKind::kSimulatorHosted, RigKind::kSoftHsmHosted),
                         [](const auto& tested) { return NameOf(tested.param); });

}  // namespace
}  // namespace cmkd::daemon

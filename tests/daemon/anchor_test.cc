// The note in the HSM of how far the store has come: old copies are refused, the store itself never is.
#include "daemon/custody/anchor.h"

#include <gmock/gmock.h>

#include "tests/daemon/custody_fixture.h"

namespace cmkd::daemon {
namespace {

using ::testing::HasSubstr;

class AnchorTest : public CustodyTest {
 protected:
  void SetUp() override {
    anchored_ = true;
    CustodyTest::SetUp();
  }
  void Copy(const std::string& from, const std::string& to) {
    std::filesystem::remove_all(to);
    std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
  }
  std::uint64_t Noted() { return *opened_.anchor->Read(); }
  void TickLater() {
    clock_now_.Pass(Seconds(5));
    custody_->scheduler.Tick();
  }
};

TEST_P(AnchorTest, AnOldCopyIsRefusedUntilAnOperatorAcceptsIt) {
  const cmk::CmkId key = MakeAes("key");
  TickLater();
  Stop();
  Copy(state(), root_ + "/copy");
  Start();
  ASSERT_GOOD(custodian().Change(key, cmk::CmkEvent::kDisable));
  TickLater();
  const std::uint64_t reached = faults_->Generation();
  EXPECT_EQ(Noted(), reached) << "what must not be undone is noted within seconds";
  Stop();
  std::filesystem::rename(state(), root_ + "/today");
  Copy(root_ + "/copy", state());
  const auto refused = TryToStart();
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error(), HasSubstr("this is a copy from before"));
  EXPECT_THAT(refused.error(), HasSubstr("--accept-older-store"));
  Start(OlderStore::kAccepted);
  EXPECT_EQ(Key(key).state, cmk::CmkState::kEnabled);
  EXPECT_GT(faults_->Generation(), reached);
  ASSERT_GOOD(custodian().Change(key, cmk::CmkEvent::kEnable));
  TickLater();
  Stop();
  EXPECT_TRUE(TryToStart().ok()) << "from now on it is the newest";
  Stop();
  // And the one it replaced is the old copy.
  Copy(root_ + "/today", state());
  EXPECT_FALSE(TryToStart().ok());
}

TEST_P(AnchorTest, TheStoreItselfIsNeverRefused) {
  const cmk::CmkId key = MakeAes("key");
  // Crashes between a commit and its note, and between notes.
  for (int i = 0; i < 6; ++i) {
    ASSERT_GOOD(custodian().Change(key, i % 2 == 0 ? cmk::CmkEvent::kDisable : cmk::CmkEvent::kEnable));
    if (i % 3 == 0) TickLater();
    EXPECT_LE(Noted(), faults_->Generation());
    Stop();
    Start();
  }
}

TEST_P(AnchorTest, OrdinaryWorkIsNotedRarely) {
  for (int i = 0; i < 3; ++i) TickLater();
  const std::uint64_t before = Noted();
  MakeAes("key");
  for (int i = 0; i < 20; ++i) TickLater();
  EXPECT_EQ(Noted(), before) << "a device's memory wears out";
  clock_now_.Pass(Seconds(600));
  TickLater();
  EXPECT_GE(Noted(), faults_->Generation() - 1);
}

TEST_P(AnchorTest, ANoteIsReplacedAndTwoOfThemCountAsTheHigher) {
  Anchor anchor(backend(), "cmkd anchor of a test");
  EXPECT_EQ(*anchor.Read(), 0u);
  ASSERT_GOOD(anchor.Write(7));
  ASSERT_GOOD(anchor.Write(9));
  EXPECT_EQ(backend().ReadNotes("cmkd anchor of a test")->size(), 1u);
  ASSERT_GOOD(backend().ReplaceNote("cmkd anchor of a test", AsBytes("something else")));
  Anchor other(backend(), "cmkd anchor of a test");
  EXPECT_EQ(*other.Read(), 0u);
  ASSERT_GOOD(other.Write(3));
  EXPECT_EQ(*Anchor(backend(), "cmkd anchor of a test").Read(), 3u);
  EXPECT_EQ(*Anchor(backend(), "cmkd anchor of another").Read(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Every, AnchorTest, testing::Values(RigKind::kSimulatorInside, RigKind::kSoftHsmHosted),
                         [](const auto& tested) { return NameOf(tested.param); });

}  // namespace
}  // namespace cmkd::daemon

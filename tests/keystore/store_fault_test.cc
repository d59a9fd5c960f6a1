// Faults at every step: whatever fails and whenever, a change is there whole or not at all, and what was acknowledged
// stays.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>

#include "keystore/cmk/lifecycle.h"
#include "tests/keystore/store_testing.h"

namespace cmkd::store {
namespace {

// A change like the daemon's: a key is made, with its token's counters, its objects and its request.
StoreResult<void> MakeKey(Store& store) {
  ASSIGN_OR_RETURN(auto txn, store.BeginWrite("key.create"));
  const cmk::Cmk cmk = SomeCmk(1, IdOf<cmk::TokenId>(1), "payments");
  RETURN_IF_ERROR(txn->PutToken(SomeToken(1)));
  RETURN_IF_ERROR(txn->PutCmk(cmk, NameRule::kUnique));
  for (int i = 0; i < 2; ++i) {
    ObjectRecord object = SomeObject(cmk.token, {{1, {7}}});
    ASSIGN_OR_RETURN(object.serial, txn->NextObjectSerial());
    object.cmk = cmk.id;
    RETURN_IF_ERROR(txn->PutObject(object));
  }
  RETURN_IF_ERROR(txn->PutRequest({{'t'}, {}, {{1}}, {}}, kTestDay));
  RETURN_IF_ERROR(txn->PutTime(TimeAt(kTestDay + Seconds(1))));
  return txn->Commit();
}

// How many of the change's traces are there.
int Traces(Store& store) {
  auto txn = Must(store.BeginRead());
  int traces = 0;
  traces += Must(txn->FindToken(IdOf<cmk::TokenId>(1))).has_value();
  traces += Must(txn->FindCmk(IdOf<cmk::CmkId>(1))).has_value();
  traces += !Must(txn->FindCmksByName(IdOf<cmk::TokenId>(1), "payments")).empty();
  traces += static_cast<int>(Must(txn->FindObjects(IdOf<cmk::TokenId>(1), std::vector<Term>{{1, {7}}})).size());
  traces += static_cast<int>(Must(txn->CountObjects(IdOf<cmk::TokenId>(1))));
  traces += Must(txn->FindRequest(Bytes{'t'}, kTestDay)).has_value();
  traces += Must(txn->ReadMeta()).time.highest > kTestDay;
  traces += Must(txn->ReadMeta()).next_object_serial == 3;
  return traces;
}
constexpr int kAllTraces = 10;
constexpr std::uint64_t kSteps = 9;

const char* FaultName(Fault fault) {
  switch (fault) {
    case Fault::kFailBefore: return "FailBefore";
    case Fault::kFailAfter: return "FailAfter";
    case Fault::kPowerLossBefore: return "PowerLossBefore";
    case Fault::kPowerLossAfter: return "PowerLossAfter";
    case Fault::kNone: break;
  }
  return "None";
}

class EveryFault : public ::testing::TestWithParam<Fault> {};
INSTANTIATE_TEST_SUITE_P(Store, EveryFault,
                         ::testing::Values(Fault::kFailBefore, Fault::kFailAfter, Fault::kPowerLossBefore,
                                           Fault::kPowerLossAfter),
                         [](const auto& param) { return std::string(FaultName(param.param)); });

TEST_P(EveryFault, AtAnyStepLeavesAllOrNothing) {
  const bool after = GetParam() == Fault::kFailAfter || GetParam() == Fault::kPowerLossAfter;
  const bool power = GetParam() == Fault::kPowerLossBefore || GetParam() == Fault::kPowerLossAfter;
  for (std::uint64_t step = 1; step <= kSteps + 1; ++step) {
    SCOPED_TRACE(step);
    StoreUnderTest store(StoreKind::kFault);
    store.faults().Arm(GetParam(), step);
    const auto made = MakeKey(*store);
    const bool struck = step <= kSteps;
    ASSERT_EQ(made.ok(), !struck);
    EXPECT_EQ(store.faults().struck_label(), struck ? "key.create" : "");
    EXPECT_EQ(store.faults().power_lost(), struck && power);
    if (struck && power) {
      EXPECT_FALSE(store->BeginRead().ok());
      EXPECT_FALSE(store->BeginWrite("more").ok());
    }
    store.Reopen();
    const bool there = !struck || (after && step == kSteps);
    EXPECT_EQ(Traces(*store), there ? kAllTraces : 0);
    if (!there) {
      MustDo(MakeKey(*store));
      EXPECT_EQ(Traces(*store), kAllTraces) << "the same change goes through when nothing fails";
    }
  }
}

TEST(StoreFaults, AFailedStepSpoilsItsTransactionEvenIfNobodyLooks) {
  StoreUnderTest store(StoreKind::kFault);
  store.faults().Arm(Fault::kFailBefore, 2);
  auto txn = Must(store->BeginWrite("careless"));
  MustDo(txn->PutToken(SomeToken(1)));
  EXPECT_FALSE(txn->PutToken(SomeToken(2)).ok());
  EXPECT_FALSE(txn->PutToken(SomeToken(3)).ok());
  EXPECT_FALSE(txn->Commit().ok());
  txn.reset();
  store.Reopen();
  EXPECT_TRUE(Must(Must(store->BeginRead())->ListTokens()).empty());
}

TEST(StoreFaults, RepeatGoesOnFailing) {
  StoreUnderTest store(StoreKind::kFault);
  store.faults().Arm(Fault::kFailBefore, 1, true);
  EXPECT_FALSE(MakeKey(*store).ok());
  EXPECT_FALSE(MakeKey(*store).ok());
  store.faults().Restart();
  EXPECT_TRUE(MakeKey(*store).ok());
}

TEST(StoreFaults, WithoutTheSealingKeyNothingIsWrittenAndNothingLost) {
  TempDir dir;
  FakeSealer sealer;
  MustDo(CreateLmdbStore(dir.Join("store"), sealer, IdOf<StoreId>(1), kTestDay, TestOptions()));
  auto store = Must(OpenLmdbStore(dir.Join("store"), sealer, TestOptions()));
  MustDo(MakeKey(*store));
  sealer.set_unavailable(true);
  {
    auto txn = Must(store->BeginWrite("x"));
    const auto put = txn->PutToken(SomeToken(2));
    ASSERT_FALSE(put.ok());
    EXPECT_EQ(put.error().kind, StoreErrorKind::kIo) << "not corrupt: the records were not even looked at";
    EXPECT_FALSE(txn->Commit().ok());
  }
  {
    auto txn = Must(store->BeginRead());
    const auto found = txn->FindCmk(IdOf<cmk::CmkId>(1));
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.error().kind, StoreErrorKind::kIo);
  }
  sealer.set_unavailable(false);
  EXPECT_EQ(Traces(*store), kAllTraces);
}

// The largest size a file of this process may have, while this lives; writing beyond is refused as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::uint64_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  sighandler_t handler_;
};

StoreResult<void> AddObject(Store& store, std::size_t bytes) {
  ASSIGN_OR_RETURN(auto txn, store.BeginWrite("object.create"));
  ObjectRecord object = SomeObject(IdOf<cmk::TokenId>(1), {});
  object.attributes = {{1, Bytes(bytes, 1)}};
  ASSIGN_OR_RETURN(object.serial, txn->NextObjectSerial());
  RETURN_IF_ERROR(txn->PutObject(object));
  return txn->Commit();
}

TEST(StoreFaults, AFullDiskIsSaidAndNothingIsLostAndItGoesOnWithSpace) {
  StoreUnderTest store(StoreKind::kLmdb);
  MustDo(MakeKey(*store));
  const std::uint64_t generation = store->Generation();
  std::uint64_t added = 0;
  {
    const FileSizeLimit limit(std::filesystem::file_size(store.lmdb_path() + "/data.mdb") + 200'000);
    StoreResult<void> result;
    while ((result = AddObject(*store, 10'000)).ok() && added < 1000) ++added;
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind, StoreErrorKind::kFull) << result.error().sentence;
    EXPECT_EQ(store->Generation(), generation + added);
    EXPECT_EQ(Traces(*store), kAllTraces - 1 + static_cast<int>(added) + (added == 0)) << "reading goes on";
  }
  MustDo(AddObject(*store, 10'000));
  store.Reopen();
  EXPECT_EQ(store->Generation(), generation + added + 1);
  EXPECT_EQ(Must(Must(store->BeginRead())->CountObjects(IdOf<cmk::TokenId>(1))), 2 + added + 1);
}

TEST(StoreFaults, AChangeLargerThanTheMapGoesThroughWhenTriedAgain) {
  StoreUnderTest store(StoreKind::kLmdb);  // its map begins with one MiB
  int refused = 0;
  const auto once = [&]() -> StoreResult<void> {
    ASSIGN_OR_RETURN(auto txn, store->BeginWrite("large"));
    for (int i = 0; i < 6; ++i) {
      ObjectRecord object = SomeObject(IdOf<cmk::TokenId>(1), {});
      object.attributes = {{1, Bytes(500'000, 1)}};
      ASSIGN_OR_RETURN(object.serial, txn->NextObjectSerial());
      RETURN_IF_ERROR(txn->PutObject(object));
    }
    return txn->Commit();
  };
  for (StoreResult<void> result = once(); !result.ok(); result = once()) {
    ASSERT_EQ(result.error().kind, StoreErrorKind::kFull);
    ASSERT_LT(++refused, 8);
  }
  EXPECT_GT(refused, 0);
  store.Reopen();
  EXPECT_EQ(Must(Must(store->BeginRead())->CountObjects(IdOf<cmk::TokenId>(1))), 6u);
}

}  // namespace
}  // namespace cmkd::store

// A large store that is opened before all of it was checked: what is touched is right or refused, and the check in the
// background finds the rest.
#include <gtest/gtest.h>
#include <lmdb.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>

#include "keystore/store/first_touch.h"
#include "keystore/store/keys.h"
#include "keystore/store/lmdb_place.h"
#include "tests/keystore/store_testing.h"

namespace cmkd::store {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kKeys = 120;

Bytes Copy(const MDB_val& value) { return ToBytes({static_cast<const std::uint8_t*>(value.mv_data), value.mv_size}); }
MDB_val Val(Bytes& bytes) { return {bytes.size(), bytes.data()}; }

// What the check in the background said, once it did.
class Verdict {
 public:
  void Give(const StoreResult<void>& result) {
    const std::lock_guard lock(mutex_);
    result_ = result.ok() ? std::nullopt : std::optional(result.error().kind);
    ++times_;
    given_.notify_all();
  }
  // Nothing if everything was right.
  std::optional<StoreErrorKind> Wait() {
    std::unique_lock lock(mutex_);
    given_.wait(lock, [&] { return times_ > 0; });
    EXPECT_EQ(times_, 1);
    return result_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable given_;
  int times_ = 0;
  std::optional<StoreErrorKind> result_;
};

class LmdbTouch : public ::testing::Test {
 protected:
  void SetUp() override {
    MustDo(CreateLmdbStore(path(), sealer_, IdOf<StoreId>(1), kTestDay, TestOptions()));
    auto store = Must(OpenLmdbStore(path(), sealer_, TestOptions()));
    for (std::uint64_t i = 0; i < kKeys; ++i) {
      auto txn = Must(store->BeginWrite("fill"));
      MustDo(txn->PutCmk(KeyAt(i)));
      ObjectRecord object = SomeObject(token_, {{1, {static_cast<std::uint8_t>(i)}}, {2, {0}}});
      object.serial = Must(txn->NextObjectSerial());
      MustDo(txn->PutObject(object));
      MustDo(txn->Commit());
    }
  }
  cmk::Cmk KeyAt(std::uint64_t i) const {
    cmk::Cmk cmk = SomeCmk(i, token_, "key " + std::to_string(i));
    // Some larger than a page.
    cmk.versions[0].material.blob.assign(i % 10 == 0 ? 6000 : 60, static_cast<std::uint8_t>(i));
    return cmk;
  }
  std::string path() const { return dir_.Join("store"); }
  std::string data() const { return DataFile(path()); }
  LmdbOptions Background(Verdict& verdict) {
    LmdbOptions options = TestOptions();
    options.check = OpenCheck::kBackground;
    options.background_entries = 0;
    options.on_background_check = [&verdict](const StoreResult<void>& result) { verdict.Give(result); };
    return options;
  }
  // The first error of looking at everything, or whether all of it is as it was made.
  StoreResult<bool> LookAtAll(Store& store) {
    for (std::uint64_t i = 0; i < kKeys; ++i) {
      ASSIGN_OR_RETURN(const auto txn, store.BeginRead());
      ASSIGN_OR_RETURN(const auto found, txn->FindCmk(KeyAt(i).id));
      ASSIGN_OR_RETURN(const auto named, txn->FindCmksByName(token_, KeyAt(i).name));
      const std::vector<Term> terms{{1, {static_cast<std::uint8_t>(i)}}, {2, {0}}};
      ASSIGN_OR_RETURN(const auto objects, txn->FindObjects(token_, terms));
      if (found != KeyAt(i) || named != std::vector{KeyAt(i).id} || objects.size() != 1) return false;
    }
    ASSIGN_OR_RETURN(const auto txn, store.BeginRead());
    ASSIGN_OR_RETURN(const auto all, txn->ListCmksOfToken(token_, {}, kNoLimit));
    return all.size() == kKeys;
  }

  // Changes entries behind the store's back and has LMDB's own counters as they were: what somebody could do who knows
  // the file's format and has no key.
  void Tamper(const std::function<void(MDB_txn*, MDB_dbi)>& change) {
    MDB_env* env = nullptr;
    MDB_txn* txn = nullptr;
    MDB_dbi dbi = 0;
    ASSERT_EQ(::mdb_env_create(&env), 0);
    ASSERT_EQ(::mdb_env_set_mapsize(env, std::size_t{64} << 20), 0);
    ASSERT_EQ(::mdb_env_open(env, path().c_str(), 0, 0600), 0);
    ASSERT_EQ(::mdb_txn_begin(env, nullptr, 0, &txn), 0);
    ASSERT_EQ(::mdb_dbi_open(txn, nullptr, 0, &dbi), 0);
    const std::uint64_t transaction = ::mdb_txn_id(txn);
    change(txn, dbi);
    ASSERT_EQ(::mdb_txn_commit(txn), 0);
    ::mdb_env_close(env);
    // The new meta page takes the place and the number of the one before.
    constexpr std::size_t kPage = 4096, kTransactionAt = 144;
    std::fstream file(data(), std::ios::in | std::ios::out | std::ios::binary);
    std::string pages(2 * kPage, '\0');
    file.read(pages.data(), static_cast<std::streamsize>(pages.size()));
    const std::size_t made = transaction & 1, before = 1 - made;
    std::string newer = pages.substr(made * kPage, kPage), older = newer;
    newer[0] = static_cast<char>(before);
    const std::uint64_t numbers[] = {transaction - 1, transaction - 2};
    std::memcpy(newer.data() + kTransactionAt, &numbers[0], 8);
    std::memcpy(older.data() + kTransactionAt, &numbers[1], 8);
    file.seekp(static_cast<std::streamoff>(before * kPage));
    file << newer;
    file.seekp(static_cast<std::streamoff>(made * kPage));
    file << older;
  }
  // The entry of key `i` in its database of names, or its record.
  Bytes RecordKey(std::uint64_t i) const { return ToBytes(Key(Database::kCmk).Add(KeyAt(i).id).view()); }
  Bytes NameKey(std::uint64_t i) const {
    const Seals seals(sealer_, IdOf<StoreId>(1));
    return ToBytes(
        Key(Database::kCmkName).Add(token_).Add(seals.NameTag(token_, KeyAt(i).name)).Add(KeyAt(i).id).view());
  }
  static void Remove(MDB_txn* txn, MDB_dbi dbi, Bytes key) {
    MDB_val name = Val(key);
    ASSERT_EQ(::mdb_del(txn, dbi, &name, nullptr), 0);
  }

  TempDir dir_;
  FakeSealer sealer_;
  const cmk::TokenId token_ = IdOf<cmk::TokenId>(1);
};

TEST_F(LmdbTouch, EverythingIsThereAtOnceAndFoundRight) {
  Verdict verdict;
  {
    auto store = Must(OpenLmdbStore(path(), sealer_, Background(verdict)));
    EXPECT_TRUE(Must(LookAtAll(*store)));
    auto txn = Must(store->BeginWrite("more"));
    MustDo(txn->PutToken(SomeToken(5)));
    MustDo(txn->DeleteCmk(KeyAt(7).id));
    MustDo(txn->PutCmk(KeyAt(7)));
    MustDo(txn->Commit());
    EXPECT_EQ(verdict.Wait(), std::nullopt);
    EXPECT_TRUE(Must(LookAtAll(*store)));
  }
  auto again = Must(OpenLmdbStore(path(), sealer_, TestOptions()));
  EXPECT_TRUE(Must(LookAtAll(*again)));
}

TEST_F(LmdbTouch, ClosingDoesNotWaitForTheWholeCheck) {
  for (int i = 0; i < 20; ++i) {
    Verdict verdict;
    auto store = Must(OpenLmdbStore(path(), sealer_, Background(verdict)));
    EXPECT_TRUE(Must(Must(store->BeginRead())->FindCmk(KeyAt(3).id)).has_value());
  }
}

TEST_F(LmdbTouch, ASmallStoreIsCheckedBeforeItOpens) {
  Verdict verdict;
  LmdbOptions options = Background(verdict);
  options.background_entries = 100'000;
  Tamper([&](MDB_txn* txn, MDB_dbi dbi) { Remove(txn, dbi, NameKey(5)); });
  const auto opened = OpenLmdbStore(path(), sealer_, options);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().kind, StoreErrorKind::kCorrupt);
  EXPECT_NE(opened.error().sentence.find("older copy"), std::string::npos) << opened.error().sentence;
}

TEST_F(LmdbTouch, WhatWasTakenOutOrPutBackIsRefusedAtFirstTouchAndInTheEnd) {
  const std::string whole = dir_.Join("whole");
  fs::copy_file(data(), whole);
  Bytes record_of_then;
  Tamper([&](MDB_txn* txn, MDB_dbi dbi) {
    Bytes key = RecordKey(11);
    MDB_val name = Val(key), value;
    ASSERT_EQ(::mdb_get(txn, dbi, &name, &value), 0);
    record_of_then = Copy(value);
  });
  fs::copy_file(whole, data(), fs::copy_options::overwrite_existing);
  {
    auto store = Must(OpenLmdbStore(path(), sealer_, TestOptions()));
    auto txn = Must(store->BeginWrite("key.disable"));
    cmk::Cmk key = KeyAt(11);
    key.state = cmk::CmkState::kDisabled;
    MustDo(txn->PutCmk(key));
    MustDo(txn->Commit());
  }
  const std::string disabled = dir_.Join("disabled");
  fs::copy_file(data(), disabled);
  const std::pair<const std::string&, std::function<void(MDB_txn*, MDB_dbi)>> changes[] = {
      // A key that was disabled is put back as it was.
      {disabled,
       [&](MDB_txn* txn, MDB_dbi dbi) {
         Bytes key = RecordKey(11);
         MDB_val name = Val(key), value = Val(record_of_then);
         ASSERT_EQ(::mdb_put(txn, dbi, &name, &value, 0), 0);
       }},
      // A key is taken out of the index of names, or out of the store.
      {whole, [&](MDB_txn* txn, MDB_dbi dbi) { Remove(txn, dbi, NameKey(11)); }},
      {whole, [&](MDB_txn* txn, MDB_dbi dbi) { Remove(txn, dbi, RecordKey(11)); }},
      // Half of all keys are.
      {whole,
       [&](MDB_txn* txn, MDB_dbi dbi) {
         for (std::uint64_t i = 0; i < kKeys / 2; ++i) Remove(txn, dbi, RecordKey(i));
       }},
  };
  for (const auto& [base, change] : changes) {
    fs::copy_file(base, data(), fs::copy_options::overwrite_existing);
    Tamper(change);
    Verdict verdict;
    auto store = Must(OpenLmdbStore(path(), sealer_, Background(verdict)));
    const auto looked = LookAtAll(*store);
    ASSERT_FALSE(looked.ok()) << "answered " << *looked;
    EXPECT_EQ(looked.error().kind, StoreErrorKind::kCorrupt);
    EXPECT_EQ(verdict.Wait(), StoreErrorKind::kCorrupt);
    const auto reading = store->BeginRead();
    ASSERT_FALSE(reading.ok()) << "goes on";
    EXPECT_EQ(reading.error().kind, StoreErrorKind::kCorrupt);
    EXPECT_FALSE(store->BeginWrite("after").ok());
  }
}

// Without the thread: it is the touch that finds it, and a part that is not touched is in nobody's way.
TEST_F(LmdbTouch, OnlyWhatIsTouchedIsChecked) {
  Tamper([&](MDB_txn* txn, MDB_dbi dbi) { Remove(txn, dbi, NameKey(11)); });
  const auto file = [&] { return Must(LmdbFile::Open(data())); };
  const Seals seals(sealer_, IdOf<StoreId>(1));
  std::optional<Bytes> meta_value, regions_value;
  MustDo(file()->WalkRange({}, std::nullopt, [&](ByteView key, ByteView value) -> StoreResult<void> {
    if (key[0] == 0x01) meta_value = ToBytes(value);
    if (key[0] == 0x02) regions_value = ToBytes(value);
    return {};
  }));
  const MetaRecord meta = Must(Seals::OpenMeta(sealer_, meta_value.value()));
  const Regions regions = Must(seals.OpenRegions(regions_value.value(), meta.lmdb_transaction));
  ASSERT_GT(regions.size(), 4u);
  int reports = 0;
  FirstTouch touch(file(), seals, regions, [&](const StoreResult<void>& result) {
    EXPECT_FALSE(result.ok());
    ++reports;
  });
  const Bytes good = RecordKey(11), bad = NameKey(11);
  ASSERT_NE(regions.IndexOf(good), regions.IndexOf(bad));
  MustDo(touch.Admit(good, good));
  EXPECT_FALSE(touch.damaged());
  for (int i = 0; i < 2; ++i) {
    const auto refused = touch.Admit(bad, bad);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().kind, StoreErrorKind::kCorrupt);
  }
  EXPECT_TRUE(touch.damaged());
  EXPECT_EQ(reports, 1);
  // A stretch over many regions has the bad one in it.
  EXPECT_FALSE(touch.Admit({}, std::nullopt).ok());
}

TEST(Regions, HoldEachKeyOnceAndDivideWhereToldTo) {
  Regions regions;
  std::array<std::uint8_t, 16> one{1}, two{2};
  const Bytes low{0x10}, middle{0x30, 7}, high{0x30, 9};
  regions.Count(low, one, true);
  regions.Count(high, two, true);
  EXPECT_EQ(regions.IndexOf(high), 0u);
  EXPECT_EQ(regions.TooLarge(2), std::nullopt);
  EXPECT_EQ(regions.TooLarge(1), std::optional<std::size_t>(0));
  const Total sum = regions.Sum();
  regions.Divide(0, middle, Total{1, two});
  ASSERT_EQ(regions.size(), 2u);
  EXPECT_EQ(regions.Sum(), sum);
  EXPECT_EQ(regions[0].total, (Total{1, one}));
  EXPECT_EQ(regions.IndexOf(low), 0u);
  EXPECT_EQ(regions.IndexOf(middle), 1u);
  EXPECT_EQ(regions.IndexOf(high), 1u);
  EXPECT_EQ(regions.EndOf(0), std::optional(middle));
  EXPECT_EQ(regions.EndOf(1), std::nullopt);
  EXPECT_EQ(DecodeRegions(7, Encode(regions, 7)), std::optional(regions));
  EXPECT_EQ(DecodeRegions(8, Encode(regions, 7)), std::nullopt) << "of another transaction";
}

TEST(Regions, AreNeverMoreThanTheyMayBe) {
  Regions regions;
  Random random(5);
  for (std::uint64_t i = 1; i <= 2000; ++i) {
    std::array<std::uint8_t, 16> fingerprint{};
    for (std::uint8_t& byte : fingerprint) byte = static_cast<std::uint8_t>(random());
    regions.Append(Key(Database::kCmk).Add(i).view(), fingerprint, 5);
  }
  ASSERT_EQ(regions.size(), kRegionsMax) << "what is left over stays in the last";
  const Total sum = regions.Sum();
  EXPECT_EQ(sum.entries, 2000u);
  for (std::uint64_t i = 0; i < 100; ++i) {
    const auto large = regions.TooLarge(3);
    ASSERT_EQ(large, std::optional(regions.size() - 1));
    const Total upper{regions[*large].total.entries - 1, {9}};
    regions.Divide(*large, Key(Database::kCmk).Add(std::uint64_t{1300} + i).view(), upper);
    ASSERT_LE(regions.size(), kRegionsMax);
    ASSERT_EQ(regions.Sum(), sum);
    ASSERT_EQ(DecodeRegions(i, Encode(regions, i)), std::optional(regions)) << "still in order";
  }
}

}  // namespace
}  // namespace cmkd::store

// What the LMDB store refuses to open, and why: nothing there, half-made, foreign, damaged, cut short, too old, not
// safe, not ours to open.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "keystore/store/lmdb_place.h"
#include "tests/keystore/store_testing.h"

namespace cmkd::store {
namespace {

namespace fs = std::filesystem;

class LmdbOpen : public ::testing::Test {
 protected:
  void Create() { MustDo(CreateLmdbStore(path(), sealer_, IdOf<StoreId>(1), kTestDay, TestOptions())); }
  // A store with a few records and commits.
  void Fill(int keys = 20) {
    auto store = Must(OpenLmdbStore(path(), sealer_, TestOptions()));
    for (int i = 0; i < keys; ++i) {
      auto txn = Must(store->BeginWrite("fill"));
      MustDo(txn->PutCmk(SomeCmk(static_cast<std::uint64_t>(i), IdOf<cmk::TokenId>(1), "key " + std::to_string(i))));
      MustDo(txn->Commit());
    }
  }
  std::string path() const { return dir_.Join("store"); }
  std::string data() const { return path() + "/data.mdb"; }
  void Write(const std::string& file, const std::string& content) { std::ofstream(file, std::ios::binary) << content; }

  StoreErrorKind Refusal(const LmdbOptions& options = TestOptions(), const Sealer* sealer = nullptr) {
    auto opened = OpenLmdbStore(path(), sealer != nullptr ? *sealer : sealer_, options);
    if (opened.ok()) {
      ADD_FAILURE() << "opened";
      return static_cast<StoreErrorKind>(255);
    }
    EXPECT_FALSE(opened.error().sentence.empty());
    sentence_ = opened.error().sentence;
    return opened.error().kind;
  }
  void Opens(const LmdbOptions& options = TestOptions()) {
    auto opened = OpenLmdbStore(path(), sealer_, options);
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().sentence);
  }

  TempDir dir_;
  FakeSealer sealer_;
  std::string sentence_;
};

TEST_F(LmdbOpen, NothingThereIsNotFound) {
  EXPECT_FALSE(LmdbStoreExists(path()));
  EXPECT_EQ(Refusal(), StoreErrorKind::kNotFound);
  fs::create_directory(path());
  EXPECT_FALSE(LmdbStoreExists(path()));
  EXPECT_EQ(Refusal(), StoreErrorKind::kNotFound) << "an empty directory is nothing yet";
  Create();
  EXPECT_TRUE(LmdbStoreExists(path()));
  Opens();
}

TEST_F(LmdbOpen, CreatingNeverReplaces) {
  Create();
  const auto again = CreateLmdbStore(path(), sealer_, IdOf<StoreId>(2), kTestDay, TestOptions());
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().kind, StoreErrorKind::kForeign);
  Opens();
}

TEST_F(LmdbOpen, AnInterruptedMakingIsInvisibleAndMadeAnew) {
  fs::create_directory(path() + ".making");
  Write(path() + ".making/data.mdb", "half");
  EXPECT_EQ(Refusal(), StoreErrorKind::kNotFound);
  Create();
  Opens();
  EXPECT_FALSE(fs::exists(path() + ".making"));
}

TEST_F(LmdbOpen, MadeFilesArePrivate) {
  Create();
  for (const std::string& file : {path(), data()}) {
    struct stat status {};
    ASSERT_EQ(::stat(file.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077, 0u) << file;
  }
}

TEST_F(LmdbOpen, OpensOnceAtATime) {
  Create();
  auto store = Must(OpenLmdbStore(path(), sealer_, TestOptions()));
  EXPECT_EQ(Refusal(), StoreErrorKind::kLocked);
  store.reset();
  Opens();
}

TEST_F(LmdbOpen, AnEmptyFileIsHalfMade) {
  Create();
  fs::resize_file(data(), 0);
  EXPECT_EQ(Refusal(), StoreErrorKind::kHalfMade);
}

TEST_F(LmdbOpen, AnEnvironmentWithoutACommitIsHalfMade) {
  fs::create_directory(path());
  fs::permissions(path(), fs::perms::owner_all);
  MDB_env* env = nullptr;
  ASSERT_EQ(::mdb_env_create(&env), 0);
  ASSERT_EQ(::mdb_env_open(env, path().c_str(), 0, 0600), 0);
  ::mdb_env_close(env);
  EXPECT_EQ(Refusal(), StoreErrorKind::kHalfMade);
  EXPECT_NE(sentence_.find("interrupted"), std::string::npos);
}

TEST_F(LmdbOpen, OtherThingsAreForeign) {
  Write(path(), "a file");
  EXPECT_EQ(Refusal(), StoreErrorKind::kForeign);
  EXPECT_TRUE(LmdbStoreExists(path()));
  fs::remove(path());
  fs::create_directory(path());
  fs::permissions(path(), fs::perms::owner_all);
  Write(path() + "/notes.txt", "mine");
  EXPECT_EQ(Refusal(), StoreErrorKind::kForeign);
  Write(data(), std::string(20'000, 'x'));
  fs::permissions(data(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(Refusal(), StoreErrorKind::kForeign);
}

// An LMDB database of some other program.
void MakeForeign(const std::string& path, const char* name, unsigned flags, const std::string& key) {
  fs::create_directory(path);
  fs::permissions(path, fs::perms::owner_all);
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  ASSERT_EQ(::mdb_env_create(&env), 0);
  ASSERT_EQ(::mdb_env_set_maxdbs(env, 4), 0);
  ASSERT_EQ(::mdb_env_open(env, path.c_str(), 0, 0600), 0);
  ASSERT_EQ(::mdb_txn_begin(env, nullptr, 0, &txn), 0);
  ASSERT_EQ(::mdb_dbi_open(txn, name, flags, &dbi), 0);
  MDB_val k{key.size(), const_cast<char*>(key.data())}, v{5, const_cast<char*>("value")};
  ASSERT_EQ(::mdb_put(txn, dbi, &k, &v, 0), 0);
  ASSERT_EQ(::mdb_txn_commit(txn), 0);
  ::mdb_env_close(env);
}

TEST_F(LmdbOpen, AnotherProgramsDatabaseIsForeign) {
  MakeForeign(path(), nullptr, 0, "key");
  EXPECT_EQ(Refusal(), StoreErrorKind::kForeign);
  fs::remove_all(path());
  MakeForeign(path(), nullptr, 0, std::string("\x01", 1));
  EXPECT_EQ(Refusal(), StoreErrorKind::kForeign) << "our key, but not our record";
  LmdbOptions quick = TestOptions();
  quick.check = OpenCheck::kQuick;
  EXPECT_EQ(Refusal(quick), StoreErrorKind::kForeign);
}

TEST_F(LmdbOpen, FeaturesWeDoNotUseAreForeignOrDamage) {
  MakeForeign(path(), nullptr, MDB_DUPSORT, "key");
  EXPECT_EQ(Refusal(), StoreErrorKind::kForeign);
  fs::remove_all(path());
  MakeForeign(path(), "named", MDB_CREATE, "key");
  const StoreErrorKind kind = Refusal();
  EXPECT_TRUE(kind == StoreErrorKind::kForeign || kind == StoreErrorKind::kCorrupt);
}

TEST_F(LmdbOpen, AnotherSealingKeyIsNoticed) {
  Create();
  const FakeSealer other(12345);
  EXPECT_EQ(Refusal(TestOptions(), &other), StoreErrorKind::kCorrupt);
  EXPECT_NE(sentence_.find("sealing key"), std::string::npos);
}

TEST_F(LmdbOpen, ATruncatedFileIsRefusedUnlessOnlyFreePagesAreGone) {
  Create();
  Fill();
  const auto size = fs::file_size(data());
  const std::string copy = dir_.Join("copy");
  fs::copy_file(data(), copy);
  int refused = 0, opened = 0;
  for (std::uintmax_t keep = 4096; keep < size; keep += 4096) {
    fs::copy_file(copy, data(), fs::copy_options::overwrite_existing);
    fs::resize_file(data(), keep);
    for (const OpenCheck check : {OpenCheck::kQuick, OpenCheck::kFull}) {
      LmdbOptions options = TestOptions();
      options.check = check;
      auto store = OpenLmdbStore(path(), sealer_, options);
      if (!store.ok()) {
        EXPECT_EQ(store.error().kind, StoreErrorKind::kCorrupt) << keep << " of " << size;
        ++refused;
        continue;
      }
      // LMDB counts free pages at the end of the file that it need never have written.
      ++opened;
      EXPECT_EQ(Must(Must((*store)->BeginRead())->ListCmks({}, kNoLimit)).size(), 20u);
    }
  }
  EXPECT_GT(refused, opened);
  fs::copy_file(copy, data(), fs::copy_options::overwrite_existing);
  Opens();
}

TEST_F(LmdbOpen, AnOlderCopyIsRefusedByTheAnchor) {
  Create();
  Fill(3);
  const std::string copy = dir_.Join("copy");
  fs::copy_file(data(), copy);
  Fill(3);
  LmdbOptions anchored = TestOptions();
  {
    auto store = Must(OpenLmdbStore(path(), sealer_, TestOptions()));
    anchored.minimum_generation = store->Generation();
  }
  Opens(anchored);
  ++anchored.minimum_generation;
  EXPECT_EQ(Refusal(anchored), StoreErrorKind::kTooOld) << "one past it";
  --anchored.minimum_generation;
  fs::copy_file(copy, data(), fs::copy_options::overwrite_existing);
  EXPECT_EQ(Refusal(anchored), StoreErrorKind::kTooOld);
  Opens();
}

TEST_F(LmdbOpen, AnotherStoreIsRefusedByTheAnchor) {
  Create();
  LmdbOptions anchored = TestOptions();
  anchored.expected_id = IdOf<StoreId>(1);
  Opens(anchored);
  anchored.expected_id = IdOf<StoreId>(2);
  EXPECT_EQ(Refusal(anchored), StoreErrorKind::kForeign);
}

TEST_F(LmdbOpen, ANewerSchemaIsLeftToNewerPrograms) {
  Create();
  std::fstream file(data(), std::ios::in | std::ios::out | std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(file)), {});
  const auto at = content.find("cmkdstor");
  ASSERT_NE(at, std::string::npos);
  file.clear();
  file.seekp(static_cast<std::streamoff>(at + 8));
  file.put(2);
  file.close();
  EXPECT_EQ(Refusal(), StoreErrorKind::kSchema);
}

// Changes entries behind the store's back, as somebody with the file but without the keys could.
void Tamper(const std::string& path, const std::function<void(MDB_txn*, MDB_dbi)>& change) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  ASSERT_EQ(::mdb_env_create(&env), 0);
  ASSERT_EQ(::mdb_env_set_mapsize(env, std::size_t{64} << 20), 0);
  ASSERT_EQ(::mdb_env_open(env, path.c_str(), 0, 0600), 0);
  ASSERT_EQ(::mdb_txn_begin(env, nullptr, 0, &txn), 0);
  ASSERT_EQ(::mdb_dbi_open(txn, nullptr, 0, &dbi), 0);
  change(txn, dbi);
  ASSERT_EQ(::mdb_txn_commit(txn), 0);
  ::mdb_env_close(env);
}

Bytes Copy(const MDB_val& value) { return ToBytes({static_cast<const std::uint8_t*>(value.mv_data), value.mv_size}); }

TEST_F(LmdbOpen, RecordsChangedBehindItsBackAreNoticed) {
  Create();
  Fill();
  const std::string copy = dir_.Join("copy");
  fs::copy_file(data(), copy);
  const auto first_of = [](MDB_txn* txn, MDB_dbi dbi, std::uint8_t database, MDB_val& key, MDB_val& value) {
    MDB_cursor* cursor = nullptr;
    ASSERT_EQ(::mdb_cursor_open(txn, dbi, &cursor), 0);
    key = {1, &database};
    ASSERT_EQ(::mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE), 0);
    ::mdb_cursor_close(cursor);
  };
  const std::function<void(MDB_txn*, MDB_dbi)> changes[] = {
      // A key is taken out whole; its marks stay.
      [&](MDB_txn* txn, MDB_dbi dbi) {
        MDB_val key, value;
        first_of(txn, dbi, 0x30, key, value);
        Bytes name = Copy(key);
        key = {name.size(), name.data()};
        ASSERT_EQ(::mdb_del(txn, dbi, &key, nullptr), 0);
      },
      // A name disappears from its index, so that a key is no longer found by it.
      [&](MDB_txn* txn, MDB_dbi dbi) {
        MDB_val key, value;
        first_of(txn, dbi, 0x32, key, value);
        Bytes name = Copy(key);
        key = {name.size(), name.data()};
        ASSERT_EQ(::mdb_del(txn, dbi, &key, nullptr), 0);
      },
      // An entry of somebody else's.
      [&](MDB_txn* txn, MDB_dbi dbi) {
        MDB_val key{2, const_cast<char*>("zz")}, value{1, const_cast<char*>("v")};
        ASSERT_EQ(::mdb_put(txn, dbi, &key, &value, 0), 0);
      },
      // Nothing changed but LMDB's own counter.
      [&](MDB_txn* txn, MDB_dbi dbi) {
        MDB_val key, value;
        first_of(txn, dbi, 0x30, key, value);
        Bytes name = Copy(key), same = Copy(value);
        key = {name.size(), name.data()};
        value = {same.size(), same.data()};
        ASSERT_EQ(::mdb_put(txn, dbi, &key, &value, 0), 0);
      },
  };
  for (const auto& change : changes) {
    fs::copy_file(copy, data(), fs::copy_options::overwrite_existing);
    Tamper(path(), change);
    EXPECT_EQ(Refusal(), StoreErrorKind::kCorrupt);
  }
  fs::copy_file(copy, data(), fs::copy_options::overwrite_existing);
  Opens();
}

TEST_F(LmdbOpen, AnOldRecordPutBackIsNoticed) {
  // The record of a key from before it was disabled, sealed by ourselves and put back in its place with everything else
  // of today: only the sum of all records knows.
  Create();
  Fill(1);
  Bytes key_then, value_then, meta_then;
  const auto read = [&](std::uint8_t database, Bytes& key_out, Bytes& value_out) {
    MDB_env* env = nullptr;
    MDB_txn* txn = nullptr;
    MDB_dbi dbi = 0;
    MDB_cursor* cursor = nullptr;
    ASSERT_EQ(::mdb_env_create(&env), 0);
    ASSERT_EQ(::mdb_env_open(env, path().c_str(), 0, 0600), 0);
    ASSERT_EQ(::mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn), 0);
    ASSERT_EQ(::mdb_dbi_open(txn, nullptr, 0, &dbi), 0);
    ASSERT_EQ(::mdb_cursor_open(txn, dbi, &cursor), 0);
    MDB_val key{1, &database}, value;
    ASSERT_EQ(::mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE), 0);
    key_out = Copy(key);
    value_out = Copy(value);
    ::mdb_cursor_close(cursor);
    ::mdb_txn_abort(txn);
    ::mdb_env_close(env);
  };
  read(0x30, key_then, value_then);
  {
    auto store = Must(OpenLmdbStore(path(), sealer_, TestOptions()));
    auto txn = Must(store->BeginWrite("key.disable"));
    cmk::Cmk cmk = Must(txn->GetCmk(IdOf<cmk::CmkId>(0)));
    cmk.state = cmk::CmkState::kDisabled;
    MustDo(txn->PutCmk(cmk));
    MustDo(txn->Commit());
  }
  // Exchanges the value in the file itself, so that LMDB's own counters do not move.
  Bytes key_now, value_now;
  read(0x30, key_now, value_now);
  ASSERT_EQ(key_now, key_then);
  ASSERT_EQ(value_now.size(), value_then.size());
  std::fstream file(data(), std::ios::in | std::ios::out | std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(file)), {});
  const auto at = content.rfind(std::string(AsText(value_now)));
  ASSERT_NE(at, std::string::npos);
  file.clear();
  file.seekp(static_cast<std::streamoff>(at));
  file << AsText(value_then);
  file.close();
  EXPECT_EQ(Refusal(), StoreErrorKind::kCorrupt);
  EXPECT_NE(sentence_.find("older copy"), std::string::npos) << sentence_;
}

TEST_F(LmdbOpen, WhatOthersCouldTouchIsUnsafe) {
  Create();
  fs::permissions(path(), fs::perms::group_read, fs::perm_options::add);
  EXPECT_EQ(Refusal(), StoreErrorKind::kUnsafe);
  fs::permissions(path(), fs::perms::group_all, fs::perm_options::remove);
  Opens();
  fs::permissions(data(), fs::perms::others_read, fs::perm_options::add);
  EXPECT_EQ(Refusal(), StoreErrorKind::kUnsafe);
  fs::permissions(data(), fs::perms::others_all, fs::perm_options::remove);
  fs::create_hard_link(data(), dir_.Join("second name"));
  EXPECT_EQ(Refusal(), StoreErrorKind::kUnsafe);
  fs::remove(dir_.Join("second name"));
  fs::rename(data(), dir_.Join("elsewhere"));
  fs::create_symlink(dir_.Join("elsewhere"), data());
  EXPECT_EQ(Refusal(), StoreErrorKind::kUnsafe);
  fs::remove(data());
  fs::rename(dir_.Join("elsewhere"), data());
  Opens();
  if (::geteuid() != 0) GTEST_SKIP() << "the rest needs root";
  ASSERT_EQ(::chown(data().c_str(), 65534, 65534), 0);
  EXPECT_EQ(Refusal(), StoreErrorKind::kUnsafe);
}

TEST_F(LmdbOpen, LeavesTheFileAsItWasWhenItRefuses) {
  Create();
  Fill(3);
  fs::resize_file(data(), fs::file_size(data()) - 4096);
  const auto size = fs::file_size(data());
  (void)Refusal();
  EXPECT_EQ(fs::file_size(data()), size);
}

}  // namespace
}  // namespace cmkd::store

// Flipped bits in the store's file: opening refuses, or everything is exactly as it was and goes on working. Each try
// runs in a child process, so that a crash would be seen as one; none is allowed.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/keystore/store_testing.h"

namespace cmkd::store {
namespace {

namespace fs = std::filesystem;

constexpr int kKeys = 150;

// How many damaged files to try: CMKD_FLIP_TRIES.
int Tries() {
  const char* tries = std::getenv("CMKD_FLIP_TRIES");
  return tries != nullptr ? std::atoi(tries) : 400;
}

enum Outcome : int { kRefused = 10, kRight = 11, kRefusedLater = 12, kWrong = 13 };

cmk::Cmk KeyAt(int i) {
  cmk::Cmk cmk = SomeCmk(static_cast<std::uint64_t>(i), IdOf<cmk::TokenId>(1), "key " + std::to_string(i));
  // Some records larger than a page.
  cmk.versions[0].material.blob.assign(i % 10 == 0 ? 6000 : 60, static_cast<std::uint8_t>(i));
  cmk.dates.next_rotation = kTestDay + Days(i);
  return cmk;
}

void Fill(Store& store) {
  for (int i = 0; i < kKeys; ++i) {
    auto txn = Must(store.BeginWrite("fill"));
    ObjectRecord object = SomeObject(IdOf<cmk::TokenId>(1), {{1, {static_cast<std::uint8_t>(i)}}, {2, {0}}});
    object.serial = Must(txn->NextObjectSerial());
    MustDo(txn->PutObject(object));
    MustDo(txn->PutCmk(KeyAt(i)));
    MustDo(txn->Commit());
  }
}

// Looks at everything in every way there is.
bool IsRight(ReadTxn& txn) {
  const auto token = IdOf<cmk::TokenId>(1);
  const std::vector<Term> common{{2, {0}}};
  if (Must(txn.FindObjects(token, common)).size() != kKeys || Must(txn.CountObjects(token)) != kKeys) return false;
  if (Must(txn.ListCmksOfToken(token, {}, kNoLimit)).size() != kKeys) return false;
  if (Must(txn.DueBefore(kTestDay + Days(kKeys))).size() != kKeys) return false;
  for (int i = 0; i < kKeys; ++i) {
    const cmk::Cmk expected = KeyAt(i);
    if (Must(txn.FindCmk(expected.id)) != expected) return false;
    if (Must(txn.FindCmksByName(token, expected.name)) != std::vector{expected.id}) return false;
    const std::vector<Term> terms{{1, {static_cast<std::uint8_t>(i)}}, {2, {0}}};
    if (Must(txn.FindObjects(token, terms)).size() != 1) return false;
  }
  return true;
}

// What becomes of the file at `path`, by exit status.
Outcome Try(const std::string& path, OpenCheck check) {
  const FakeSealer sealer;
  LmdbOptions options = TestOptions();
  options.check = check;
  options.background_entries = 0;
  auto store = OpenLmdbStore(path, sealer, options);
  if (!store.ok()) return kRefused;
  try {
    if (!IsRight(*Must((*store)->BeginRead()))) return kWrong;
    // And it can be written to: the free pages are really free.
    for (int i = 0; i < 5; ++i) {
      auto txn = Must((*store)->BeginWrite("more"));
      MustDo(txn->PutToken(SomeToken(static_cast<std::uint64_t>(i))));
      MustDo(txn->Commit());
    }
    if (!IsRight(*Must((*store)->BeginRead()))) return kWrong;
    store = Result<std::unique_ptr<Store>, StoreError>(std::unique_ptr<Store>());
    auto again = OpenLmdbStore(path, sealer, TestOptions());
    // What the check in the background was not given the time for, this one finds.
    if (!again.ok() && check == OpenCheck::kBackground) return kRefusedLater;
    return again.ok() && IsRight(*Must((*again)->BeginRead())) ? kRight : kWrong;
  } catch (const std::exception&) {
    return kRefusedLater;
  }
}

int StatusOf(const std::string& path, OpenCheck check) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(Try(path, check));
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

void TryFlips(OpenCheck check, int tries) {
  TempDir dir;
  const std::string path = dir.Join("store"), data = path + "/data.mdb", copy = dir.Join("copy");
  {
    const FakeSealer sealer;
    MustDo(CreateLmdbStore(path, sealer, IdOf<StoreId>(1), kTestDay, TestOptions()));
    auto store = Must(OpenLmdbStore(path, sealer, TestOptions()));
    Fill(*store);
  }
  fs::copy_file(data, copy);
  std::ifstream in(copy, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  Random random(4711);
  int counts[4] = {};
  for (int round = 0; round < tries; ++round) {
    std::string damaged = whole;
    const std::uint64_t flips = 1 + Below(random, 8);
    for (std::uint64_t i = 0; i < flips; ++i) {
      // Half of the flips go where structure is dense: the heads of pages, and the two meta pages.
      std::uint64_t at = Below(random, damaged.size());
      if (Below(random, 2) == 0) at = at / 4096 * 4096 + Below(random, 64);
      if (Below(random, 8) == 0) at = Below(random, 2) * 4096 + Below(random, 160);
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << Below(random, 8)));
    }
    {
      std::ofstream out(data, std::ios::binary | std::ios::trunc);
      out << damaged;
    }
    const int status = StatusOf(path, check);
    ASSERT_TRUE(WIFEXITED(status)) << "crashed in round " << round << " by signal " << WTERMSIG(status);
    const int outcome = WEXITSTATUS(status);
    ASSERT_NE(outcome, kWrong) << "served something wrong in round " << round;
    ASSERT_GE(outcome, kRefused);
    ASSERT_LE(outcome, kWrong);
    ++counts[outcome - kRefused];
  }
  EXPECT_GT(counts[0], 0) << "no flip was refused at opening";
  EXPECT_GT(counts[1], 0) << "no flip was harmless";
  ::testing::Test::RecordProperty("refused", counts[0]);
  ::testing::Test::RecordProperty("right", counts[1]);
  ::testing::Test::RecordProperty("refused_when_read", counts[2]);
}

TEST(LmdbFlips, AreRefusedOrHarmlessAndNeverServed) { TryFlips(OpenCheck::kFull, Tries()); }
// Opened before all of it was checked: the same, only later.
TEST(LmdbFlips, AreFoundAtFirstTouch) { TryFlips(OpenCheck::kBackground, Tries()); }

}  // namespace
}  // namespace cmkd::store

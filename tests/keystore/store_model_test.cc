// The LMDB store against the memory store: the same random changes on both, the same answers from both, and a full
// check of the file after each restart.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/keystore/store_testing.h"

namespace cmkd::store {
namespace {

constexpr std::uint64_t kTokens = 3;
constexpr std::uint64_t kCmks = 40;

// More of them where there is time: CMKD_MODEL_ROUNDS.
int Rounds() {
  const char* rounds = std::getenv("CMKD_MODEL_ROUNDS");
  return rounds != nullptr ? std::atoi(rounds) : 150;
}

class Model : public ::testing::Test {
 protected:
  // One random change, the same on both sides; both must answer alike.
  void Change(Random& random, WriteTxn& lmdb, WriteTxn& memory) {
    const std::uint64_t what = Below(random, 100);
    const auto both = [&](auto change) {
      const StoreResult<void> on_lmdb = change(lmdb);
      const StoreResult<void> on_memory = change(memory);
      ASSERT_EQ(on_lmdb.ok(), on_memory.ok()) << (on_lmdb.ok() ? "" : on_lmdb.error().sentence);
      if (!on_lmdb.ok()) {
        ASSERT_EQ(on_lmdb.error().kind, on_memory.error().kind) << on_lmdb.error().sentence;
      }
    };
    const auto token = IdOf<cmk::TokenId>(Below(random, kTokens));
    if (what < 30) {
      ObjectRecord object = RandomObject(random);
      object.token = token;
      for (Term& term : object.terms) term = {static_cast<std::uint32_t>(Below(random, 3)), {Small(random)}};
      if (Below(random, 8) == 0) object.attributes.push_back({1, Bytes(Below(random, 20'000), 3)});
      object.serial = Must(lmdb.NextObjectSerial());
      ASSERT_EQ(Must(memory.NextObjectSerial()), object.serial);
      if (!serials_.empty() && Below(random, 3) == 0) object.serial = AnySerial(random);
      serials_.push_back(object.serial);
      both([&](WriteTxn& txn) { return txn.PutObject(object); });
    } else if (what < 50 && !serials_.empty()) {
      const auto serial = AnySerial(random);
      both([&](WriteTxn& txn) { return txn.DeleteObject(serial); });
    } else if (what < 80) {
      cmk::Cmk cmk = RandomCmk(random);
      cmk.id = IdOf<cmk::CmkId>(Below(random, kCmks));
      cmk.token = token;
      cmk.name = std::string(1, static_cast<char>('a' + Below(random, 6)));
      const NameRule rule = Below(random, 2) != 0 ? NameRule::kUnique : NameRule::kShared;
      both([&](WriteTxn& txn) { return txn.PutCmk(cmk, rule); });
    } else if (what < 88) {
      const auto id = IdOf<cmk::CmkId>(Below(random, kCmks));
      both([&](WriteTxn& txn) { return txn.DeleteCmk(id); });
    } else if (what < 92) {
      TokenRecord record = RandomToken(random);
      record.id = token;
      both([&](WriteTxn& txn) { return txn.PutToken(record); });
    } else if (what < 94) {
      both([&](WriteTxn& txn) { return txn.DeleteToken(token); });
    } else if (what < 96) {
      const auto id = IdOf<cmk::CmkId>(Below(random, kCmks));
      const cmk::KeyVersionNumber version{static_cast<std::uint32_t>(1 + Below(random, 4))};
      const std::vector<cmk::ClientUse> clients = RandomClients(random);
      both([&](WriteTxn& txn) { return txn.PutClientUses(id, version, clients); });
    } else if (what < 98) {
      RequestRecord request = RandomRequest(random);
      request.tag = {Small(random)};
      now_ = now_ + Hours(static_cast<std::int64_t>(Below(random, 3)));
      both([&](WriteTxn& txn) { return txn.PutRequest(request, now_); });
    } else {
      both([&](WriteTxn& txn) { return txn.PutTime(TimeAt(now_)); });
    }
  }

  void ExpectEqual(Store& lmdb_store, Store& memory_store) {
    auto lmdb = Must(lmdb_store.BeginRead());
    auto memory = Must(memory_store.BeginRead());
    const auto same = [&](auto ask) { ASSERT_EQ(Must(ask(*lmdb)), Must(ask(*memory))); };
    ASSERT_NO_FATAL_FAILURE(same([](ReadTxn& txn) { return txn.ReadMeta(); }));
    ASSERT_NO_FATAL_FAILURE(same([](ReadTxn& txn) { return txn.ListTokens(); }));
    ASSERT_NO_FATAL_FAILURE(same([](ReadTxn& txn) { return txn.ListCmks({}, kNoLimit); }));
    ASSERT_NO_FATAL_FAILURE(same([](ReadTxn& txn) { return txn.DueBefore({INT64_MAX}); }));
    ASSERT_NO_FATAL_FAILURE(same([](ReadTxn& txn) { return txn.DueBefore(kTestDay, 3); }));
    for (std::uint64_t tag = 0; tag < 8; ++tag)
      ASSERT_NO_FATAL_FAILURE(
          same([&](ReadTxn& txn) { return txn.FindRequest(Bytes{static_cast<std::uint8_t>(tag)}, now_); }));
    for (std::uint64_t i = 0; i < kCmks; ++i)
      for (std::uint32_t version = 1; version < 5; ++version)
        ASSERT_NO_FATAL_FAILURE(same([&](ReadTxn& txn) { return txn.FindClientUses(IdOf<cmk::CmkId>(i), {version}); }));
    for (std::uint64_t i = 0; i < kTokens; ++i) {
      const auto token = IdOf<cmk::TokenId>(i);
      ASSERT_NO_FATAL_FAILURE(same([&](ReadTxn& txn) { return txn.CountObjects(token); }));
      ASSERT_NO_FATAL_FAILURE(same([&](ReadTxn& txn) { return txn.ListCmksOfToken(token, {}, 7); }));
      for (char name = 'a'; name <= 'f'; ++name)
        ASSERT_NO_FATAL_FAILURE(same([&](ReadTxn& txn) { return txn.FindCmksByName(token, std::string(1, name)); }));
      ASSERT_NO_FATAL_FAILURE(same([&](ReadTxn& txn) { return txn.FindObjects(token, {}); }));
      for (std::uint32_t kind = 0; kind < 3; ++kind)
        for (std::uint8_t value = 0; value < 8; ++value) {
          const std::vector<Term> one{{kind, {value}}}, two{{kind, {value}}, {(kind + 1) % 3, {value}}};
          ASSERT_NO_FATAL_FAILURE(same([&](ReadTxn& txn) { return txn.FindObjects(token, one); }));
          ASSERT_NO_FATAL_FAILURE(same([&](ReadTxn& txn) { return txn.FindObjects(token, two, {5}, 3); }));
        }
    }
    for (const auto serial : serials_)
      ASSERT_NO_FATAL_FAILURE(same([&](ReadTxn& txn) { return txn.FindObject(serial); }));
  }

  static std::uint8_t Small(Random& random) { return static_cast<std::uint8_t>(Below(random, 8)); }
  cmk::ObjectSerial AnySerial(Random& random) { return serials_[Below(random, serials_.size())]; }

  std::vector<cmk::ObjectSerial> serials_;
  Timestamp now_ = kTestDay;
};

TEST_F(Model, LmdbAnswersAsMemoryDoesAfterAnyChanges) {
  Random random(20260726);
  StoreUnderTest lmdb(StoreKind::kLmdb);
  StoreUnderTest memory(StoreKind::kMemory);
  for (int round = 0; round < Rounds(); ++round) {
    SCOPED_TRACE(round);
    {
      auto on_lmdb = Must(lmdb->BeginWrite("model"));
      auto on_memory = Must(memory->BeginWrite("model"));
      const bool commit = Below(random, 5) != 0;
      const auto serials = serials_;
      for (std::uint64_t i = Below(random, 12); i > 0; --i)
        ASSERT_NO_FATAL_FAILURE(Change(random, *on_lmdb, *on_memory));
      if (commit) {
        MustDo(on_lmdb->Commit());
        MustDo(on_memory->Commit());
      } else {
        serials_ = serials;
      }
    }
    if (round % 3 == 0) lmdb.Reopen();
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(*lmdb, *memory));
  }
}

}  // namespace
}  // namespace cmkd::store

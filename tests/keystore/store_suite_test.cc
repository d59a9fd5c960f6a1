// What every store does, whatever it is made of. Each test runs on LMDB, on memory and on a fault store without faults;
// most look again after a restart.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "keystore/cmk/lifecycle.h"
#include "tests/keystore/store_testing.h"

namespace cmkd::store {
namespace {

using cmk::CmkId;
using cmk::ObjectSerial;
using cmk::TokenId;

class StoreSuite : public ::testing::TestWithParam<StoreKind> {
 protected:
  StoreSuite() : store_(GetParam()) {}

  std::unique_ptr<ReadTxn> Read() { return Must(store_->BeginRead()); }
  std::unique_ptr<WriteTxn> Write() { return Must(store_->BeginWrite("test")); }
  // One change in one transaction.
  template <class Change>
  void Do(Change change) {
    auto txn = Write();
    change(*txn);
    MustDo(txn->Commit());
  }
  ObjectSerial Add(const TokenId& token, std::vector<Term> terms) {
    auto txn = Write();
    ObjectRecord object = SomeObject(token, std::move(terms));
    object.serial = Must(txn->NextObjectSerial());
    MustDo(txn->PutObject(object));
    MustDo(txn->Commit());
    return object.serial;
  }
  std::vector<ObjectSerial> Find(const TokenId& token, const std::vector<Term>& terms, ObjectSerial after = {},
                                 std::size_t limit = kNoLimit) {
    return Must(Read()->FindObjects(token, terms, after, limit));
  }
  template <class T>
  static StoreErrorKind KindOf(const StoreResult<T>& result) {
    return result.ok() ? static_cast<StoreErrorKind>(255) : result.error().kind;
  }

  StoreUnderTest store_;
  const TokenId token_ = IdOf<TokenId>(1);
  const TokenId other_token_ = IdOf<TokenId>(2);
};

INSTANTIATE_TEST_SUITE_P(Every, StoreSuite, ::testing::Values(StoreKind::kLmdb, StoreKind::kMemory, StoreKind::kFault),
                         [](const auto& kind) { return std::string(Name(kind.param)); });

TEST_P(StoreSuite, IsBornEmptyWithAnIdAndAGeneration) {
  const Meta meta = Must(Read()->ReadMeta());
  EXPECT_EQ(meta.id, IdOf<StoreId>(77));
  EXPECT_EQ(store_->id(), meta.id);
  EXPECT_EQ(meta.generation, store_->Generation());
  EXPECT_EQ(meta.created, kTestDay);
  EXPECT_EQ(meta.time.highest, kTestDay);
  EXPECT_EQ(meta.schema, 1);
  EXPECT_TRUE(Must(Read()->ListTokens()).empty());
  EXPECT_TRUE(Must(Read()->ListCmks({}, kNoLimit)).empty());
  EXPECT_TRUE(Find(token_, {}).empty());
  EXPECT_EQ(Must(Read()->CountObjects(token_)), 0u);
}

TEST_P(StoreSuite, GenerationMovesByOneWithEveryCommitAndOnlyThen) {
  const std::uint64_t before = store_->Generation();
  {
    auto txn = Write();
    MustDo(txn->PutToken(SomeToken(1)));
  }
  EXPECT_EQ(store_->Generation(), before) << "abandoned";
  MustDo(Write()->Commit());
  EXPECT_EQ(store_->Generation(), before) << "nothing written";
  Do([](WriteTxn& txn) {
    MustDo(txn.PutToken(SomeToken(1)));
    MustDo(txn.PutToken(SomeToken(2)));
  });
  EXPECT_EQ(store_->Generation(), before + 1);
  EXPECT_EQ(Must(Read()->ReadMeta()).generation, before + 1);
  store_.Reopen();
  EXPECT_EQ(store_->Generation(), before + 1);
}

TEST_P(StoreSuite, FindsNothingWhereNothingIs) {
  auto txn = Read();
  EXPECT_FALSE(Must(txn->FindToken(token_)).has_value());
  EXPECT_FALSE(Must(txn->FindObject({1})).has_value());
  EXPECT_FALSE(Must(txn->FindCmk({})).has_value());
  EXPECT_FALSE(Must(txn->FindRequest(AsBytes("tag"), kTestDay)).has_value());
  EXPECT_EQ(KindOf(txn->GetToken(token_)), StoreErrorKind::kNotFound);
  EXPECT_EQ(KindOf(txn->GetObject({1})), StoreErrorKind::kNotFound);
  EXPECT_EQ(KindOf(txn->GetCmk({})), StoreErrorKind::kNotFound);
}

TEST_P(StoreSuite, KeepsWholeRecordsThroughARestart) {
  Random random(42);
  TokenRecord token = RandomToken(random);
  cmk::Cmk cmk = RandomCmk(random);
  ObjectRecord object = RandomObject(random);
  object.attributes.push_back({9, Bytes(100'000, 0x5a)});  // larger than a page
  Do([&](WriteTxn& txn) {
    object.serial = Must(txn.NextObjectSerial());
    MustDo(txn.PutToken(token));
    MustDo(txn.PutCmk(cmk));
    MustDo(txn.PutObject(object));
  });
  for (int look = 0; look < 2; ++look) {
    EXPECT_EQ(Must(Read()->GetToken(token.id)), token);
    EXPECT_EQ(Must(Read()->GetCmk(cmk.id)), cmk);
    EXPECT_EQ(Must(Read()->GetObject(object.serial)), object);
    store_.Reopen();
  }
}

TEST_P(StoreSuite, SeesItsOwnWritesAndNobodyElseDoes) {
  auto txn = Write();
  MustDo(txn->PutToken(SomeToken(1)));
  EXPECT_TRUE(Must(txn->FindToken(token_)).has_value());
  bool seen = true;
  std::thread([&] { seen = Must(Must(store_->BeginRead())->FindToken(token_)).has_value(); }).join();
  EXPECT_FALSE(seen);
  MustDo(txn->Commit());
  EXPECT_TRUE(Must(Read()->FindToken(token_)).has_value());
}

TEST_P(StoreSuite, AReaderKeepsTheViewItBeganWith) {
  Do([](WriteTxn& txn) { MustDo(txn.PutToken(SomeToken(1))); });
  auto reader = Read();
  const std::uint64_t generation = Must(reader->ReadMeta()).generation;
  std::thread([&] {
    Do([&](WriteTxn& txn) {
      MustDo(txn.DeleteToken(token_));
      MustDo(txn.PutToken(SomeToken(2)));
    });
  }).join();
  EXPECT_TRUE(Must(reader->FindToken(token_)).has_value());
  EXPECT_FALSE(Must(reader->FindToken(other_token_)).has_value());
  EXPECT_EQ(Must(reader->ReadMeta()).generation, generation);
  EXPECT_FALSE(Must(Read()->FindToken(token_)).has_value());
}

TEST_P(StoreSuite, WhatIsNotCommittedNeverWas) {
  {
    auto txn = Write();
    ObjectRecord object = SomeObject(token_, {{1, {1}}});
    object.serial = Must(txn->NextObjectSerial());
    MustDo(txn->PutObject(object));
    MustDo(txn->PutCmk(SomeCmk(1, token_, "a")));
    MustDo(txn->PutTime(TimeAt(kTestDay + Days(1))));
  }
  store_.Reopen();
  EXPECT_TRUE(Find(token_, {}).empty());
  EXPECT_TRUE(Find(token_, {{1, {1}}}).empty());
  EXPECT_TRUE(Must(Read()->FindCmksByName(token_, "a")).empty());
  EXPECT_EQ(Must(Read()->ReadMeta()).time.highest, kTestDay);
  EXPECT_EQ(Must(Read()->CountObjects(token_)), 0u);
}

TEST_P(StoreSuite, ATransactionIsUsedOnce) {
  auto txn = Write();
  MustDo(txn->PutToken(SomeToken(1)));
  MustDo(txn->Commit());
  EXPECT_EQ(KindOf(txn->PutToken(SomeToken(2))), StoreErrorKind::kInvalid);
  EXPECT_EQ(KindOf(txn->Commit()), StoreErrorKind::kInvalid);
}

TEST_P(StoreSuite, NumbersAreNeverGivenTwice) {
  std::set<std::uint64_t> serials, slots;
  for (int round = 0; round < 5; ++round) {
    Do([&](WriteTxn& txn) {
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(serials.insert(Must(txn.NextObjectSerial()).value).second);
        EXPECT_TRUE(slots.insert(Must(txn.NextSlot())).second);
      }
    });
    store_.Reopen();
  }
  EXPECT_FALSE(serials.contains(0));
  const ObjectSerial serial = Add(token_, {});
  Do([&](WriteTxn& txn) { MustDo(txn.DeleteObject(serial)); });
  EXPECT_GT(Add(token_, {}), serial) << "not even after the object is gone";
}

TEST_P(StoreSuite, HighestTimeOnlyRises) {
  Do([](WriteTxn& txn) { MustDo(txn.PutTime(TimeAt(kTestDay + Days(5)))); });
  const std::uint64_t generation = store_->Generation();
  Do([](WriteTxn& txn) { MustDo(txn.PutTime(TimeAt(kTestDay + Days(4)))); });
  EXPECT_EQ(store_->Generation(), generation) << "nothing to write";
  store_.Reopen();
  EXPECT_EQ(Must(Read()->ReadMeta()).time.highest, kTestDay + Days(5));
}

TEST_P(StoreSuite, TokensAreListedReplacedAndDeleted) {
  Do([](WriteTxn& txn) {
    for (std::uint64_t i = 1; i <= 4; ++i) MustDo(txn.PutToken(SomeToken(i)));
  });
  TokenRecord token = SomeToken(2);
  token.user_pin.failures = 3;
  Do([&](WriteTxn& txn) {
    MustDo(txn.PutToken(token));
    MustDo(txn.DeleteToken(SomeToken(3).id));
    EXPECT_EQ(KindOf(txn.DeleteToken(SomeToken(3).id)), StoreErrorKind::kNotFound);
  });
  store_.Reopen();
  const auto tokens = Must(Read()->ListTokens());
  ASSERT_EQ(tokens.size(), 3u);
  EXPECT_TRUE(std::is_sorted(tokens.begin(), tokens.end(), [](auto& a, auto& b) { return a.id < b.id; }));
  EXPECT_EQ(Must(Read()->GetToken(token.id)), token);
}

TEST_P(StoreSuite, FindsObjectsByEveryCombinationOfTerms) {
  const Term key{1, {3}}, data{1, {0}}, red{2, {'r'}}, blue{2, {'b'}};
  const auto a = Add(token_, {key, red});
  const auto b = Add(token_, {key, blue});
  const auto c = Add(token_, {data, red});
  const auto d = Add(other_token_, {key, red});
  const auto e = Add(token_, {key, red, red});
  for (int look = 0; look < 2; ++look) {
    EXPECT_EQ(Find(token_, {}), (std::vector{a, b, c, e}));
    EXPECT_EQ(Find(token_, {key}), (std::vector{a, b, e}));
    EXPECT_EQ(Find(token_, {red}), (std::vector{a, c, e}));
    EXPECT_EQ(Find(token_, {key, red}), (std::vector{a, e}));
    EXPECT_EQ(Find(token_, {red, key}), (std::vector{a, e}));
    EXPECT_EQ(Find(token_, {key, key, red, red}), (std::vector{a, e}));
    EXPECT_EQ(Find(other_token_, {red}), (std::vector{d}));
    EXPECT_TRUE(Find(token_, {key, data}).empty());
    EXPECT_TRUE(Find(token_, {Term{2, {3}}}).empty()) << "a value belongs to its kind";
    EXPECT_TRUE(Find(token_, {Term{2, {}}}).empty());
    EXPECT_EQ(Find(token_, {}, a, 2), (std::vector{b, c}));
    EXPECT_EQ(Find(token_, {key}, a), (std::vector{b, e}));
    EXPECT_TRUE(Find(token_, {key}, e).empty());
    EXPECT_TRUE(Find(token_, {key}, {}, 0).empty());
    EXPECT_EQ(Must(Read()->CountObjects(token_)), 4u);
    store_.Reopen();
  }
}

TEST_P(StoreSuite, ReplacingAnObjectMovesItsTerms) {
  const Term old_label{2, {'a'}}, new_label{2, {'b'}}, id{3, {}};
  const auto serial = Add(token_, {old_label, id});
  ObjectRecord object = Must(Read()->GetObject(serial));
  object.terms = {new_label, id};
  Do([&](WriteTxn& txn) { MustDo(txn.PutObject(object)); });
  EXPECT_TRUE(Find(token_, {old_label}).empty());
  EXPECT_EQ(Find(token_, {new_label, id}), std::vector{serial});
  EXPECT_EQ(Must(Read()->CountObjects(token_)), 1u);
}

TEST_P(StoreSuite, DeletingAnObjectLeavesNothingOfIt) {
  const auto serial = Add(token_, {{1, {1}}, {2, {2}}});
  const auto stays = Add(token_, {{1, {1}}});
  Do([&](WriteTxn& txn) {
    MustDo(txn.DeleteObject(serial));
    EXPECT_EQ(KindOf(txn.DeleteObject(serial)), StoreErrorKind::kNotFound);
  });
  store_.Reopen();
  EXPECT_FALSE(Must(Read()->FindObject(serial)).has_value());
  EXPECT_EQ(Find(token_, {{1, {1}}}), std::vector{stays});
  EXPECT_TRUE(Find(token_, {{2, {2}}}).empty());
  EXPECT_EQ(Must(Read()->CountObjects(token_)), 1u);
}

TEST_P(StoreSuite, FindsTheObjectsOfACmk) {
  const CmkId id = IdOf<CmkId>(5);
  ObjectRecord object = SomeObject(token_, {});
  object.cmk = id;
  Do([&](WriteTxn& txn) {
    object.serial = Must(txn.NextObjectSerial());
    MustDo(txn.PutObject(object));
  });
  EXPECT_EQ(Find(token_, {OfCmk(id)}), std::vector{object.serial});
  EXPECT_TRUE(Find(token_, {OfCmk(IdOf<CmkId>(6))}).empty());
  object.cmk.reset();
  Do([&](WriteTxn& txn) { MustDo(txn.PutObject(object)); });
  EXPECT_TRUE(Find(token_, {OfCmk(id)}).empty());
}

TEST_P(StoreSuite, AnObjectKeepsItsTokenAndAnHonestSerial) {
  const auto serial = Add(token_, {});
  auto txn = Write();
  ObjectRecord object = SomeObject(other_token_, {});
  object.serial = serial;
  EXPECT_EQ(KindOf(txn->PutObject(object)), StoreErrorKind::kInvalid);
  object.serial = {serial.value + 1};
  EXPECT_EQ(KindOf(txn->PutObject(object)), StoreErrorKind::kInvalid) << "not given out yet";
  object.serial = {0};
  EXPECT_EQ(KindOf(txn->PutObject(object)), StoreErrorKind::kInvalid);
  MustDo(txn->PutToken(SomeToken(1)));
  MustDo(txn->Commit());
}

TEST_P(StoreSuite, NamesAreUniqueWhereAskedFor) {
  const cmk::Cmk first = SomeCmk(1, token_, "payments");
  cmk::Cmk second = SomeCmk(2, token_, "payments");
  Do([&](WriteTxn& txn) { MustDo(txn.PutCmk(first, NameRule::kUnique)); });
  {
    auto txn = Write();
    EXPECT_EQ(KindOf(txn->PutCmk(second, NameRule::kUnique)), StoreErrorKind::kTaken);
    MustDo(txn->PutCmk(first, NameRule::kUnique));
    MustDo(txn->PutCmk(SomeCmk(3, other_token_, "payments"), NameRule::kUnique));
    MustDo(txn->PutCmk(SomeCmk(4, token_, ""), NameRule::kUnique));
    MustDo(txn->PutCmk(SomeCmk(5, token_, ""), NameRule::kUnique));
    MustDo(txn->Commit());
  }
  EXPECT_FALSE(Must(Read()->FindCmk(second.id)).has_value());
  EXPECT_EQ(Must(Read()->FindCmksByName(token_, "payments")), std::vector{first.id});
  EXPECT_TRUE(Must(Read()->FindCmksByName(token_, "")).empty());
  Do([&](WriteTxn& txn) { MustDo(txn.PutCmk(second, NameRule::kShared)); });
  std::vector<CmkId> both{first.id, second.id};
  std::sort(both.begin(), both.end());
  EXPECT_EQ(Must(Read()->FindCmksByName(token_, "payments")), both);
}

TEST_P(StoreSuite, RenamingFreesTheOldNameAndDestroyingToo) {
  cmk::Cmk cmk = SomeCmk(1, token_, "old");
  Do([&](WriteTxn& txn) { MustDo(txn.PutCmk(cmk)); });
  cmk.name = "new";
  Do([&](WriteTxn& txn) { MustDo(txn.PutCmk(cmk)); });
  EXPECT_TRUE(Must(Read()->FindCmksByName(token_, "old")).empty());
  EXPECT_EQ(Must(Read()->FindCmksByName(token_, "new")), std::vector{cmk.id});
  cmk.state = cmk::CmkState::kPendingDeletion;
  Do([&](WriteTxn& txn) { MustDo(txn.PutCmk(cmk)); });
  EXPECT_EQ(Must(Read()->FindCmksByName(token_, "new")).size(), 1u) << "reserved while it can come back";
  cmk.state = cmk::CmkState::kDestroyed;
  cmk.versions.clear();
  cmk.current = {};
  Do([&](WriteTxn& txn) { MustDo(txn.PutCmk(cmk)); });
  EXPECT_TRUE(Must(Read()->FindCmksByName(token_, "new")).empty());
  EXPECT_EQ(Must(Read()->GetCmk(cmk.id)).name, "new") << "the tombstone remembers";
  Do([&](WriteTxn& txn) { MustDo(txn.PutCmk(SomeCmk(2, token_, "new"), NameRule::kUnique)); });
}

TEST_P(StoreSuite, CmksAreListedPageByPage) {
  std::set<CmkId> all, of_token;
  Do([&](WriteTxn& txn) {
    for (std::uint64_t i = 0; i < 25; ++i) {
      const cmk::Cmk cmk = SomeCmk(i, i % 3 == 0 ? other_token_ : token_, "k");
      MustDo(txn.PutCmk(cmk));
      all.insert(cmk.id);
      if (i % 3 == 0) of_token.insert(cmk.id);
    }
  });
  store_.Reopen();
  const auto collect = [&](auto page) {
    std::vector<CmkId> ids;
    for (CmkId after;;) {
      const std::vector<cmk::Cmk> cmks = page(after);
      if (cmks.empty()) return ids;
      for (const cmk::Cmk& cmk : cmks) ids.push_back(cmk.id);
      after = ids.back();
    }
  };
  EXPECT_EQ(collect([&](const CmkId& after) { return Must(Read()->ListCmks(after, 7)); }),
            std::vector<CmkId>(all.begin(), all.end()));
  EXPECT_EQ(collect([&](const CmkId& after) { return Must(Read()->ListCmksOfToken(other_token_, after, 2)); }),
            std::vector<CmkId>(of_token.begin(), of_token.end()));
  EXPECT_TRUE(Must(Read()->ListCmks({}, 0)).empty());
}

TEST_P(StoreSuite, KnowsWhatIsDue) {
  cmk::Cmk rotates = SomeCmk(1, token_, "r");
  rotates.dates.next_rotation = kTestDay + Days(10);
  cmk::Cmk dies = SomeCmk(2, token_, "d");
  dies.state = cmk::CmkState::kPendingDeletion;
  dies.dates.deletion_date = kTestDay + Days(5);
  dies.dates.warned_at = kTestDay + Days(5) - Seconds(1);
  cmk::Cmk sleeps = SomeCmk(3, token_, "s");
  sleeps.dates.next_rotation = kTestDay;
  sleeps.state = cmk::CmkState::kDisabled;
  cmk::Cmk old = SomeCmk(4, token_, "o");
  old.dates.next_rotation = Timestamp{-5};
  Do([&](WriteTxn& txn) {
    for (const auto* cmk : {&rotates, &dies, &sleeps, &old}) MustDo(txn.PutCmk(*cmk));
  });
  store_.Reopen();
  const auto due = [&](Timestamp time, std::size_t limit = kNoLimit) { return Must(Read()->DueBefore(time, limit)); };
  const DueCmk d_old{{-5}, old.id}, d_dies{kTestDay + Days(5), dies.id}, d_rotates{kTestDay + Days(10), rotates.id};
  EXPECT_TRUE(due({-6}).empty());
  EXPECT_EQ(due({-5}), std::vector{d_old});
  EXPECT_EQ(due(kTestDay + Days(5) - Seconds(1)), std::vector{d_old});
  EXPECT_EQ(due(kTestDay + Days(5)), (std::vector{d_old, d_dies}));
  EXPECT_EQ(due(kTestDay + Days(10)), (std::vector{d_old, d_dies, d_rotates}));
  EXPECT_EQ(due(kTestDay + Days(10), 1), std::vector{d_old});
  rotates.dates.next_rotation = kTestDay + Days(20);
  dies.state = cmk::CmkState::kDestroyed;
  Do([&](WriteTxn& txn) {
    MustDo(txn.PutCmk(rotates));
    MustDo(txn.PutCmk(dies));
  });
  EXPECT_EQ(due(kTestDay + Days(10)), std::vector{d_old});
  EXPECT_EQ(due(kTestDay + Days(20)).size(), 2u);
}

TEST_P(StoreSuite, ACmkKeepsItsTokenAndCanBeForgotten) {
  const cmk::Cmk cmk = SomeCmk(1, token_, "a");
  Do([&](WriteTxn& txn) { MustDo(txn.PutCmk(cmk)); });
  {
    auto txn = Write();
    cmk::Cmk moved = cmk;
    moved.token = other_token_;
    EXPECT_EQ(KindOf(txn->PutCmk(moved)), StoreErrorKind::kInvalid);
    MustDo(txn->DeleteCmk(cmk.id));
    EXPECT_EQ(KindOf(txn->DeleteCmk(cmk.id)), StoreErrorKind::kNotFound);
    MustDo(txn->Commit());
  }
  store_.Reopen();
  EXPECT_FALSE(Must(Read()->FindCmk(cmk.id)).has_value());
  EXPECT_TRUE(Must(Read()->ListCmksOfToken(token_, {}, kNoLimit)).empty());
  EXPECT_TRUE(Must(Read()->FindCmksByName(token_, "a")).empty());
}

TEST_P(StoreSuite, KeepsWhatClientsDidWithEachVersionAsLongAsTheKey) {
  const cmk::Cmk cmk = SomeCmk(1, token_, "a");
  const std::vector<cmk::ClientUse> clients{{7, 1, 2, 3, kTestDay, kTestDay}, {9, 4, 5, 6, kTestDay, kTestDay}};
  const auto find = [&](std::uint32_t version) { return Must(Read()->FindClientUses(cmk.id, {version})); };
  {
    auto txn = Write();
    EXPECT_EQ(KindOf(txn->PutClientUses(cmk.id, {1}, clients)), StoreErrorKind::kNotFound) << "no such key";
    MustDo(txn->PutCmk(cmk));
    EXPECT_EQ(KindOf(txn->PutClientUses(cmk.id, {2}, clients)), StoreErrorKind::kNotFound) << "no such version";
    EXPECT_EQ(KindOf(txn->PutClientUses(cmk.id, {1}, {clients[1], clients[0]})), StoreErrorKind::kInvalid);
    MustDo(txn->PutClientUses(cmk.id, {1}, clients));
    MustDo(txn->Commit());
  }
  store_.Reopen();
  EXPECT_EQ(find(1), clients);
  EXPECT_TRUE(find(2).empty());
  Do([&](WriteTxn& txn) { MustDo(txn.DeleteCmk(cmk.id)); });
  Do([&](WriteTxn& txn) { MustDo(txn.PutCmk(cmk)); });
  EXPECT_TRUE(find(1).empty()) << "it went with the key";
}

TEST_P(StoreSuite, RemembersWhatARequestMadeForADay) {
  const RequestRecord request{{'t', '1'}, {9, 9}, {{4}, {5}}, {}};
  Do([&](WriteTxn& txn) { MustDo(txn.PutRequest(request, kTestDay)); });
  store_.Reopen();
  const auto find = [&](Timestamp now) { return Must(Read()->FindRequest(request.tag, now)); };
  ASSERT_TRUE(find(kTestDay).has_value());
  EXPECT_EQ(find(kTestDay)->objects, request.objects);
  EXPECT_EQ(find(kTestDay)->body_digest, request.body_digest);
  EXPECT_EQ(find(kTestDay)->expires, kTestDay + Hours(24));
  EXPECT_TRUE(find(kTestDay + Hours(24) - Seconds(1)).has_value());
  EXPECT_FALSE(find(kTestDay + Hours(24)).has_value());
  Do([&](WriteTxn& txn) { MustDo(txn.PutRequest(request, kTestDay + Hours(1))); });
  EXPECT_TRUE(find(kTestDay + Hours(24)).has_value()) << "put again, it lives again";
}

TEST_P(StoreSuite, ForgetsExpiredRequestsAsNewOnesCome) {
  for (int i = 0; i < 50; ++i)
    Do([&](WriteTxn& txn) {
      MustDo(txn.PutRequest({{static_cast<std::uint8_t>(i)}, {}, {}, {}}, kTestDay + Hours(i * 30)));
    });
  for (int i = 0; i < 49; ++i)
    EXPECT_FALSE(Must(Read()->FindRequest(Bytes{static_cast<std::uint8_t>(i)}, kTestDay + Hours(49 * 30))).has_value());
  EXPECT_TRUE(Must(Read()->FindRequest(Bytes{49}, kTestDay + Hours(49 * 30))).has_value());
}

TEST_P(StoreSuite, RefusesRecordsOutOfBoundsAndGoesOn) {
  auto txn = Write();
  TokenRecord token = SomeToken(1);
  token.label.assign(33, 'x');
  EXPECT_EQ(KindOf(txn->PutToken(token)), StoreErrorKind::kInvalid);
  cmk::Cmk cmk = SomeCmk(1, token_, "a");
  cmk.current = {9};
  EXPECT_EQ(KindOf(txn->PutCmk(cmk)), StoreErrorKind::kInvalid);
  EXPECT_EQ(KindOf(txn->PutRequest({}, kTestDay)), StoreErrorKind::kInvalid);
  MustDo(txn->PutToken(SomeToken(2)));
  MustDo(txn->Commit());
  EXPECT_EQ(Must(Read()->ListTokens()).size(), 1u);
}

TEST_P(StoreSuite, GrowsFarBeyondItsFirstSize) {
  // The test's LMDB map begins with one MiB.
  for (int round = 0; round < 40; ++round)
    Do([&](WriteTxn& txn) {
      ObjectRecord object = SomeObject(token_, {{1, {static_cast<std::uint8_t>(round)}}});
      object.attributes = {{1, Bytes(100'000, static_cast<std::uint8_t>(round))}};
      object.serial = Must(txn.NextObjectSerial());
      MustDo(txn.PutObject(object));
    });
  store_.Reopen();
  EXPECT_EQ(Find(token_, {}).size(), 40u);
  const auto found = Find(token_, {{1, {17}}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(Must(Read()->GetObject(found[0])).attributes[0].value, Bytes(100'000, 17));
}

TEST_P(StoreSuite, ReadersAndWritersOfManyThreadsSeeWholeChanges) {
  // Each change writes the same number into two tokens; no reader may see two numbers.
  const auto put = [](WriteTxn& txn, std::uint32_t number) {
    for (const std::uint64_t id : {1, 2}) {
      TokenRecord token = SomeToken(id);
      token.flags = number;
      MustDo(txn.PutToken(token));
    }
  };
  Do([&](WriteTxn& txn) { put(txn, 0); });
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0}, stale{0}, reads{0};
  std::vector<std::thread> threads;
  for (int reader = 0; reader < 3; ++reader)
    threads.emplace_back([&] {
      while (!stop) {
        const std::uint64_t generation = store_->Generation();
        auto txn = Must(store_->BeginRead());
        const auto first = Must(txn->GetToken(token_)).flags;
        torn += first != Must(txn->GetToken(other_token_)).flags;
        stale += Must(txn->ReadMeta()).generation < generation;
        ++reads;
      }
    });
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 2; ++writer)
    writers.emplace_back([&, writer] {
      for (std::uint32_t i = 0; i < 100; ++i) {
        auto txn = Must(store_->BeginWrite("test"));
        put(*txn, i * 2 + static_cast<std::uint32_t>(writer));
        MustDo(txn->Commit());
      }
    });
  for (std::thread& thread : writers) thread.join();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(torn, 0);
  EXPECT_EQ(stale, 0);
  EXPECT_GT(reads, 0);
  EXPECT_EQ(Must(Read()->ReadMeta()).generation, 1u + 1u + 200u);
}

// Changes of many threads may share a commit: what was acknowledged is there for everybody, what was refused or given
// up is not, and neither is in the way of the others.
TEST_P(StoreSuite, ChangesThatComeTogetherAreEachWholeOrNotThere) {
  constexpr std::uint64_t kThreads = 6, kChanges = 40;
  Do([&](WriteTxn& txn) { MustDo(txn.PutCmk(SomeCmk(9999, token_, "taken"))); });
  std::atomic<int> wrong = 0;
  const auto work = [&](std::uint64_t thread) {
    for (std::uint64_t i = 0; i < kChanges; ++i) {
      const std::uint64_t number = thread * 1000 + i;
      auto txn = Must(store_->BeginWrite("test"));
      const auto put = txn->PutCmk(SomeCmk(number, token_, i % 4 == 1 ? "taken" : "key " + std::to_string(number)),
                                   NameRule::kUnique);
      wrong += put.ok() != (i % 4 != 1);
      // One in four is given up, after a refusal or in the middle.
      if (i % 4 == 2) txn.reset();
      if (txn != nullptr) MustDo(txn->Commit());
      txn.reset();
      const bool there = Must(Must(store_->BeginRead())->FindCmk(IdOf<CmkId>(number))).has_value();
      wrong += there != (i % 4 == 0 || i % 4 == 3);
    }
  };
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < kThreads; ++thread) threads.emplace_back(work, thread);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(Must(Read()->ReadMeta()).generation, 1u + 1u + kThreads * kChanges / 2);
  store_.Reopen();
  EXPECT_EQ(Must(Read()->ListCmksOfToken(token_, {}, kNoLimit)).size(), 1 + kThreads * kChanges / 2);
}

}  // namespace
}  // namespace cmkd::store

// Records as bytes: what is encoded decodes to the same, every truncated prefix and every trailing byte is refused, and
// a flipped bit gives either a refusal or a record that encodes to exactly the flipped bytes.
#include "keystore/store/records.h"

#include <gtest/gtest.h>

#include "keystore/store/codec.h"
#include "keystore/store/schema.h"
#include "tests/keystore/store_testing.h"

namespace cmkd::store {
namespace {

constexpr int kRounds = 300;

template <class Record, class Make, class Decode>
void HoldsTheProperties(Make make, Decode decode) {
  Random random(20260101);
  for (int round = 0; round < kRounds; ++round) {
    const Record record = make(random);
    const Bytes bytes = Encode(record);
    const std::optional<Record> back = decode(record, bytes);
    ASSERT_TRUE(back.has_value());
    ASSERT_EQ(*back, record);
    for (std::size_t size = 0; size < bytes.size(); ++size)
      ASSERT_FALSE(decode(record, ByteView(bytes).first(size)).has_value()) << size << " of " << bytes.size();
    Bytes longer = bytes;
    longer.push_back(0);
    ASSERT_FALSE(decode(record, longer).has_value());
    for (int flip = 0; flip < 50; ++flip) {
      Bytes flipped = bytes;
      flipped[Below(random, flipped.size())] ^= static_cast<std::uint8_t>(1 << Below(random, 8));
      const std::optional<Record> other = decode(record, flipped);
      if (other) {
        ASSERT_EQ(Encode(*other), flipped) << "one encoding for each value";
      }
    }
  }
}

TEST(Records, MetaHoldsTheProperties) {
  HoldsTheProperties<MetaRecord>(
      [](Random& random) {
        MetaRecord meta;
        cmk::TimeRecord time;
        time.highest = {static_cast<std::int64_t>(random())};
        time.wall = {static_cast<std::int64_t>(random())};
        time.boot_time = {static_cast<std::int64_t>(random())};
        for (std::uint8_t& byte : time.boot) byte = static_cast<std::uint8_t>(random());
        time.observed = {static_cast<std::int64_t>(random())};
        time.jumped = Below(random, 2) != 0;
        time.jumped_at = {static_cast<std::int64_t>(random())};
        time.suspect_since = {static_cast<std::int64_t>(random())};
        meta.meta = {RandomId<StoreId>(random),
                     kStoreSchema,
                     {static_cast<std::int64_t>(random())},
                     random(),
                     random(),
                     random(),
                     time};
        meta.lmdb_transaction = random();
        meta.total.entries = random();
        for (std::uint8_t& byte : meta.total.fingerprint) byte = static_cast<std::uint8_t>(random());
        return meta;
      },
      [](const MetaRecord& meta, ByteView bytes) { return DecodeMeta(meta.meta.id, bytes); });
}

TEST(Records, TokenHoldsTheProperties) {
  HoldsTheProperties<TokenRecord>(
      RandomToken, [](const TokenRecord& token, ByteView bytes) { return DecodeToken(token.id, bytes); });
}

TEST(Records, ObjectHoldsTheProperties) {
  HoldsTheProperties<ObjectRecord>(
      RandomObject, [](const ObjectRecord& object, ByteView bytes) { return DecodeObject(object.serial, bytes); });
}

TEST(Records, CmkHoldsTheProperties) {
  HoldsTheProperties<cmk::Cmk>(RandomCmk, [](const cmk::Cmk& cmk, ByteView bytes) { return DecodeCmk(cmk.id, bytes); });
}

TEST(Records, RequestHoldsTheProperties) {
  HoldsTheProperties<RequestRecord>(RandomRequest,
                                    [](const RequestRecord&, ByteView bytes) { return DecodeRequest(bytes); });
}

TEST(Records, ClientsHoldTheProperties) {
  using Clients = std::vector<cmk::ClientUse>;
  HoldsTheProperties<Clients>(RandomClients, [](const Clients&, ByteView bytes) { return DecodeClients(bytes); });
}

TEST(Records, CountDecodesWholeOnly) {
  const Bytes bytes = EncodeCount(7);
  EXPECT_EQ(DecodeCount(bytes), 7u);
  EXPECT_EQ(DecodeCount(ByteView(bytes).first(8)), std::nullopt);
}

TEST(Records, RandomBytesNeverCrashTheDecoders) {
  Random random(7);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes = RandomBytes(random, 200);
    if (!bytes.empty() && round % 2 == 0) bytes[0] = kRecordVersion;
    (void)DecodeMeta({}, bytes);
    (void)DecodeToken({}, bytes);
    (void)DecodeObject({}, bytes);
    (void)DecodeCmk({}, bytes);
    (void)DecodeRequest(bytes);
    (void)DecodeClients(bytes);
  }
}

TEST(Records, ANewerLayoutIsNotGuessedAt) {
  Random random(1);
  const cmk::Cmk cmk = RandomCmk(random);
  Bytes bytes = Encode(cmk);
  bytes[0] = kCmkVersion + 1;
  EXPECT_FALSE(DecodeCmk(cmk.id, bytes).has_value());
}

// A key as the first layout had it: one version, nothing of what came later.
TEST(Records, TheFirstLayoutIsStillRead) {
  const cmk::Cmk cmk = SomeCmk(1, IdOf<cmk::TokenId>(1), "payments");
  Bytes bytes = Encode(cmk);
  // The tail of the record: two absent dates, three empty lists, limit, policy, generation, no predecessor; then two
  // absent dates, a window, no owner, an empty list.
  constexpr std::size_t kTail = 1 + 1 + 4 + 4 + 8 + 1 + 4 + 1 + 4 + (1 + 1 + 8 + 1 + 4);
  // The tail of a version: bytes, three absent dates, an empty fingerprint, exposed.
  constexpr std::size_t kVersionTail = 8 + 3 + 4 + 1;
  const std::size_t tag_at = bytes.size() - kTail - 4;
  bytes.resize(bytes.size() - kTail);
  bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(tag_at - kVersionTail),
              bytes.begin() + static_cast<std::ptrdiff_t>(tag_at));
  bytes[0] = 1;
  const auto read = DecodeCmk(cmk.id, bytes);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(*read, cmk);

  MetaRecord meta;
  meta.meta.schema = kStoreSchema;
  meta.meta.generation = 7;
  meta.meta.time.highest = kTestDay;
  Bytes old = Encode(meta);
  old.resize(old.size() - (8 + 8 + 16 + 8 + 1 + 8 + 8));
  old[0] = 1;
  const auto known = DecodeMeta(meta.meta.id, old);
  ASSERT_TRUE(known.has_value());
  EXPECT_EQ(*known, meta);
}

// One at the bound, one past it.
template <class Record, class Change>
void IsBounded(Record record, Change change, std::size_t bound) {
  change(record, bound);
  EXPECT_TRUE(CheckRecord(record).ok()) << bound;
  change(record, bound + 1);
  const auto checked = CheckRecord(record);
  ASSERT_FALSE(checked.ok()) << bound;
  EXPECT_EQ(checked.error().kind, StoreErrorKind::kInvalid);
}

TEST(Records, EveryBoundHoldsOnBothSides) {
  const TokenRecord token = SomeToken(1);
  IsBounded(
      token, [](auto& t, std::size_t n) { t.label.assign(n, 'x'); }, TokenRecord::kLabelBytesMax);
  IsBounded(
      token, [](auto& t, std::size_t n) { t.serial.assign(n, 'x'); }, TokenRecord::kSerialBytesMax);
  IsBounded(
      token, [](auto& t, std::size_t n) { t.hsm.assign(n, 'x'); }, kHsmNameBytesMax);
  IsBounded(
      token, [](auto& t, std::size_t n) { t.so_pin.verifier.assign(n, 1); }, kVerifierBytesMax);
  IsBounded(
      token, [](auto& t, std::size_t n) { t.user_pin.verifier.assign(n, 1); }, kVerifierBytesMax);

  const ObjectRecord object = SomeObject(token.id, {});
  IsBounded(
      object,
      [](auto& o, std::size_t n) {
        o.attributes.assign(n, {1, {1}});
      },
      kAttributesMax);
  IsBounded(
      object,
      [](auto& o, std::size_t n) {
        o.attributes = {{1, Bytes(n, 1)}};
      },
      kAttributeBytesMax);
  IsBounded(
      object,
      [](auto& o, std::size_t n) {
        o.terms.assign(n, {1, {1}});
      },
      kTermsMax);
  IsBounded(
      object,
      [](auto& o, std::size_t n) {
        o.terms = {{1, Bytes(n, 1)}};
      },
      kTermBytesMax);
  IsBounded(
      object,
      [](auto& o, std::size_t n) {
        o.terms = {{static_cast<std::uint32_t>(n), {}}};
      },
      kReservedTerms - 1);

  const cmk::Cmk cmk = SomeCmk(1, token.id, "name");
  IsBounded(
      cmk, [](auto& c, std::size_t n) { c.name.assign(n, 'x'); }, kNameBytesMax);
  IsBounded(
      cmk, [](auto& c, std::size_t n) { c.description.assign(n, 'x'); }, kDescriptionBytesMax);
  IsBounded(
      cmk, [](auto& c, std::size_t n) { c.spec.assign(n, 'x'); }, kSpecBytesMax);
  IsBounded(
      cmk, [](auto& c, std::size_t n) { c.request_tag.assign(n, 1); }, kRequestTagBytesMax);
  IsBounded(
      cmk, [](auto& c, std::size_t n) { c.versions[0].material.blob.assign(n, 1); }, kMaterialBytesMax);
  const auto versions = [](cmk::Cmk& c, std::size_t n) {
    const cmk::KeyVersion first = c.versions[0];
    c.versions.assign(n, first);
    for (std::size_t i = 0; i < n; ++i) c.versions[i].number = {static_cast<std::uint32_t>(i + 1)};
  };
  IsBounded(cmk, versions, kVersionsMax);

  RequestRecord request{{1}, {}, {}, {}};
  IsBounded(
      request, [](auto& r, std::size_t n) { r.tag.assign(n, 1); }, RequestRecord::kTagBytesMax);
  IsBounded(
      request, [](auto& r, std::size_t n) { r.objects.assign(n, {1}); }, kRequestObjectsMax);
  request.tag.clear();
  EXPECT_FALSE(CheckRecord(request).ok());
}

TEST(Records, WhatContradictsItselfIsRefused) {
  cmk::Cmk cmk = SomeCmk(1, {}, "name");
  cmk.current = {2};
  EXPECT_FALSE(CheckRecord(cmk).ok()) << "a current version that is not there";
  cmk = SomeCmk(1, {}, "name");
  cmk.versions.push_back(cmk.versions.front());
  EXPECT_FALSE(CheckRecord(cmk).ok()) << "one number twice";
  cmk = SomeCmk(1, {}, "name");
  cmk.state = static_cast<cmk::CmkState>(0);
  EXPECT_FALSE(CheckRecord(cmk).ok()) << "a state that is none";
  TokenRecord token = SomeToken(1);
  token.epochs = {{1, {}, EpochState::kCurrent}};
  EXPECT_FALSE(CheckRecord(token).ok()) << "a next epoch that exists";
  token = SomeToken(1);
  token.mirrors.assign(9, {"hsm", Bytes(32)});
  EXPECT_FALSE(CheckRecord(token).ok()) << "more mirrors than there may be";
  token.mirrors.pop_back();
  EXPECT_TRUE(CheckRecord(token).ok());
}

TEST(Codec, ReaderFailsForGoodAndNeverReadsBeyond) {
  const Bytes bytes{0, 0, 0, 5, 1, 2};
  Reader reader(bytes);
  EXPECT_TRUE(reader.Block(100).empty());
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.U8(), 0);
  EXPECT_FALSE(reader.Done());
}

}  // namespace
}  // namespace cmkd::store

// The store on disk: opening and making, and the two kinds of transaction. Every change goes through LmdbWriteTxn,
// which keeps the indexes, the count and the fingerprint in step with the records.
#include "keystore/store/lmdb_store.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "keystore/cmk/lifecycle.h"
#include "keystore/store/census.h"
#include "keystore/store/first_touch.h"
#include "keystore/store/group_commit.h"
#include "keystore/store/lmdb_env.h"
#include "keystore/store/lmdb_error.h"
#include "keystore/store/lmdb_file.h"
#include "keystore/store/lmdb_place.h"
#include "keystore/store/meta_writes.h"
#include "keystore/store/record_view.h"
#include "keystore/store/sealed_table.h"

namespace cmkd::store {
namespace {

using cmk::Cmk;
using cmk::CmkId;
using cmk::CmkState;
using cmk::ObjectSerial;
using cmk::TokenId;

constexpr std::size_t kPurgedPerRequest = 8;

// Reading, the same for both kinds of transaction.
template <class Base>
class Reads : public Base {
 public:
  explicit Reads(const SealedTable& table) : view_(table) {}

  StoreResult<std::optional<TokenRecord>> FindToken(const TokenId& id) const override { return view_.FindToken(id); }
  StoreResult<std::vector<TokenRecord>> ListTokens() const override { return view_.ListTokens(); }
  StoreResult<std::optional<ObjectRecord>> FindObject(ObjectSerial serial) const override {
    return view_.FindObject(serial);
  }
  StoreResult<std::vector<ObjectSerial>> FindObjects(const TokenId& token, std::span<const Term> terms,
                                                     ObjectSerial after, std::size_t limit) const override {
    return view_.FindObjects(token, terms, after, limit);
  }
  StoreResult<std::uint64_t> CountObjects(const TokenId& token) const override { return view_.CountObjects(token); }
  StoreResult<std::optional<Cmk>> FindCmk(const CmkId& id) const override { return view_.FindCmk(id); }
  StoreResult<std::vector<CmkId>> FindCmksByName(const TokenId& token, std::string_view name) const override {
    return view_.FindCmksByName(token, name);
  }
  StoreResult<std::vector<Cmk>> ListCmks(const CmkId& after, std::size_t limit) const override {
    return view_.ListCmks(after, limit);
  }
  StoreResult<std::vector<Cmk>> ListCmksOfToken(const TokenId& token, const CmkId& after,
                                                std::size_t limit) const override {
    return view_.ListCmksOfToken(token, after, limit);
  }
  StoreResult<std::vector<DueCmk>> DueBefore(Timestamp time, std::size_t limit) const override {
    return view_.DueBefore(time, limit);
  }
  StoreResult<std::vector<cmk::ClientUse>> FindClientUses(const CmkId& id,
                                                          cmk::KeyVersionNumber version) const override {
    return view_.FindClientUses(id, version);
  }
  StoreResult<std::optional<RequestRecord>> FindRequest(ByteView tag, Timestamp now) const override {
    return view_.FindRequest(tag, now);
  }

 protected:
  RecordView view_;
};

class LmdbReadTxn : public Reads<ReadTxn> {
 public:
  LmdbReadTxn(LmdbEnv& env, MDB_txn* txn, const Sealer& sealer, const Seals& seals, FirstTouch* touch)
      : Reads(table_), env_(env), txn_(txn), sealer_(sealer), table_(txn, env.dbi(), seals, touch) {}
  ~LmdbReadTxn() override { env_.EndRead(txn_); }

  StoreResult<Meta> ReadMeta() const override {
    ASSIGN_OR_RETURN(const auto value, table_.FindRaw(Key(Database::kMeta).view()));
    if (!value) return CorruptFailure("the store's own record is missing");
    ASSIGN_OR_RETURN(const MetaRecord record, Seals::OpenMeta(sealer_, *value));
    return record.meta;
  }

 private:
  LmdbEnv& env_;
  MDB_txn* txn_;
  const Sealer& sealer_;
  SealedTable table_;
};

// What the store knows beside LMDB. Belongs to whoever has the turn to write, the generation apart.
struct Shared {
  GroupCommit commits;
  Books books;
  std::uint64_t region_entries = kRegionEntries;
  std::optional<StoreError> broken;  // set when a commit ended in doubt
  std::atomic<std::uint64_t> generation{0};
};

class LmdbWriteTxn : public Reads<MetaWrites> {
 public:
  // `group`: the changes that it joins; `txn` is then one inside the group's. nullptr: it leads.
  LmdbWriteTxn(LmdbEnv& env, MDB_txn* txn, const Seals& seals, FirstTouch* touch, Shared& shared,
               GroupCommit::GroupPtr group, const char* label)
      : Reads(table_),
        env_(env),
        txn_(txn),
        shared_(shared),
        group_(std::move(group)),
        label_(label),
        books_(group_ ? group_->books : shared.books),
        table_(txn, env.dbi(), seals, touch, &books_) {}
  ~LmdbWriteTxn() override { Abort(); }

  const char* label() const override { return label_; }
  StoreResult<Meta> ReadMeta() const override { return meta_.meta; }

  StoreResult<void> PutToken(const TokenRecord& token) override {
    return Change([&] { return DoPutToken(token); });
  }
  StoreResult<void> DeleteToken(const TokenId& id) override {
    return Change([&] { return table_.Delete(Key(Database::kToken).Add(id)); });
  }
  StoreResult<void> PutObject(const ObjectRecord& object) override {
    return Change([&] { return DoPutObject(object); });
  }
  StoreResult<void> DeleteObject(ObjectSerial serial) override {
    return Change([&] { return DoDeleteObject(serial); });
  }
  StoreResult<void> PutCmk(const Cmk& cmk, NameRule rule) override {
    return Change([&] { return DoPutCmk(cmk, rule); });
  }
  StoreResult<void> DeleteCmk(const CmkId& id) override {
    return Change([&] { return DoDeleteCmk(id); });
  }
  StoreResult<void> PutClientUses(const CmkId& id, cmk::KeyVersionNumber version,
                                  const std::vector<cmk::ClientUse>& clients) override {
    return Change([&] { return DoPutClientUses(id, version, clients); });
  }
  StoreResult<void> PutRequest(const RequestRecord& request, Timestamp now) override {
    return Change([&] { return DoPutRequest(request, now); });
  }

  StoreResult<void> Commit() override;

 private:
  StoreResult<void> CommitInside();
  StoreResult<void> CommitGroup(Group& group);
  Meta& OwnMeta() override { return meta_.meta; }
  StoreResult<void> CheckLive() const override {
    if (spoiled_) return Failure{*spoiled_};
    if (txn_ == nullptr) return Refuse(StoreErrorKind::kInvalid, "the transaction is over");
    return {};
  }
  void Abort() {
    if (txn_ == nullptr) return;
    env_.AbortWrite(std::exchange(txn_, nullptr));
    shared_.commits.EndTurn();
  }

  // Refusals come before the first write of a change; anything else may have left half of it behind.
  template <class Action>
  StoreResult<void> Change(Action action) {
    RETURN_IF_ERROR(CheckLive());
    StoreResult<void> done = action();
    if (done.ok()) {
      changed_ = true;
      return done;
    }
    const StoreErrorKind kind = done.error().kind;
    const bool refused =
        kind == StoreErrorKind::kNotFound || kind == StoreErrorKind::kTaken || kind == StoreErrorKind::kInvalid;
    if (!refused) spoiled_ = done.error();
    if (kind == StoreErrorKind::kFull) env_.AskForRoom(MDB_MAP_FULL);
    return done;
  }

  StoreResult<void> DoPutToken(const TokenRecord& token);
  StoreResult<void> DoPutObject(const ObjectRecord& object);
  StoreResult<void> DoDeleteObject(ObjectSerial serial);
  StoreResult<void> DoPutCmk(const Cmk& cmk, NameRule rule);
  StoreResult<void> CheckNameIsFree(const Cmk& cmk, const std::string& name) const;
  StoreResult<void> DoDeleteCmk(const CmkId& id);
  StoreResult<void> DoPutClientUses(const CmkId& id, cmk::KeyVersionNumber version,
                                    const std::vector<cmk::ClientUse>& clients);
  StoreResult<void> DoPutRequest(const RequestRecord& request, Timestamp now);

  StoreResult<void> AddToCount(const TokenId& token, int change);
  StoreResult<void> ReplaceMarks(const std::set<Bytes>& before, const std::set<Bytes>& after);
  StoreResult<void> PurgeRequests(Timestamp now);

  LmdbEnv& env_;
  MDB_txn* txn_;
  Shared& shared_;
  GroupCommit::GroupPtr group_;
  const char* label_;
  Books books_;
  MetaRecord& meta_ = books_.meta;
  SealedTable table_;
  std::optional<StoreError> spoiled_;
};

// The index keys that stand for a record.
std::set<Bytes> MarksOf(const Seals& seals, const ObjectRecord& object) {
  std::set<Bytes> keys;
  const auto add = [&](const Term& term) {
    const Key key = Key(Database::kTerm).Add(object.token).Add(seals.TermTag(object.token, term)).Add(object.serial);
    keys.insert(ToBytes(key.view()));
  };
  keys.insert(ToBytes(Key(Database::kObjectOfToken).Add(object.token).Add(object.serial).view()));
  for (const Term& term : object.terms) add(term);
  if (object.cmk) add(OfCmk(*object.cmk));
  return keys;
}

std::set<Bytes> MarksOf(const Seals& seals, const Cmk& cmk) {
  std::set<Bytes> keys;
  keys.insert(ToBytes(Key(Database::kCmkOfToken).Add(cmk.token).Add(cmk.id).view()));
  const auto add_name = [&](const std::string& name) {
    if (name.empty() || cmk.state == CmkState::kDestroyed) return;
    keys.insert(ToBytes(Key(Database::kCmkName).Add(cmk.token).Add(seals.NameTag(cmk.token, name)).Add(cmk.id).view()));
  };
  add_name(cmk.name);
  for (const std::string& alias : cmk.aliases) add_name(alias);
  if (const auto due = cmk::NextDue(cmk)) keys.insert(ToBytes(Key(Database::kCmkDue).Add(*due).Add(cmk.id).view()));
  return keys;
}

Key KeyFrom(ByteView bytes) { return Key(static_cast<Database>(bytes[0])).Add(bytes.subspan(1)); }

StoreResult<void> LmdbWriteTxn::ReplaceMarks(const std::set<Bytes>& before, const std::set<Bytes>& after) {
  for (const Bytes& key : before) {
    if (after.contains(key)) continue;
    StoreResult<void> removed = table_.Delete(KeyFrom(key));
    // The record was there, so its entries must be: not finding one is damage, not an answer.
    if (!removed.ok() && removed.error().kind == StoreErrorKind::kNotFound)
      return CorruptFailure("a record is missing from an index");
    RETURN_IF_ERROR(std::move(removed));
  }
  for (const Bytes& key : after)
    if (!before.contains(key)) RETURN_IF_ERROR(table_.PutMark(KeyFrom(key)));
  return {};
}

StoreResult<void> LmdbWriteTxn::DoPutToken(const TokenRecord& token) {
  RETURN_IF_ERROR(CheckRecord(token));
  return table_.PutRecord(Key(Database::kToken).Add(token.id), Encode(token));
}

StoreResult<void> LmdbWriteTxn::AddToCount(const TokenId& token, int change) {
  ASSIGN_OR_RETURN(const std::uint64_t count, view_.CountObjects(token));
  const Key key = Key(Database::kObjectCount).Add(token);
  const std::uint64_t after = change > 0 ? count + 1 : count - 1;
  if (change < 0 && count == 0) return CorruptFailure("a token has lost count of its objects");
  if (after == 0) return table_.Delete(key);
  return table_.PutRecord(key, EncodeCount(after));
}

StoreResult<void> LmdbWriteTxn::DoPutObject(const ObjectRecord& object) {
  RETURN_IF_ERROR(CheckRecord(object));
  if (object.serial.value == 0 || object.serial.value >= meta_.meta.next_object_serial)
    return Refuse(StoreErrorKind::kInvalid, "an object's serial was not given out by the store");
  ASSIGN_OR_RETURN(const std::optional<ObjectRecord> old, view_.FindObject(object.serial));
  if (old && old->token != object.token) return Refuse(StoreErrorKind::kInvalid, "an object does not change its token");
  const Seals& seals = table_.seals();
  RETURN_IF_ERROR(table_.PutRecord(Key(Database::kObject).Add(object.serial), Encode(object)));
  RETURN_IF_ERROR(ReplaceMarks(old ? MarksOf(seals, *old) : std::set<Bytes>(), MarksOf(seals, object)));
  return old ? StoreResult<void>() : AddToCount(object.token, 1);
}

StoreResult<void> LmdbWriteTxn::DoDeleteObject(ObjectSerial serial) {
  ASSIGN_OR_RETURN(const std::optional<ObjectRecord> old, view_.FindObject(serial));
  if (!old) return Refuse(StoreErrorKind::kNotFound, "there is no such object");
  RETURN_IF_ERROR(table_.Delete(Key(Database::kObject).Add(serial)));
  RETURN_IF_ERROR(ReplaceMarks(MarksOf(table_.seals(), *old), {}));
  return AddToCount(old->token, -1);
}

StoreResult<void> LmdbWriteTxn::CheckNameIsFree(const Cmk& cmk, const std::string& name) const {
  if (name.empty()) return {};
  ASSIGN_OR_RETURN(const std::vector<CmkId> owners, view_.FindCmksByName(cmk.token, name));
  for (const CmkId& owner : owners)
    if (owner != cmk.id) return Refuse(StoreErrorKind::kTaken, "another key of the token has this name");
  return {};
}

StoreResult<void> LmdbWriteTxn::DoPutCmk(const Cmk& cmk, NameRule rule) {
  RETURN_IF_ERROR(CheckRecord(cmk));
  ASSIGN_OR_RETURN(const std::optional<Cmk> old, view_.FindCmk(cmk.id));
  if (old && old->token != cmk.token) return Refuse(StoreErrorKind::kInvalid, "a key does not change its token");
  if (rule == NameRule::kUnique && cmk.state != CmkState::kDestroyed) {
    RETURN_IF_ERROR(CheckNameIsFree(cmk, cmk.name));
    for (const std::string& alias : cmk.aliases) RETURN_IF_ERROR(CheckNameIsFree(cmk, alias));
  }
  const Seals& seals = table_.seals();
  RETURN_IF_ERROR(table_.PutRecord(Key(Database::kCmk).Add(cmk.id), Encode(cmk)));
  return ReplaceMarks(old ? MarksOf(seals, *old) : std::set<Bytes>(), MarksOf(seals, cmk));
}

StoreResult<void> LmdbWriteTxn::DoDeleteCmk(const CmkId& id) {
  ASSIGN_OR_RETURN(const std::optional<Cmk> old, view_.FindCmk(id));
  if (!old) return Refuse(StoreErrorKind::kNotFound, "there is no such key");
  std::vector<Bytes> clients;
  const Key prefix = Key(Database::kClientUses).Add(id);
  RETURN_IF_ERROR(table_.Scan(prefix, prefix.view(), [&](ByteView key, ByteView) -> StoreResult<bool> {
    clients.push_back(ToBytes(key));
    return true;
  }));
  for (const Bytes& key : clients) RETURN_IF_ERROR(table_.Delete(KeyFrom(key)));
  RETURN_IF_ERROR(table_.Delete(Key(Database::kCmk).Add(id)));
  return ReplaceMarks(MarksOf(table_.seals(), *old), {});
}

StoreResult<void> LmdbWriteTxn::DoPutClientUses(const CmkId& id, cmk::KeyVersionNumber version,
                                                const std::vector<cmk::ClientUse>& clients) {
  RETURN_IF_ERROR(CheckRecord(clients));
  ASSIGN_OR_RETURN(const std::optional<Cmk> key, view_.FindCmk(id));
  if (!key || key->FindVersion(version) == nullptr)
    return Refuse(StoreErrorKind::kNotFound, "there is no such version of a key");
  return table_.PutRecord(Key(Database::kClientUses).Add(id).Add(std::uint64_t{version.value}), Encode(clients));
}

StoreResult<void> LmdbWriteTxn::DoPutRequest(const RequestRecord& request, Timestamp now) {
  RETURN_IF_ERROR(CheckRecord(request));
  RETURN_IF_ERROR(PurgeRequests(now));
  RequestRecord record = request;
  record.expires = now + kRequestLife;
  const Sealer::KeyedTag tag = table_.seals().RequestTag(record.tag);
  ASSIGN_OR_RETURN(const std::optional<RequestRecord> old, view_.FindRequestRecord(record.tag));
  const auto expiry = [&](Timestamp at) {
    return std::set<Bytes>{ToBytes(Key(Database::kRequestExpiry).Add(at).Add(ByteView(tag)).view())};
  };
  RETURN_IF_ERROR(table_.PutRecord(Key(Database::kRequest).Add(ByteView(tag)), Encode(record)));
  return ReplaceMarks(old ? expiry(old->expires) : std::set<Bytes>(), expiry(record.expires));
}

// Forgets a few requests whose time has passed, so that their number follows the rate of requests.
StoreResult<void> LmdbWriteTxn::PurgeRequests(Timestamp now) {
  std::vector<Bytes> expired;
  const Key prefix(Database::kRequestExpiry);
  RETURN_IF_ERROR(table_.Scan(prefix, prefix.view(), [&](ByteView key, ByteView) -> StoreResult<bool> {
    if (key.size() != 25 || Key::TimeAt(key, 1) > now) return false;
    expired.push_back(ToBytes(key));
    return expired.size() < kPurgedPerRequest;
  }));
  for (const Bytes& key : expired) {
    RETURN_IF_ERROR(table_.Delete(KeyFrom(key)));
    StoreResult<void> gone = table_.Delete(Key(Database::kRequest).Add(ByteView(key).subspan(9)));
    if (!gone.ok() && gone.error().kind == StoreErrorKind::kNotFound)
      return CorruptFailure("a request is missing its record");
    RETURN_IF_ERROR(std::move(gone));
  }
  return {};
}

StoreResult<void> LmdbWriteTxn::Commit() {
  RETURN_IF_ERROR(CheckLive());
  if (changed_) ++meta_.meta.generation;
  if (group_ != nullptr) return CommitInside();
  if (!changed_) {
    Abort();
    return {};
  }
  const auto group = std::make_shared<Group>();
  group->txn = txn_;
  group->books = std::move(books_);
  shared_.commits.Lead(group);
  StoreResult<void> committed = CommitGroup(*group);
  shared_.commits.EndGroup(group, committed.ok() ? std::nullopt : std::optional(committed.error()));
  return committed;
}

// Also who changed nothing waits: what it read may be what others of the group have just written, and its answer may
// say so.
StoreResult<void> LmdbWriteTxn::CommitInside() {
  MDB_txn* const inner = std::exchange(txn_, nullptr);
  if (!changed_) {
    env_.AbortWrite(inner);
    return shared_.commits.Follow(group_, false);
  }
  const int code = env_.CommitWrite(inner);
  if (code != MDB_SUCCESS) {
    env_.AskForRoom(code);
    shared_.commits.EndTurn();
    return LmdbFailure(code, "cannot commit to the store");
  }
  group_->books = std::move(books_);
  return shared_.commits.Follow(group_, true);
}

StoreResult<void> LmdbWriteTxn::CommitGroup(Group& group) {
  MDB_txn* const txn = std::exchange(txn_, nullptr);
  // Bound into the record, so that an older state shown by LMDB is not taken for this one.
  group.books.meta.lmdb_transaction = ::mdb_txn_id(txn);
  SealedTable table(txn, env_.dbi(), table_.seals(), table_.touch(), &group.books);
  StoreResult<void> written = table.PutBooks(shared_.region_entries);
  if (!written.ok()) {
    if (written.error().kind == StoreErrorKind::kFull) env_.AskForRoom(MDB_MAP_FULL);
    env_.AbortWrite(txn);
    return written;
  }
  const int code = env_.CommitWrite(txn);
  if (code == MDB_SUCCESS) {
    shared_.books = std::move(group.books);
    shared_.generation.store(shared_.books.meta.meta.generation, std::memory_order_release);
    return {};
  }
  Failure<StoreError> failure = LmdbFailure(code, "cannot commit to the store");
  // A full disk comes as ENOSPC or, after a short write, as EIO. Either way LMDB gives up before it touches the meta
  // page, and whatever it did write lies in pages that nothing refers to. Once it has failed in the meta page itself it
  // says so to every transaction after.
  if (env_.LastTransaction() == shared_.books.meta.lmdb_transaction) {
    failure.error.kind = StoreErrorKind::kFull;
    failure.error.sentence += " (is the disk full?); nothing was changed";
    env_.AskForRoom(code);
  } else {
    failure.error.kind = StoreErrorKind::kIo;
    shared_.broken = failure.error;
  }
  return failure;
}

class LmdbStore : public Store {
 public:
  LmdbStore(PlaceLock lock, std::unique_ptr<LmdbEnv> env, const Sealer& sealer, const Books& books,
            const LmdbOptions& options)
      : lock_(std::move(lock)), env_(std::move(env)), sealer_(sealer), seals_(sealer, books.meta.meta.id) {
    shared_.books = books;
    shared_.generation = books.meta.meta.generation;
    shared_.region_entries = options.region_entries;
  }

  // Parts of the file have not been checked yet.
  StoreResult<void> CheckInBackground(std::unique_ptr<LmdbFile> file, const LmdbOptions& options) {
    ASSIGN_OR_RETURN(MDB_txn * as_it_was, env_->BeginRead());
    touch_ = std::make_unique<FirstTouch>(std::move(file), seals_, shared_.books.regions, options.on_background_check);
    touch_->Start([this, as_it_was] { env_->EndRead(as_it_was); });
    return {};
  }

  StoreResult<std::unique_ptr<ReadTxn>> BeginRead() const override {
    RETURN_IF_ERROR(CheckSound());
    ASSIGN_OR_RETURN(MDB_txn * txn, env_->BeginRead());
    return std::unique_ptr<ReadTxn>(new LmdbReadTxn(*env_, txn, sealer_, seals_, touch_.get()));
  }

  StoreResult<std::unique_ptr<WriteTxn>> BeginWrite(const char* label) override {
    GroupCommit::GroupPtr group = shared_.commits.TakeTurn();
    StoreResult<MDB_txn*> txn = BeginInTurn(group);
    if (!txn.ok()) {
      shared_.commits.EndTurn();
      return Failure{std::move(txn.error())};
    }
    return std::unique_ptr<WriteTxn>(
        new LmdbWriteTxn(*env_, *txn, seals_, touch_.get(), shared_, std::move(group), label));
  }

  std::uint64_t Generation() const override { return shared_.generation.load(std::memory_order_acquire); }
  const StoreId& id() const override { return seals_.id(); }

 private:
  StoreResult<MDB_txn*> BeginInTurn(const GroupCommit::GroupPtr& group) {
    if (shared_.broken)
      return Refuse(StoreErrorKind::kIo, "an earlier commit ended in doubt (" + shared_.broken->sentence +
                                             "); restart to find out what is on disk");
    RETURN_IF_ERROR(CheckSound());
    return group != nullptr ? env_->BeginInside(group->txn) : env_->BeginWrite();
  }
  StoreResult<void> CheckSound() const {
    return touch_ != nullptr && touch_->damaged() ? StoreResult<void>(Failure{touch_->damage()}) : StoreResult<void>();
  }

  PlaceLock lock_;
  std::unique_ptr<LmdbEnv> env_;
  const Sealer& sealer_;
  Seals seals_;
  Shared shared_;
  std::unique_ptr<FirstTouch> touch_;  // gone first: its thread uses the rest
};

// The store's own two records, read without LMDB. Regions are missing in a store of before they were kept.
struct OwnRecords {
  MetaRecord meta;
  std::optional<Regions> regions;
};

StoreResult<OwnRecords> ReadOwnRecords(const LmdbFile& file, const Sealer& sealer) {
  std::optional<Bytes> meta_value, regions_value;
  const Key meta_key(Database::kMeta), regions_key(Database::kRegions), end(Database::kToken);
  RETURN_IF_ERROR(
      file.WalkRange(meta_key.view(), ToBytes(end.view()), [&](ByteView key, ByteView value) -> StoreResult<void> {
        if (Equal(key, meta_key.view())) meta_value = ToBytes(value);
        if (Equal(key, regions_key.view())) regions_value = ToBytes(value);
        return {};
      }));
  if (!meta_value) return Refuse(StoreErrorKind::kForeign, "the database was not made by this program");
  OwnRecords own;
  ASSIGN_OR_RETURN(own.meta, Seals::OpenMeta(sealer, *meta_value));
  if (!regions_value) return own;
  ASSIGN_OR_RETURN(own.regions, Seals(sealer, own.meta.meta.id).OpenRegions(*regions_value, own.meta.lmdb_transaction));
  if (own.regions->Sum() != own.meta.total) return CorruptFailure("the store's totals do not agree");
  return own;
}

// All of the file, or with kBackground and a large store as much as must be right before the first touch.
StoreResult<Books> CheckEntries(const LmdbFile& file, const Sealer& sealer, const OwnRecords& own, OpenCheck check) {
  const Seals seals(sealer, own.meta.meta.id);
  Books books{own.meta, own.regions.value_or(Regions())};
  if (!own.regions) {
    ASSIGN_OR_RETURN(books.regions, MakeRegions(file, seals, own.meta.total));
  } else if (check == OpenCheck::kFull) {
    Census census(seals, *own.regions);
    RETURN_IF_ERROR(file.Walk([&](ByteView key, ByteView value) { return census.Visit(key, value); }));
    RETURN_IF_ERROR(census.Finish());
  } else if (check == OpenCheck::kBackground) {
    RETURN_IF_ERROR(file.WalkBranches());
  }
  return books;
}

StoreResult<void> CheckMeta(const MetaRecord& meta, std::uint64_t transaction, const LmdbOptions& options) {
  if (options.expected_id && *options.expected_id != meta.meta.id)
    return Refuse(StoreErrorKind::kForeign, "this is another store than the one the HSM knows");
  if (meta.lmdb_transaction != transaction)
    return CorruptFailure("LMDB shows another state than the one last committed");
  if (meta.meta.generation < options.minimum_generation)
    return Refuse(StoreErrorKind::kTooOld, "the store is at generation " + std::to_string(meta.meta.generation) +
                                               ", and it has been at " + std::to_string(options.minimum_generation) +
                                               ": this is a copy from before; put the right one in place");
  return {};
}

// The first commit of a new store: its own record, and nothing else.
StoreResult<void> WriteFirstMeta(LmdbEnv& env, const Sealer& sealer, const StoreId& id, Timestamp now) {
  Books books;
  MetaRecord& meta = books.meta;
  meta.meta.id = id;
  meta.meta.schema = kStoreSchema;
  meta.meta.created = now;
  meta.meta.time.highest = now;
  meta.meta.generation = 1;
  ASSIGN_OR_RETURN(MDB_txn * txn, env.BeginWrite());
  meta.lmdb_transaction = ::mdb_txn_id(txn);
  const Seals seals(sealer, id);
  StoreResult<void> written = SealedTable(txn, env.dbi(), seals, nullptr, &books).PutBooks(kRegionEntries);
  if (!written.ok()) {
    env.AbortWrite(txn);
    return written;
  }
  const int code = env.CommitWrite(txn);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot write the new store");
  return {};
}

}  // namespace

bool LmdbStoreExists(const std::string& path) {
  const auto vacant = IsVacant(path);
  return !vacant.ok() || !*vacant;
}

StoreResult<void> CreateLmdbStore(const std::string& path, const Sealer& sealer, const StoreId& id, Timestamp now,
                                  const LmdbOptions& options) {
  ASSIGN_OR_RETURN(const PlaceLock lock, PlaceLock::Take(path));
  ASSIGN_OR_RETURN(const bool vacant, IsVacant(path));
  if (!vacant) return Refuse(StoreErrorKind::kForeign, "there is something at " + path + " already; it is left alone");
  ASSIGN_OR_RETURN(const std::string making, BeginMaking(path, options.allow_any_file_system));
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<LmdbEnv> env, LmdbEnv::Open(making, options.map_bytes));
    RETURN_IF_ERROR(WriteFirstMeta(*env, sealer, id, now));
  }
  return FinishMaking(making, path);
}

StoreResult<std::unique_ptr<Store>> OpenLmdbStore(const std::string& path, const Sealer& sealer,
                                                  const LmdbOptions& options) {
  RETURN_IF_ERROR(CheckPlace(path, options.allow_any_file_system));
  ASSIGN_OR_RETURN(PlaceLock lock, PlaceLock::Take(path));
  ASSIGN_OR_RETURN(std::unique_ptr<LmdbFile> file, LmdbFile::Open(DataFile(path)));
  ASSIGN_OR_RETURN(const OwnRecords own, ReadOwnRecords(*file, sealer));
  OpenCheck check = options.check;
  const bool small = !own.regions || own.meta.total.entries < options.background_entries;
  if (check == OpenCheck::kBackground && small) check = OpenCheck::kFull;
  ASSIGN_OR_RETURN(const Books books, CheckEntries(*file, sealer, own, check));
  RETURN_IF_ERROR(CheckMeta(books.meta, file->facts().transaction, options));
  // A reader who stays for the background check would be in the way of a map that grows.
  const std::size_t room = check == OpenCheck::kBackground ? 2 * file->facts().pages * file->facts().page_bytes : 0;
  ASSIGN_OR_RETURN(std::unique_ptr<LmdbEnv> env, LmdbEnv::Open(path, std::max(options.map_bytes, room)));
  if (env->LastTransaction() != file->facts().transaction)
    return CorruptFailure("LMDB shows another state than the one last committed");
  auto store = std::make_unique<LmdbStore>(std::move(lock), std::move(env), sealer, books, options);
  if (check == OpenCheck::kBackground) RETURN_IF_ERROR(store->CheckInBackground(std::move(file), options));
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace cmkd::store

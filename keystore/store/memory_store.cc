// Written without looking at the LMDB store: it is the model that one is tested against. A commit replaces a pointer to
// an unchanging state; a reader keeps the state it began with.
#include "keystore/store/memory_store.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "keystore/cmk/lifecycle.h"
#include "keystore/store/meta_writes.h"
#include "keystore/store/records.h"
#include "keystore/store/schema.h"

namespace cmkd::store {
namespace {

using cmk::Cmk;
using cmk::CmkId;
using cmk::CmkState;
using cmk::ObjectSerial;
using cmk::TokenId;

struct State {
  Meta meta;
  std::map<TokenId, std::shared_ptr<const TokenRecord>> tokens;
  std::map<ObjectSerial, std::shared_ptr<const ObjectRecord>> objects;
  std::map<CmkId, std::shared_ptr<const Cmk>> cmks;
  std::map<Bytes, std::shared_ptr<const RequestRecord>> requests;
  std::map<std::pair<CmkId, std::uint32_t>, std::shared_ptr<const std::vector<cmk::ClientUse>>> clients;
};

template <class Map, class Id>
auto FindIn(const Map& map, const Id& id) -> StoreResult<std::optional<std::decay_t<decltype(*map.begin()->second)>>> {
  using Record = std::decay_t<decltype(*map.begin()->second)>;
  const auto found = map.find(id);
  if (found == map.end()) return std::optional<Record>();
  return std::optional<Record>(*found->second);
}

bool Has(const ObjectRecord& object, const Term& term) {
  if (term.kind == kCmkTerm) return object.cmk && Equal(term.value, object.cmk->view());
  return std::find(object.terms.begin(), object.terms.end(), term) != object.terms.end();
}

bool HoldsName(const Cmk& cmk, const TokenId& token, std::string_view name) {
  if (cmk.token != token || name.empty() || cmk.state == CmkState::kDestroyed) return false;
  return cmk.name == name || std::find(cmk.aliases.begin(), cmk.aliases.end(), name) != cmk.aliases.end();
}

bool SharesName(const Cmk& other, const Cmk& cmk) {
  const auto holds = [&](const std::string& name) { return HoldsName(other, cmk.token, name); };
  return holds(cmk.name) || std::any_of(cmk.aliases.begin(), cmk.aliases.end(), holds);
}

template <class Base>
class Reads : public Base {
 public:
  StoreResult<Meta> ReadMeta() const override { return Look().meta; }
  StoreResult<std::optional<TokenRecord>> FindToken(const TokenId& id) const override {
    return FindIn(Look().tokens, id);
  }
  StoreResult<std::vector<TokenRecord>> ListTokens() const override {
    std::vector<TokenRecord> tokens;
    for (const auto& [id, token] : Look().tokens) tokens.push_back(*token);
    return tokens;
  }
  StoreResult<std::optional<ObjectRecord>> FindObject(ObjectSerial serial) const override {
    return FindIn(Look().objects, serial);
  }
  StoreResult<std::vector<ObjectSerial>> FindObjects(const TokenId& token, std::span<const Term> terms,
                                                     ObjectSerial after, std::size_t limit) const override {
    std::vector<ObjectSerial> serials;
    const auto& objects = Look().objects;
    for (auto at = objects.upper_bound(after); at != objects.end() && serials.size() < limit; ++at) {
      const auto has = [&](const Term& term) { return Has(*at->second, term); };
      if (at->second->token == token && std::all_of(terms.begin(), terms.end(), has)) serials.push_back(at->first);
    }
    return serials;
  }
  StoreResult<std::uint64_t> CountObjects(const TokenId& token) const override {
    std::uint64_t count = 0;
    for (const auto& [serial, object] : Look().objects) count += object->token == token;
    return count;
  }
  StoreResult<std::optional<Cmk>> FindCmk(const CmkId& id) const override { return FindIn(Look().cmks, id); }
  StoreResult<std::vector<CmkId>> FindCmksByName(const TokenId& token, std::string_view name) const override {
    std::vector<CmkId> ids;
    for (const auto& [id, cmk] : Look().cmks)
      if (HoldsName(*cmk, token, name)) ids.push_back(id);
    return ids;
  }
  StoreResult<std::vector<Cmk>> ListCmks(const CmkId& after, std::size_t limit) const override {
    return Page(after, limit, [](const Cmk&) { return true; });
  }
  StoreResult<std::vector<Cmk>> ListCmksOfToken(const TokenId& token, const CmkId& after,
                                                std::size_t limit) const override {
    return Page(after, limit, [&](const Cmk& cmk) { return cmk.token == token; });
  }
  StoreResult<std::vector<DueCmk>> DueBefore(Timestamp time, std::size_t limit) const override {
    std::vector<DueCmk> due;
    for (const auto& [id, cmk] : Look().cmks)
      if (const auto at = cmk::NextDue(*cmk); at && *at <= time) due.push_back({*at, id});
    std::sort(due.begin(), due.end());
    if (due.size() > limit) due.resize(limit);
    return due;
  }
  StoreResult<std::vector<cmk::ClientUse>> FindClientUses(const CmkId& id,
                                                          cmk::KeyVersionNumber version) const override {
    const auto found = Look().clients.find({id, version.value});
    return found == Look().clients.end() ? std::vector<cmk::ClientUse>() : *found->second;
  }
  StoreResult<std::optional<RequestRecord>> FindRequest(ByteView tag, Timestamp now) const override {
    const auto found = Look().requests.find(ToBytes(tag));
    if (found == Look().requests.end() || found->second->expires <= now) return std::optional<RequestRecord>();
    return std::optional(*found->second);
  }

 protected:
  virtual const State& Look() const = 0;

 private:
  template <class Wanted>
  std::vector<Cmk> Page(const CmkId& after, std::size_t limit, Wanted wanted) const {
    std::vector<Cmk> cmks;
    const auto& all = Look().cmks;
    for (auto at = all.upper_bound(after); at != all.end() && cmks.size() < limit; ++at)
      if (wanted(*at->second)) cmks.push_back(*at->second);
    return cmks;
  }
};

class MemoryReadTxn : public Reads<ReadTxn> {
 public:
  explicit MemoryReadTxn(std::shared_ptr<const State> state) : state_(std::move(state)) {}

 private:
  const State& Look() const override { return *state_; }

  std::shared_ptr<const State> state_;
};

struct Shared {
  std::mutex writing;
  mutable std::mutex reading;  // guards the pointer only
  std::shared_ptr<const State> state;
  std::atomic<std::uint64_t> generation{0};
};

Failure<StoreError> Invalid(const char* sentence) { return Refuse(StoreErrorKind::kInvalid, sentence); }
Failure<StoreError> NotFound(const char* sentence) { return Refuse(StoreErrorKind::kNotFound, sentence); }

class MemoryWriteTxn : public Reads<MetaWrites> {
 public:
  MemoryWriteTxn(Shared& shared, std::unique_lock<std::mutex> writing, const char* label)
      : shared_(shared), writing_(std::move(writing)), label_(label), state_(*shared.state) {}

  const char* label() const override { return label_; }

  StoreResult<void> PutToken(const TokenRecord& token) override {
    RETURN_IF_ERROR(CheckLive());
    RETURN_IF_ERROR(CheckRecord(token));
    return Put(state_.tokens, token.id, token);
  }
  StoreResult<void> DeleteToken(const TokenId& id) override { return Erase(state_.tokens, id); }

  StoreResult<void> PutObject(const ObjectRecord& object) override {
    RETURN_IF_ERROR(CheckLive());
    RETURN_IF_ERROR(CheckRecord(object));
    if (object.serial.value == 0 || object.serial.value >= state_.meta.next_object_serial)
      return Invalid("an object's serial was not given out by the store");
    const auto old = state_.objects.find(object.serial);
    if (old != state_.objects.end() && old->second->token != object.token)
      return Invalid("an object does not change its token");
    return Put(state_.objects, object.serial, object);
  }
  StoreResult<void> DeleteObject(ObjectSerial serial) override { return Erase(state_.objects, serial); }

  StoreResult<void> PutCmk(const Cmk& cmk, NameRule rule) override {
    RETURN_IF_ERROR(CheckLive());
    RETURN_IF_ERROR(CheckRecord(cmk));
    const auto old = state_.cmks.find(cmk.id);
    if (old != state_.cmks.end() && old->second->token != cmk.token) return Invalid("a key does not change its token");
    if (rule == NameRule::kUnique && cmk.state != CmkState::kDestroyed)
      for (const auto& [id, other] : state_.cmks)
        if (id != cmk.id && SharesName(*other, cmk))
          return Refuse(StoreErrorKind::kTaken, "another key of the token has this name");
    return Put(state_.cmks, cmk.id, cmk);
  }
  StoreResult<void> PutClientUses(const CmkId& id, cmk::KeyVersionNumber version,
                                  const std::vector<cmk::ClientUse>& clients) override {
    RETURN_IF_ERROR(CheckLive());
    RETURN_IF_ERROR(CheckRecord(clients));
    const auto key = state_.cmks.find(id);
    if (key == state_.cmks.end() || key->second->FindVersion(version) == nullptr)
      return NotFound("there is no such version of a key");
    return Put(state_.clients, std::pair(id, version.value), clients);
  }
  StoreResult<void> DeleteCmk(const CmkId& id) override {
    RETURN_IF_ERROR(Erase(state_.cmks, id));
    std::erase_if(state_.clients, [&](const auto& item) { return item.first.first == id; });
    return {};
  }

  StoreResult<void> PutRequest(const RequestRecord& request, Timestamp now) override {
    RETURN_IF_ERROR(CheckLive());
    RETURN_IF_ERROR(CheckRecord(request));
    std::erase_if(state_.requests, [&](const auto& item) { return item.second->expires <= now; });
    RequestRecord record = request;
    record.expires = now + kRequestLife;
    return Put(state_.requests, request.tag, record);
  }

  StoreResult<void> Commit() override {
    RETURN_IF_ERROR(CheckLive());
    if (changed_) {
      const std::uint64_t generation = ++state_.meta.generation;
      auto state = std::make_shared<const State>(std::move(state_));
      {
        const std::lock_guard lock(shared_.reading);
        shared_.state = std::move(state);
      }
      shared_.generation.store(generation, std::memory_order_release);
    }
    writing_.unlock();
    return {};
  }

 private:
  const State& Look() const override { return state_; }

  Meta& OwnMeta() override { return state_.meta; }
  StoreResult<void> CheckLive() const override {
    return writing_.owns_lock() ? StoreResult<void>() : Invalid("the transaction is over");
  }

  template <class Map, class Id, class Record>
  StoreResult<void> Put(Map& map, const Id& id, const Record& record) {
    map[id] = std::make_shared<const Record>(record);
    changed_ = true;
    return {};
  }
  template <class Map, class Id>
  StoreResult<void> Erase(Map& map, const Id& id) {
    RETURN_IF_ERROR(CheckLive());
    if (map.erase(id) == 0) return NotFound("there is no such record");
    changed_ = true;
    return {};
  }

  Shared& shared_;
  std::unique_lock<std::mutex> writing_;
  const char* label_;
  State state_;
};

class MemoryStore : public Store {
 public:
  MemoryStore(const StoreId& id, Timestamp now) : id_(id) {
    auto state = std::make_shared<State>();
    state->meta.id = id;
    state->meta.schema = kStoreSchema;
    state->meta.created = now;
    state->meta.time.highest = now;
    state->meta.generation = 1;
    shared_.state = std::move(state);
    shared_.generation = 1;
  }

  StoreResult<std::unique_ptr<ReadTxn>> BeginRead() const override {
    const std::lock_guard lock(shared_.reading);
    return std::unique_ptr<ReadTxn>(new MemoryReadTxn(shared_.state));
  }
  StoreResult<std::unique_ptr<WriteTxn>> BeginWrite(const char* label) override {
    return std::unique_ptr<WriteTxn>(new MemoryWriteTxn(shared_, std::unique_lock(shared_.writing), label));
  }
  std::uint64_t Generation() const override { return shared_.generation.load(std::memory_order_acquire); }
  const StoreId& id() const override { return id_; }

 private:
  StoreId id_;
  Shared shared_;
};

}  // namespace

std::unique_ptr<Store> MakeMemoryStore(const StoreId& id, Timestamp now) {
  return std::make_unique<MemoryStore>(id, now);
}

}  // namespace cmkd::store

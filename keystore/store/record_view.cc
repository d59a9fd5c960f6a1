// Each question is one look-up or one short walk over an index.
#include "keystore/store/record_view.h"

#include <string>
#include <utility>

#include "keystore/store/lmdb_error.h"

namespace cmkd::store {
namespace {

using cmk::Cmk;
using cmk::CmkId;
using cmk::ObjectSerial;
using cmk::TokenId;

constexpr std::uint64_t kLastSerial = std::numeric_limits<std::uint64_t>::max();

// Opens and decodes one record; `decode` is given the plain bytes.
template <class Record, class Decode>
StoreResult<std::optional<Record>> FindDecoded(const SealedTable& table, const Key& key, Decode decode) {
  ASSIGN_OR_RETURN(std::optional<Bytes> plain, table.Find(key));
  if (!plain) return std::optional<Record>();
  std::optional<Record> record = decode(ByteView(*plain));
  Wipe(*plain);
  if (!record) return CorruptFailure("a record of database " + std::to_string(key.view()[0]) + " does not decode");
  return record;
}

template <class Id>
Id IdAt(ByteView key, std::size_t at) {
  return Id::FromBytes(key.subspan(at, Id::kBytes)).value_or(Id{});
}

// The key right after every key that begins with database, `token` and `after`: nothing sorts between.
Bytes JustAfter(ByteView key) {
  Bytes next = ToBytes(key);
  next.push_back(0);
  return next;
}

// A key of a wrong length under a right prefix is somebody else's.
StoreResult<void> CheckLength(ByteView key, std::size_t bytes) {
  if (key.size() == bytes) return {};
  return CorruptFailure("an entry of database " + std::to_string(key[0]) + " has a key of another length");
}

// The ascending serials of one term, found by jumping.
class Posting {
 public:
  Posting(SealedTable::Cursor cursor, const Key& prefix) : cursor_(std::move(cursor)), prefix_(prefix) {}

  // The first serial at or above `least`.
  StoreResult<std::optional<ObjectSerial>> Seek(ObjectSerial least) {
    ASSIGN_OR_RETURN(const auto key, cursor_.Seek(prefix_.view(), Key(prefix_).Add(least).view()));
    if (!key) return std::optional<ObjectSerial>();
    RETURN_IF_ERROR(CheckLength(*key, prefix_.view().size() + 8));
    return std::optional(ObjectSerial{Key::NumberAt(*key, prefix_.view().size())});
  }

 private:
  SealedTable::Cursor cursor_;
  Key prefix_;
};

StoreResult<std::vector<Posting>> OpenPostings(const SealedTable& table, const TokenId& token,
                                               std::span<const Term> terms) {
  std::vector<Posting> postings;
  const auto add = [&](const Key& prefix) -> StoreResult<void> {
    ASSIGN_OR_RETURN(SealedTable::Cursor cursor, table.OpenCursor());
    postings.emplace_back(std::move(cursor), prefix);
    return {};
  };
  if (terms.empty()) RETURN_IF_ERROR(add(Key(Database::kObjectOfToken).Add(token)));
  for (const Term& term : terms)
    RETURN_IF_ERROR(add(Key(Database::kTerm).Add(token).Add(table.seals().TermTag(token, term))));
  return postings;
}

// The first serial at or above `least` that all postings have. Each jumps to the highest the others have reached, so
// the work is bounded by the shortest of them.
StoreResult<std::optional<ObjectSerial>> NextCommon(std::vector<Posting>& postings, ObjectSerial least) {
  std::size_t agreeing = 0;
  for (std::size_t i = 0; agreeing < postings.size(); i = (i + 1) % postings.size()) {
    ASSIGN_OR_RETURN(const auto found, postings[i].Seek(least));
    if (!found) return std::optional<ObjectSerial>();
    agreeing = *found == least ? agreeing + 1 : 1;
    least = *found;
  }
  return std::optional(least);
}

}  // namespace

StoreResult<std::optional<TokenRecord>> RecordView::FindToken(const TokenId& id) const {
  return FindDecoded<TokenRecord>(table_, Key(Database::kToken).Add(id),
                                  [&](ByteView plain) { return DecodeToken(id, plain); });
}

StoreResult<std::vector<TokenRecord>> RecordView::ListTokens() const {
  std::vector<TokenRecord> tokens;
  const Key prefix(Database::kToken);
  RETURN_IF_ERROR(table_.Scan(prefix, prefix.view(), [&](ByteView key, ByteView) -> StoreResult<bool> {
    RETURN_IF_ERROR(CheckLength(key, 17));
    ASSIGN_OR_RETURN(std::optional<TokenRecord> token, FindToken(IdAt<TokenId>(key, 1)));
    if (token) tokens.push_back(std::move(*token));
    return true;
  }));
  return tokens;
}

StoreResult<std::optional<ObjectRecord>> RecordView::FindObject(ObjectSerial serial) const {
  return FindDecoded<ObjectRecord>(table_, Key(Database::kObject).Add(serial),
                                   [&](ByteView plain) { return DecodeObject(serial, plain); });
}

StoreResult<std::vector<ObjectSerial>> RecordView::FindObjects(const TokenId& token, std::span<const Term> terms,
                                                               ObjectSerial after, std::size_t limit) const {
  std::vector<ObjectSerial> serials;
  if (after.value == kLastSerial) return serials;
  ASSIGN_OR_RETURN(std::vector<Posting> postings, OpenPostings(table_, token, terms));
  ObjectSerial least{after.value + 1};
  while (serials.size() < limit) {
    ASSIGN_OR_RETURN(const auto found, NextCommon(postings, least));
    if (!found) break;
    serials.push_back(*found);
    if (found->value == kLastSerial) break;
    least = {found->value + 1};
  }
  return serials;
}

StoreResult<std::uint64_t> RecordView::CountObjects(const TokenId& token) const {
  ASSIGN_OR_RETURN(const auto count, FindDecoded<std::uint64_t>(table_, Key(Database::kObjectCount).Add(token),
                                                                [](ByteView plain) { return DecodeCount(plain); }));
  return count.value_or(0);
}

StoreResult<std::optional<Cmk>> RecordView::FindCmk(const CmkId& id) const {
  return FindDecoded<Cmk>(table_, Key(Database::kCmk).Add(id), [&](ByteView plain) { return DecodeCmk(id, plain); });
}

StoreResult<std::vector<CmkId>> RecordView::FindCmksByName(const TokenId& token, std::string_view name) const {
  std::vector<CmkId> ids;
  const Key prefix = Key(Database::kCmkName).Add(token).Add(table_.seals().NameTag(token, name));
  RETURN_IF_ERROR(table_.Scan(prefix, prefix.view(), [&](ByteView key, ByteView) -> StoreResult<bool> {
    RETURN_IF_ERROR(CheckLength(key, 49));
    ids.push_back(IdAt<CmkId>(key, 33));
    return true;
  }));
  return ids;
}

StoreResult<std::vector<Cmk>> RecordView::ListCmks(const CmkId& after, std::size_t limit) const {
  std::vector<Cmk> cmks;
  if (limit == 0) return cmks;
  const Key prefix(Database::kCmk);
  const Bytes from = JustAfter(Key(Database::kCmk).Add(after).view());
  RETURN_IF_ERROR(table_.Scan(prefix, from, [&](ByteView key, ByteView value) -> StoreResult<bool> {
    RETURN_IF_ERROR(CheckLength(key, 17));
    ASSIGN_OR_RETURN(Bytes plain, table_.seals().Open(key, value));
    std::optional<Cmk> cmk = DecodeCmk(IdAt<CmkId>(key, 1), plain);
    if (!cmk) return CorruptFailure("the record of a key does not decode");
    cmks.push_back(std::move(*cmk));
    return cmks.size() < limit;
  }));
  return cmks;
}

StoreResult<std::vector<Cmk>> RecordView::ListCmksOfToken(const TokenId& token, const CmkId& after,
                                                          std::size_t limit) const {
  std::vector<Cmk> cmks;
  if (limit == 0) return cmks;
  const Key prefix = Key(Database::kCmkOfToken).Add(token);
  const Bytes from = JustAfter(Key(prefix).Add(after).view());
  RETURN_IF_ERROR(table_.Scan(prefix, from, [&](ByteView key, ByteView) -> StoreResult<bool> {
    RETURN_IF_ERROR(CheckLength(key, 33));
    ASSIGN_OR_RETURN(std::optional<Cmk> cmk, FindCmk(IdAt<CmkId>(key, 17)));
    if (!cmk) return CorruptFailure("a key that its token lists has no record");
    cmks.push_back(std::move(*cmk));
    return cmks.size() < limit;
  }));
  return cmks;
}

StoreResult<std::vector<DueCmk>> RecordView::DueBefore(Timestamp time, std::size_t limit) const {
  std::vector<DueCmk> due;
  if (limit == 0) return due;
  const Key prefix(Database::kCmkDue);
  RETURN_IF_ERROR(table_.Scan(prefix, prefix.view(), [&](ByteView key, ByteView) -> StoreResult<bool> {
    RETURN_IF_ERROR(CheckLength(key, 25));
    const Timestamp at = Key::TimeAt(key, 1);
    if (at > time) return false;
    due.push_back({at, IdAt<CmkId>(key, 9)});
    return due.size() < limit;
  }));
  return due;
}

StoreResult<std::vector<cmk::ClientUse>> RecordView::FindClientUses(const CmkId& id,
                                                                    cmk::KeyVersionNumber version) const {
  ASSIGN_OR_RETURN(auto clients, FindDecoded<std::vector<cmk::ClientUse>>(
                                     table_, Key(Database::kClientUses).Add(id).Add(std::uint64_t{version.value}),
                                     [](ByteView plain) { return DecodeClients(plain); }));
  return std::move(clients).value_or(std::vector<cmk::ClientUse>());
}

StoreResult<std::optional<RequestRecord>> RecordView::FindRequestRecord(ByteView tag) const {
  return FindDecoded<RequestRecord>(table_, Key(Database::kRequest).Add(table_.seals().RequestTag(tag)), DecodeRequest);
}

StoreResult<std::optional<RequestRecord>> RecordView::FindRequest(ByteView tag, Timestamp now) const {
  ASSIGN_OR_RETURN(std::optional<RequestRecord> request, FindRequestRecord(tag));
  if (request && request->expires <= now) request.reset();
  return request;
}

}  // namespace cmkd::store

// Sealing, marking, counting. No record's meaning is known here.
#include "keystore/store/sealed_table.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "keystore/store/first_touch.h"
#include "keystore/store/lmdb_error.h"

namespace cmkd::store {
namespace {

MDB_val ToVal(ByteView view) { return {view.size(), const_cast<std::uint8_t*>(view.data())}; }
ByteView ToView(const MDB_val& value) { return {static_cast<const std::uint8_t*>(value.mv_data), value.mv_size}; }

bool BeginsWith(ByteView key, ByteView prefix) {
  return key.size() >= prefix.size() && std::memcmp(key.data(), prefix.data(), prefix.size()) == 0;
}

// What a record is bound to: its store, its schema and its key, whose first byte is the database.
Bytes Associated(const StoreId& id, ByteView key) {
  Bytes associated;
  associated.reserve(StoreId::kBytes + 2 + key.size());
  associated.insert(associated.end(), id.bytes.begin(), id.bytes.end());
  associated.push_back(kStoreSchema);
  associated.push_back(key[0]);
  associated.insert(associated.end(), key.begin(), key.end());
  return associated;
}

Failure<StoreError> SealFailure(SealError error, ByteView key) {
  if (error == SealError::kDamaged)
    return CorruptFailure("a record of database " + std::to_string(key[0]) + " does not open");
  return Refuse(StoreErrorKind::kIo, "the sealing key is not available");
}

constexpr int kDivisionsPerCommit = 8;
constexpr std::size_t kHeaderBytes = 2;
constexpr std::size_t kMetaHeaderBytes = kMagicBytes + 2 + StoreId::kBytes;

const Key& MetaKey() {
  static const Key key(Database::kMeta);
  return key;
}

}  // namespace

bool IsMark(std::uint8_t database) {
  switch (static_cast<Database>(database)) {
    case Database::kObjectOfToken:
    case Database::kTerm:
    case Database::kCmkOfToken:
    case Database::kCmkName:
    case Database::kCmkDue:
    case Database::kRequestExpiry: return true;
    default: return false;
  }
}

StoreResult<Bytes> Seals::Seal(ByteView key, Bytes plain) const {
  auto sealed = sealer_->Seal(Associated(id_, key), plain);
  Wipe(plain);
  if (!sealed.ok()) return SealFailure(sealed.error(), key);
  Bytes value;
  value.reserve(kHeaderBytes + sealed->size());
  value.push_back(kStoreSchema);
  value.push_back(key[0]);
  value.insert(value.end(), sealed->begin(), sealed->end());
  return value;
}

StoreResult<Bytes> Seals::Open(ByteView key, ByteView value) const {
  if (value.size() < kHeaderBytes || value[1] != key[0]) return SealFailure(SealError::kDamaged, key);
  if (value[0] != kStoreSchema) return SealFailure(SealError::kDamaged, key);
  auto plain = sealer_->Open(Associated(id_, key), value.subspan(kHeaderBytes));
  if (!plain.ok()) return SealFailure(plain.error(), key);
  return std::move(*plain);
}

StoreResult<Bytes> Seals::SealMeta(const MetaRecord& meta) const {
  auto sealed = sealer_->Seal(Associated(id_, MetaKey().view()), Encode(meta));
  if (!sealed.ok()) return SealFailure(sealed.error(), MetaKey().view());
  Bytes value = ToBytes(AsBytes({kMagic, kMagicBytes}));
  value.push_back(kStoreSchema);
  value.push_back(static_cast<std::uint8_t>(Database::kMeta));
  value.insert(value.end(), id_.bytes.begin(), id_.bytes.end());
  value.insert(value.end(), sealed->begin(), sealed->end());
  return value;
}

StoreResult<MetaRecord> Seals::OpenMeta(const Sealer& sealer, ByteView value) {
  if (value.size() < kMetaHeaderBytes || std::memcmp(value.data(), kMagic, kMagicBytes) != 0)
    return Refuse(StoreErrorKind::kForeign, "the database was not made by this program");
  if (value[kMagicBytes] > kStoreSchema)
    return Refuse(StoreErrorKind::kSchema, "the store has schema " + std::to_string(value[kMagicBytes]) +
                                               ", this program knows up to " + std::to_string(kStoreSchema) +
                                               "; use the version of the program that wrote it");
  const StoreId id = *StoreId::FromBytes(value.subspan(kMagicBytes + 2, StoreId::kBytes));
  auto plain = sealer.Open(Associated(id, MetaKey().view()), value.subspan(kMetaHeaderBytes));
  if (!plain.ok() && plain.error() == SealError::kDamaged)
    return CorruptFailure("the store's own record does not open (another sealing key made it, or it was altered)");
  if (!plain.ok()) return SealFailure(plain.error(), MetaKey().view());
  const auto meta = DecodeMeta(id, *plain);
  if (!meta || value[kMagicBytes] != kStoreSchema) return CorruptFailure("the store's own record does not decode");
  return *meta;
}

StoreResult<Bytes> Seals::SealRegions(const Regions& regions, std::uint64_t lmdb_transaction) const {
  return Seal(Key(Database::kRegions).view(), Encode(regions, lmdb_transaction));
}

StoreResult<Regions> Seals::OpenRegions(ByteView value, std::uint64_t lmdb_transaction) const {
  ASSIGN_OR_RETURN(const Bytes plain, Open(Key(Database::kRegions).view(), value));
  auto regions = DecodeRegions(lmdb_transaction, plain);
  if (!regions) return CorruptFailure("the store's totals are not of its last change");
  return std::move(*regions);
}

Sealer::KeyedTag Seals::TagOf(TagUse use, ByteView message) const {
  Bytes bytes;
  bytes.reserve(1 + StoreId::kBytes + message.size());
  bytes.push_back(static_cast<std::uint8_t>(use));
  bytes.insert(bytes.end(), id_.bytes.begin(), id_.bytes.end());
  bytes.insert(bytes.end(), message.begin(), message.end());
  const Sealer::KeyedTag tag = sealer_->Tag(bytes);
  Wipe(bytes);
  return tag;
}

Sealer::KeyedTag Seals::TermTag(const cmk::TokenId& token, const Term& term) const {
  Bytes message = ToBytes(token.view());
  for (int shift = 24; shift >= 0; shift -= 8) message.push_back(static_cast<std::uint8_t>(term.kind >> shift));
  message.insert(message.end(), term.value.begin(), term.value.end());
  return TagOf(TagUse::kTerm, message);
}

Sealer::KeyedTag Seals::NameTag(const cmk::TokenId& token, std::string_view name) const {
  Bytes message = ToBytes(token.view());
  message.insert(message.end(), name.begin(), name.end());
  return TagOf(TagUse::kName, message);
}

Sealer::KeyedTag Seals::Fingerprint(ByteView key, ByteView value) const {
  constexpr std::size_t kEnd = 16;
  std::array<std::uint8_t, 2 + kKeyBytesMax + 4 + 2 * kEnd> message;
  std::size_t size = 0;
  const auto add = [&](ByteView view) {
    std::memcpy(message.data() + size, view.data(), view.size());
    size += view.size();
  };
  const auto number = [&](std::size_t value_of, int bytes) {
    for (int shift = 8 * bytes - 8; shift >= 0; shift -= 8)
      message[size++] = static_cast<std::uint8_t>(value_of >> shift);
  };
  // A key longer than ours is none of ours; its length alone gives it away.
  number(key.size(), 2);
  add(key.first(std::min(key.size(), kKeyBytesMax)));
  number(value.size(), 4);
  if (value.size() <= 2 * kEnd) {
    add(value);
  } else {
    add(value.first(kEnd));
    add(value.last(kEnd));
  }
  return TagOf(TagUse::kFingerprint, {message.data(), size});
}

StoreResult<void> SealedTable::CheckMark(ByteView key, ByteView value) const {
  if (!IsMark(key[0])) return {};
  if (ConstantTimeEqual(seals_.Mark(key), value)) return {};
  return CorruptFailure("an entry of index " + std::to_string(key[0]) + " is not ours");
}

StoreResult<void> SealedTable::Admit(ByteView key) const {
  return touch_ != nullptr && touch_->pending() ? touch_->Admit(key, key) : StoreResult<void>();
}

StoreResult<void> SealedTable::AdmitThrough(ByteView from, std::optional<ByteView> to) const {
  return touch_ != nullptr && touch_->pending() ? touch_->Admit(from, to) : StoreResult<void>();
}

StoreResult<std::optional<ByteView>> SealedTable::FindRaw(ByteView key) const {
  RETURN_IF_ERROR(Admit(key));
  MDB_val name = ToVal(key);
  MDB_val value;
  const int code = ::mdb_get(txn_, dbi_, &name, &value);
  if (code == MDB_NOTFOUND) return std::optional<ByteView>();
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot read a record");
  return std::optional(ToView(value));
}

StoreResult<std::optional<Bytes>> SealedTable::Find(const Key& key) const {
  ASSIGN_OR_RETURN(const std::optional<ByteView> value, FindRaw(key.view()));
  if (!value) return std::optional<Bytes>();
  ASSIGN_OR_RETURN(Bytes plain, seals_.Open(key.view(), *value));
  return std::optional(std::move(plain));
}

void SealedTable::Count(ByteView key, ByteView value, bool added) {
  const Sealer::KeyedTag fingerprint = seals_.Fingerprint(key, value);
  books_->meta.total.Count(fingerprint, added);
  books_->regions.Count(key, fingerprint, added);
}

StoreResult<void> SealedTable::PutValue(ByteView key, ByteView value) {
  ASSIGN_OR_RETURN(const std::optional<ByteView> old, FindRaw(key));
  if (old) Count(key, *old, false);
  MDB_val name = ToVal(key);
  MDB_val content = ToVal(value);
  const int code = ::mdb_put(txn_, dbi_, &name, &content, 0);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot write a record");
  Count(key, value, true);
  return {};
}

StoreResult<void> SealedTable::PutSealed(const Key& key, Bytes plain) {
  ASSIGN_OR_RETURN(const Bytes value, seals_.Seal(key.view(), std::move(plain)));
  return PutValue(key.view(), value);
}

StoreResult<void> SealedTable::PutMark(const Key& key) { return PutValue(key.view(), seals_.Mark(key.view())); }

StoreResult<void> SealedTable::Delete(const Key& key) {
  ASSIGN_OR_RETURN(const std::optional<ByteView> old, FindRaw(key.view()));
  if (!old) return Refuse(StoreErrorKind::kNotFound, "there is no such entry");
  Count(key.view(), *old, false);
  MDB_val name = ToVal(key.view());
  const int code = ::mdb_del(txn_, dbi_, &name, nullptr);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot remove a record");
  return {};
}

StoreResult<void> SealedTable::PutUncounted(Database database, const StoreResult<Bytes>& value) {
  if (!value.ok()) return Failure{value.error()};
  const Key key(database);
  RETURN_IF_ERROR(Admit(key.view()));
  MDB_val name = ToVal(key.view());
  MDB_val content = ToVal(*value);
  const int code = ::mdb_put(txn_, dbi_, &name, &content, 0);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot write the store's own record");
  return {};
}

StoreResult<void> SealedTable::PutBooks(std::uint64_t region_entries) {
  // As long as parts are unchecked, none is read only to be divided.
  const bool divide = touch_ == nullptr || !touch_->pending();
  for (int times = 0; divide && times < kDivisionsPerCommit; ++times) {
    const auto large = books_->regions.TooLarge(region_entries);
    if (!large) break;
    RETURN_IF_ERROR(DivideRegion(*large));
  }
  RETURN_IF_ERROR(PutUncounted(Database::kMeta, seals_.SealMeta(books_->meta)));
  return PutUncounted(Database::kRegions, seals_.SealRegions(books_->regions, books_->meta.lmdb_transaction));
}

// In the middle of its entries.
StoreResult<void> SealedTable::DivideRegion(std::size_t index) {
  const Region region = books_->regions[index];
  ASSIGN_OR_RETURN(const Cursor cursor, OpenCursor());
  Total lower;
  const Key begin(Database::kToken);
  MDB_val name = ToVal(region.first_size == 0 ? begin.view() : region.first());
  MDB_val value;
  int code = ::mdb_cursor_get(cursor.cursor_, &name, &value, MDB_SET_RANGE);
  for (; code == MDB_SUCCESS && lower.entries < region.total.entries / 2;
       code = ::mdb_cursor_get(cursor.cursor_, &name, &value, MDB_NEXT))
    lower.Count(seals_.Fingerprint(ToView(name), ToView(value)), true);
  if (code == MDB_NOTFOUND) return CorruptFailure("entries are missing from the store");
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot read the store");
  Total upper = region.total;
  upper.Count(lower.fingerprint, false);
  upper.entries = region.total.entries - lower.entries;
  books_->regions.Divide(index, ToView(name), upper);
  return {};
}

StoreResult<SealedTable::Cursor> SealedTable::OpenCursor() const {
  MDB_cursor* cursor = nullptr;
  const int code = ::mdb_cursor_open(txn_, dbi_, &cursor);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot read an index");
  return Cursor(cursor, *this);
}

StoreResult<std::optional<ByteView>> SealedTable::Cursor::Seek(ByteView prefix, ByteView from) {
  RETURN_IF_ERROR(table_->Admit(from));
  MDB_val name = ToVal(from);
  MDB_val value;
  const int code = ::mdb_cursor_get(cursor_, &name, &value, MDB_SET_RANGE);
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return LmdbFailure(code, "cannot read an index");
  const bool found = code == MDB_SUCCESS;
  RETURN_IF_ERROR(table_->AdmitThrough(from, found ? std::optional(ToView(name)) : std::nullopt));
  if (!found) return std::optional<ByteView>();
  const ByteView key = ToView(name);
  if (!BeginsWith(key, prefix)) return std::optional<ByteView>();
  RETURN_IF_ERROR(table_->CheckMark(key, ToView(value)));
  return std::optional(key);
}

StoreResult<void> SealedTable::Scan(const Key& prefix, ByteView from, const Each& each) const {
  ASSIGN_OR_RETURN(const Cursor cursor, OpenCursor());
  RETURN_IF_ERROR(Admit(from));
  ByteView reached = from;
  MDB_val name = ToVal(from);
  MDB_val value;
  int code = ::mdb_cursor_get(cursor.cursor_, &name, &value, MDB_SET_RANGE);
  for (; code == MDB_SUCCESS; code = ::mdb_cursor_get(cursor.cursor_, &name, &value, MDB_NEXT)) {
    const ByteView key = ToView(name);
    RETURN_IF_ERROR(AdmitThrough(std::exchange(reached, key), key));
    if (!BeginsWith(key, prefix.view())) return {};
    RETURN_IF_ERROR(CheckMark(key, ToView(value)));
    ASSIGN_OR_RETURN(const bool more, each(key, ToView(value)));
    if (!more) return {};
  }
  if (code != MDB_NOTFOUND) return LmdbFailure(code, "cannot read an index");
  return AdmitThrough(reached, std::nullopt);
}

}  // namespace cmkd::store

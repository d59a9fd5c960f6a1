// One LMDB transaction seen as a table of sealed records and index marks: what is read is verified, what is written is
// sealed and counted into the store's fingerprint. Knows keys and bytes; what a record means is in record_view.h.
#pragma once

#include <lmdb.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "common/bytes.h"
#include "keystore/store/keys.h"
#include "keystore/store/records.h"
#include "keystore/store/regions.h"
#include "keystore/store/seal.h"
#include "keystore/store/store_error.h"
#include "keystore/store/store_records.h"

namespace cmkd::store {

class FirstTouch;

// How the store's bytes are sealed, marked and fingerprinted. Holds nothing that changes; safe from any thread.
class Seals {
 public:
  Seals(const Sealer& sealer, const StoreId& id) : sealer_(&sealer), id_(id) {}

  const StoreId& id() const { return id_; }
  // The value of a sealed record under `key`. `plain` is wiped.
  StoreResult<Bytes> Seal(ByteView key, Bytes plain) const;
  // The record in `value`; kCorrupt when it does not open under this key and in this store.
  StoreResult<Bytes> Open(ByteView key, ByteView value) const;

  StoreResult<Bytes> SealMeta(const MetaRecord& meta) const;
  // Needs no Seals: the id comes from the value itself. kForeign when it is not a meta record at all.
  static StoreResult<MetaRecord> OpenMeta(const Sealer& sealer, ByteView value);
  StoreResult<Bytes> SealRegions(const Regions& regions, std::uint64_t lmdb_transaction) const;
  StoreResult<Regions> OpenRegions(ByteView value, std::uint64_t lmdb_transaction) const;

  Sealer::KeyedTag Mark(ByteView key) const { return TagOf(TagUse::kMark, key); }
  // The tags inside index keys.
  Sealer::KeyedTag TermTag(const cmk::TokenId& token, const Term& term) const;
  Sealer::KeyedTag NameTag(const cmk::TokenId& token, std::string_view name) const;
  Sealer::KeyedTag RequestTag(ByteView tag) const { return TagOf(TagUse::kRequest, tag); }
  Sealer::KeyedTag Fingerprint(ByteView key, ByteView value) const;

 private:
  Sealer::KeyedTag TagOf(TagUse use, ByteView message) const;

  const Sealer* sealer_;
  StoreId id_;
};

// Whether the value under a key of this database is a mark and not a sealed record.
bool IsMark(std::uint8_t database);
// Whether entries of this database are in the totals: all but the two that hold them.
inline bool IsCounted(std::uint8_t database) {
  return database != static_cast<std::uint8_t>(Database::kMeta) &&
         database != static_cast<std::uint8_t>(Database::kRegions);
}

// What the store knows of all its entries together; kept in step with each write.
struct Books {
  MetaRecord meta;
  Regions regions;
};

class SealedTable {
 public:
  // Borrows the transaction. `touch` is asked before LMDB is let on a part of the file; nullptr when all of it has been
  // checked. `books` are kept in step with writes; nullptr for reading only.
  SealedTable(MDB_txn* txn, MDB_dbi dbi, const Seals& seals, FirstTouch* touch, Books* books = nullptr)
      : txn_(txn), dbi_(dbi), seals_(seals), touch_(touch), books_(books) {}

  const Seals& seals() const { return seals_; }
  FirstTouch* touch() const { return touch_; }

  // The record under `key`, opened.
  StoreResult<std::optional<Bytes>> Find(const Key& key) const;
  // The value as it lies there. Borrowed until the next write or the end of the transaction.
  StoreResult<std::optional<ByteView>> FindRaw(ByteView key) const;

  StoreResult<void> PutRecord(const Key& key, Bytes plain) { return PutSealed(key, std::move(plain)); }
  StoreResult<void> PutMark(const Key& key);
  // kNotFound if absent.
  StoreResult<void> Delete(const Key& key);
  // The two records that are not counted: they hold the totals. Regions that grew too large are divided before.
  StoreResult<void> PutBooks(std::uint64_t region_entries);

  // Calls `each` with every entry from `from` on whose key begins with `prefix`, in order, until it returns false.
  // Marks are verified before; sealed values are passed as they lie there. Nothing may be written meanwhile.
  using Each = std::function<StoreResult<bool>(ByteView key, ByteView value)>;
  StoreResult<void> Scan(const Key& prefix, ByteView from, const Each& each) const;

  // A place in one prefix's marks that only moves forward. Must be gone before the transaction ends or writes.
  class Cursor {
   public:
    Cursor(Cursor&& other) noexcept : cursor_(std::exchange(other.cursor_, nullptr)), table_(other.table_) {}
    Cursor(const Cursor&) = delete;
    Cursor& operator=(const Cursor&) = delete;
    Cursor& operator=(Cursor&&) = delete;
    ~Cursor() {
      if (cursor_ != nullptr) ::mdb_cursor_close(cursor_);
    }
    // The first entry at or after `from` that begins with `prefix`: its key, verified when it is a mark. Borrowed.
    StoreResult<std::optional<ByteView>> Seek(ByteView prefix, ByteView from);

   private:
    friend class SealedTable;
    Cursor(MDB_cursor* cursor, const SealedTable& table) : cursor_(cursor), table_(&table) {}
    MDB_cursor* cursor_;
    const SealedTable* table_;
  };
  StoreResult<Cursor> OpenCursor() const;

 private:
  StoreResult<void> PutSealed(const Key& key, Bytes plain);
  StoreResult<void> PutValue(ByteView key, ByteView value);
  StoreResult<void> PutUncounted(Database database, const StoreResult<Bytes>& value);
  void Count(ByteView key, ByteView value, bool added);
  StoreResult<void> CheckMark(ByteView key, ByteView value) const;
  StoreResult<void> DivideRegion(std::size_t index);
  // Before LMDB looks for `key`, and before what it found from there on is believed: an entry at `to`, or none.
  StoreResult<void> Admit(ByteView key) const;
  StoreResult<void> AdmitThrough(ByteView from, std::optional<ByteView> to) const;

  MDB_txn* txn_;
  MDB_dbi dbi_;
  const Seals& seals_;
  FirstTouch* touch_;
  Books* books_;
};

}  // namespace cmkd::store

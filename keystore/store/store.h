// What the daemon says to its store: records found and put, in transactions. Three implementations obey the same suite:
// LMDB (lmdb_store.h), memory (memory_store.h) and faults on purpose (fault_store.h). Knows no PKCS#11.
//
// Threads: a Store may be used from any thread. One ReadTxn or WriteTxn is used by one thread at a time; a WriteTxn
// stays with the thread that began it. There is one WriteTxn at a time: BeginWrite waits for the one before, which may
// still be on its way to the disk: then its changes are seen, and Commit of the next returns when both are there. So
// who answers from what a WriteTxn has read commits first, even if it changed nothing. Keep both short, and never hold
// one across a wait for a client or an HSM. A thread must not begin a transaction while it holds another.
//
// Errors: a record that does not open is kCorrupt, never "not found". Find… gives an empty optional when there is no
// such record; Get… gives kNotFound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "common/time.h"
#include "keystore/cmk/cmk.h"
#include "keystore/cmk/ids.h"
#include "keystore/store/store_error.h"
#include "keystore/store/store_records.h"

namespace cmkd::store {

inline constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

// A consistent view of the store as it was when the transaction began. Results are copies; nothing is borrowed.
class ReadTxn {
 public:
  ReadTxn() = default;
  ReadTxn(const ReadTxn&) = delete;
  ReadTxn& operator=(const ReadTxn&) = delete;
  virtual ~ReadTxn() = default;

  virtual StoreResult<Meta> ReadMeta() const = 0;

  virtual StoreResult<std::optional<TokenRecord>> FindToken(const cmk::TokenId& id) const = 0;
  // Ascending by id. Tokens are few.
  virtual StoreResult<std::vector<TokenRecord>> ListTokens() const = 0;

  virtual StoreResult<std::optional<ObjectRecord>> FindObject(cmk::ObjectSerial serial) const = 0;
  // The objects of `token` that have every one of `terms` (all its objects when there are none), ascending by serial,
  // those above `after` only, at most `limit`. Costs as much as the rarest term has objects, however many others there
  // are. Private objects are included: who may see them is the daemon's to say.
  virtual StoreResult<std::vector<cmk::ObjectSerial>> FindObjects(const cmk::TokenId& token,
                                                                  std::span<const Term> terms,
                                                                  cmk::ObjectSerial after = {},
                                                                  std::size_t limit = kNoLimit) const = 0;
  // How many objects `token` has; 0 for a token that is not there. Does not count them one by one.
  virtual StoreResult<std::uint64_t> CountObjects(const cmk::TokenId& token) const = 0;

  virtual StoreResult<std::optional<cmk::Cmk>> FindCmk(const cmk::CmkId& id) const = 0;
  // The keys of `token` with exactly this name or alias, ascending by id. Destroyed keys have given theirs back.
  virtual StoreResult<std::vector<cmk::CmkId>> FindCmksByName(const cmk::TokenId& token,
                                                              std::string_view name) const = 0;
  // Ascending by id, those above `after` only, at most `limit`: a page, stable while keys come and go.
  virtual StoreResult<std::vector<cmk::Cmk>> ListCmks(const cmk::CmkId& after, std::size_t limit) const = 0;
  virtual StoreResult<std::vector<cmk::Cmk>> ListCmksOfToken(const cmk::TokenId& token, const cmk::CmkId& after,
                                                             std::size_t limit) const = 0;
  // Keys whose next due date (cmk::NextDue) is at or before `time`, the earliest first, at most `limit`.
  virtual StoreResult<std::vector<DueCmk>> DueBefore(Timestamp time, std::size_t limit = kNoLimit) const = 0;

  // What each client did with this version, ascending by user; empty when nothing is known.
  virtual StoreResult<std::vector<cmk::ClientUse>> FindClientUses(const cmk::CmkId& id,
                                                                  cmk::KeyVersionNumber version) const = 0;

  // What the client request `tag` made, unless that is more than kRequestLife ago at `now`.
  virtual StoreResult<std::optional<RequestRecord>> FindRequest(ByteView tag, Timestamp now) const = 0;

  // The records that must exist: kNotFound where Find… would give nothing.
  StoreResult<TokenRecord> GetToken(const cmk::TokenId& id) const { return Must(FindToken(id), "token"); }
  StoreResult<ObjectRecord> GetObject(cmk::ObjectSerial serial) const { return Must(FindObject(serial), "object"); }
  StoreResult<cmk::Cmk> GetCmk(const cmk::CmkId& id) const { return Must(FindCmk(id), "CMK"); }

 private:
  template <class T>
  static StoreResult<T> Must(StoreResult<std::optional<T>> found, const char* what) {
    if (!found.ok()) return Failure{std::move(found.error())};
    if (!found->has_value()) return Refuse(StoreErrorKind::kNotFound, std::string("there is no such ") + what);
    return std::move(**found);
  }
};

// Whether a key's name may be shared with another living key of the same token.
enum class NameRule : std::uint8_t { kShared, kUnique };

// Everything of one management change: all of it or nothing. Reads see the transaction's own writes. What is not
// committed is undone by the destructor. After any error other than kNotFound, kTaken and kInvalid the transaction is
// spoiled: Commit refuses with that error.
class WriteTxn : public ReadTxn {
 public:
  // The name given to BeginWrite, for logs.
  virtual const char* label() const = 0;

  // The next number, taken for good once committed; never given out twice.
  virtual StoreResult<cmk::ObjectSerial> NextObjectSerial() = 0;
  virtual StoreResult<std::uint64_t> NextSlot() = 0;
  // Replaces what is remembered of time; its highest never goes back: the later of what is known and the new one stays.
  virtual StoreResult<void> PutTime(const cmk::TimeRecord& time) = 0;

  // The generation after this commit is above `generation`, if it would not be anyway: an older copy of the store is
  // put in place of a newer one on purpose, and goes on from where nobody has been.
  virtual StoreResult<void> RaiseGeneration(std::uint64_t generation) = 0;

  // Put… adds or replaces by id. kInvalid when a field is beyond its bound (schema.h).
  virtual StoreResult<void> PutToken(const TokenRecord& token) = 0;
  // Removes the token's record only: its objects and keys are the caller's to remove first. kNotFound if absent.
  virtual StoreResult<void> DeleteToken(const cmk::TokenId& id) = 0;

  // Replaces attributes and index terms together. The serial must have come from NextObjectSerial, the token of an
  // object never changes: kInvalid otherwise.
  virtual StoreResult<void> PutObject(const ObjectRecord& object) = 0;
  virtual StoreResult<void> DeleteObject(cmk::ObjectSerial serial) = 0;  // kNotFound if absent

  // Keeps the name, token and due-date indexes in step. With kUnique, kTaken if another key of the token that is not
  // destroyed has the same non-empty name or alias. The token of a key never changes: kInvalid.
  virtual StoreResult<void> PutCmk(const cmk::Cmk& cmk, NameRule rule = NameRule::kShared) = 0;
  // Replaces what is known of the clients of one version, which must be there: kNotFound. Kept for as long as the key's
  // record.
  virtual StoreResult<void> PutClientUses(const cmk::CmkId& id, cmk::KeyVersionNumber version,
                                          const std::vector<cmk::ClientUse>& clients) = 0;
  // Removes even the tombstone. For keys of general tokens and for keys whose making was never acknowledged; a managed
  // key ends as a tombstone and is kept. kNotFound if absent.
  virtual StoreResult<void> DeleteCmk(const cmk::CmkId& id) = 0;

  // Remembers what a request made until `now` + kRequestLife, and forgets a few that have expired. `expires` of
  // `request` is ignored.
  virtual StoreResult<void> PutRequest(const RequestRecord& request, Timestamp now) = 0;

  // Makes the change durable before it returns, together with those of other threads that were waiting; then, and only
  // then, Generation() has moved, by one for each change if it was not raised (a transaction that wrote nothing moves
  // nothing). On kFull (no space, or the disk refused a write) nothing
  // was changed and a later try may go through. On kIo it is not known whether the change was made, and the store
  // refuses further writes until it is opened again. The transaction is over either way.
  virtual StoreResult<void> Commit() = 0;
};

class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  // All transactions must be over.
  virtual ~Store() = default;

  virtual StoreResult<std::unique_ptr<ReadTxn>> BeginRead() const = 0;
  // `label` names the change ("key.create"), for logs and for faults on purpose; it must outlive the transaction.
  virtual StoreResult<std::unique_ptr<WriteTxn>> BeginWrite(const char* label) = 0;

  // Moves with every commit; one atomic load. A decoded record may be kept for as long as this number has not moved
  // from what it was *before* the BeginRead that found the record, and no longer.
  virtual std::uint64_t Generation() const = 0;

  // The random name of this store, given at its making. Never changes.
  virtual const StoreId& id() const = 0;
};

}  // namespace cmkd::store

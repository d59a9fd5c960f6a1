// Records: decoded and verified records of the store, kept exactly as long as the store's generation has not moved
// (DESIGN section 3, "One trip"). What a disable has answered is therefore seen by the next look of every process.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "daemon/client/object.h"
#include "keystore/store/store.h"
#include "pkcs11/spec/error.h"

namespace cmkd::daemon {

// Safe from any thread.
class Records {
 public:
  explicit Records(const store::Store& store) : store_(store) {}

  using TokenPtr = std::shared_ptr<const store::TokenRecord>;
  using CmkPtr = std::shared_ptr<const cmk::Cmk>;

  // CKR_OBJECT_HANDLE_INVALID when there is none.
  Fallible<ObjectPtr> GetObject(CK_OBJECT_HANDLE handle) const;
  // CKR_OBJECT_HANDLE_INVALID when there is none.
  Fallible<CmkPtr> GetCmk(const cmk::CmkId& id) const;
  // CKR_SLOT_ID_INVALID when there is none.
  Fallible<TokenPtr> GetTokenBySlot(CK_SLOT_ID slot) const;
  Fallible<TokenPtr> GetToken(const cmk::TokenId& id) const;
  // Ascending by slot.
  Fallible<std::vector<TokenPtr>> ListTokens() const;
  // The slot that the next token would get: shown as the uninitialised slot.
  Fallible<CK_SLOT_ID> FreeSlot() const;

 private:
  template <class Key, class Value>
  struct Cache {
    mutable std::mutex mutex;
    std::uint64_t generation = 0;
    std::unordered_map<Key, std::shared_ptr<const Value>> entries;
  };
  struct Tokens {
    std::vector<TokenPtr> by_slot;
    CK_SLOT_ID free_slot = 0;
  };
  template <class Key, class Value, class Load>
  Fallible<std::shared_ptr<const Value>> Get(Cache<Key, Value>& cache, const Key& key, Load load) const;
  template <class Key, class Value, class Load>
  Fallible<std::shared_ptr<const Value>> GetShared(Cache<Key, Value>& cache, std::uint64_t generation, const Key& key,
                                                   Load load) const;
  Fallible<std::shared_ptr<const Tokens>> ReadTokens() const;

  static inline std::atomic<std::uint64_t> last_number_{0};

  const store::Store& store_;
  const std::uint64_t number_ = ++last_number_;  // an address may be another's later
  mutable Cache<CK_OBJECT_HANDLE, Object> objects_;
  mutable Cache<cmk::CmkId, cmk::Cmk> cmks_;
  mutable Cache<int, Tokens> tokens_;
};

// A token object and its record. Index terms are made from the attributes.
ObjectPtr DecodeObject(store::ObjectRecord record);
store::ObjectRecord EncodeObject(const Object& object);

// The index terms that a template gives a search; attributes that are not indexed are left to the filter.
std::vector<store::Term> TermsOf(std::span<const CK_ATTRIBUTE> attributes);

// A session object as bytes to be sealed and kept by its application, and back; nothing when they are malformed.
Bytes PackObject(const Object& object);
std::optional<Object> UnpackObject(ByteView bytes);

}  // namespace cmkd::daemon

// The store's questions answered from a SealedTable: the reading half of both kinds of LMDB transaction.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "keystore/store/sealed_table.h"
#include "keystore/store/store.h"

namespace cmkd::store {

class RecordView {
 public:
  explicit RecordView(const SealedTable& table) : table_(table) {}

  // Each as in store.h.
  StoreResult<std::optional<TokenRecord>> FindToken(const cmk::TokenId& id) const;
  StoreResult<std::vector<TokenRecord>> ListTokens() const;
  StoreResult<std::optional<ObjectRecord>> FindObject(cmk::ObjectSerial serial) const;
  StoreResult<std::vector<cmk::ObjectSerial>> FindObjects(const cmk::TokenId& token, std::span<const Term> terms,
                                                          cmk::ObjectSerial after, std::size_t limit) const;
  StoreResult<std::uint64_t> CountObjects(const cmk::TokenId& token) const;
  StoreResult<std::optional<cmk::Cmk>> FindCmk(const cmk::CmkId& id) const;
  StoreResult<std::vector<cmk::CmkId>> FindCmksByName(const cmk::TokenId& token, std::string_view name) const;
  StoreResult<std::vector<cmk::Cmk>> ListCmks(const cmk::CmkId& after, std::size_t limit) const;
  StoreResult<std::vector<cmk::Cmk>> ListCmksOfToken(const cmk::TokenId& token, const cmk::CmkId& after,
                                                     std::size_t limit) const;
  StoreResult<std::vector<DueCmk>> DueBefore(Timestamp time, std::size_t limit) const;
  StoreResult<std::vector<cmk::ClientUse>> FindClientUses(const cmk::CmkId& id, cmk::KeyVersionNumber version) const;
  StoreResult<std::optional<RequestRecord>> FindRequest(ByteView tag, Timestamp now) const;
  // Whether or not it has expired.
  StoreResult<std::optional<RequestRecord>> FindRequestRecord(ByteView tag) const;

 private:
  const SealedTable& table_;
};

}  // namespace cmkd::store

// The records as bytes, exactly as schema.h writes them. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "common/bytes.h"
#include "keystore/cmk/cmk.h"
#include "keystore/store/regions.h"
#include "keystore/store/store_error.h"
#include "keystore/store/store_records.h"

namespace cmkd::store {

// Meta and what only the LMDB store keeps with it.
struct MetaRecord {
  Meta meta;
  std::uint64_t lmdb_transaction = 0;
  Total total;  // of all entries but this one and the regions

  bool operator==(const MetaRecord&) const = default;
};

// Whether a record keeps to the bounds of schema.h and to itself (versions ascending, current one present, …): kInvalid
// with the reason otherwise. Every store asks before it writes; what passes decodes again to the same record.
StoreResult<void> CheckRecord(const TokenRecord& token);
StoreResult<void> CheckRecord(const ObjectRecord& object);
StoreResult<void> CheckRecord(const cmk::Cmk& cmk);
StoreResult<void> CheckRecord(const RequestRecord& request);
StoreResult<void> CheckRecord(const std::vector<cmk::ClientUse>& clients);

// The bytes of a record, before it is sealed (schema.h). It must have passed CheckRecord.
Bytes Encode(const MetaRecord& meta);
Bytes Encode(const TokenRecord& token);
Bytes Encode(const ObjectRecord& object);
Bytes Encode(const cmk::Cmk& cmk);
Bytes Encode(const RequestRecord& request);
Bytes Encode(const std::vector<cmk::ClientUse>& clients);
Bytes EncodeCount(std::uint64_t count);

// Nothing when the bytes are not one whole record within its bounds. Ids come from the key.
std::optional<MetaRecord> DecodeMeta(const StoreId& id, ByteView bytes);
std::optional<TokenRecord> DecodeToken(const cmk::TokenId& id, ByteView bytes);
std::optional<ObjectRecord> DecodeObject(cmk::ObjectSerial serial, ByteView bytes);
std::optional<cmk::Cmk> DecodeCmk(const cmk::CmkId& id, ByteView bytes);
std::optional<RequestRecord> DecodeRequest(ByteView bytes);
std::optional<std::vector<cmk::ClientUse>> DecodeClients(ByteView bytes);
std::optional<std::uint64_t> DecodeCount(ByteView bytes);

}  // namespace cmkd::store

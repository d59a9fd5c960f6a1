// The store without a disk: the same interface over ordered maps. For tests and for tokens that die with the process.
#pragma once

#include <memory>

#include "common/time.h"
#include "keystore/store/store.h"

namespace cmkd::store {

// Writes copy the map of records: meant for thousands of records, not for millions.
std::unique_ptr<Store> MakeMemoryStore(const StoreId& id, Timestamp now);

}  // namespace cmkd::store

// LMDB's return codes in the store's own words.
#pragma once

#include "keystore/store/store_error.h"

namespace cmkd::store {

// `what` was being done: "cannot read a record".
Failure<StoreError> LmdbFailure(int code, const char* what);
// The same for the operating system's `errno`.
Failure<StoreError> SystemFailure(int code, const std::string& what);
// A record, mark or page that is not what was written.
Failure<StoreError> CorruptFailure(const std::string& what);

}  // namespace cmkd::store

// The words for what went wrong.
#include "keystore/store/store_error.h"

namespace cmkd::store {

std::string_view Name(StoreErrorKind kind) {
  switch (kind) {
    case StoreErrorKind::kNotFound: return "not found";
    case StoreErrorKind::kTaken: return "taken";
    case StoreErrorKind::kInvalid: return "invalid";
    case StoreErrorKind::kCorrupt: return "corrupt";
    case StoreErrorKind::kFull: return "full";
    case StoreErrorKind::kIo: return "input/output";
    case StoreErrorKind::kForeign: return "foreign";
    case StoreErrorKind::kHalfMade: return "half-made";
    case StoreErrorKind::kTooOld: return "too old";
    case StoreErrorKind::kLocked: return "locked";
    case StoreErrorKind::kUnsafe: return "unsafe";
    case StoreErrorKind::kSchema: return "schema";
  }
  return "unknown";
}

}  // namespace cmkd::store

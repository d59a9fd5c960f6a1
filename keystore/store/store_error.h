// What can go wrong with the store, in its own words. The daemon translates.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

namespace cmkd::store {

enum class StoreErrorKind : std::uint8_t {
  kNotFound,  // there is no such record, and the store is sound
  kTaken,     // the name already belongs to another key of the token
  kInvalid,   // the caller's record breaks a bound of schema.h; nothing was written
  kCorrupt,   // a record or the file is not what was written: stop using it, restore or investigate
  kFull,      // no space on the disk or in the map; reading goes on, and so do writes once there is space
  kIo,        // the operating system refused; whether the change was made is known only where the function says so
  kForeign,   // something is there, but it is not a store of this program
  kHalfMade,  // the beginning of a store whose making was interrupted
  kTooOld,    // older than what the caller knows to have existed: a copy from before
  kLocked,    // another process has it open
  kUnsafe,    // owner, permissions or file system are not fit for keys
  kSchema,    // made by a newer version of this program
};

// "corrupt", "half-made", …
std::string_view Name(StoreErrorKind kind);

struct StoreError {
  StoreErrorKind kind;
  std::string sentence;  // for the log: what is wrong and what to do. Holds no secrets.
};

template <class T>
using StoreResult = Result<T, StoreError>;

inline Failure<StoreError> Refuse(StoreErrorKind kind, std::string sentence) {
  return Failure{StoreError{kind, std::move(sentence)}};
}

}  // namespace cmkd::store

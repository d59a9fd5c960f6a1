// The place of a store on disk: its directory, its lock, who may touch it, and how it comes into being whole or not at
// all.
#pragma once

#include <string>
#include <utility>

#include "keystore/store/store_error.h"

namespace cmkd::store {

// The lock file beside the store, held for as long as this lives. It is never removed: a file that comes and goes locks
// nobody out. (It cannot be LMDB's own lock: closing any descriptor of that file would let it go.)
class PlaceLock {
 public:
  // kLocked when somebody has it, this process included.
  static StoreResult<PlaceLock> Take(const std::string& path);
  PlaceLock(PlaceLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  PlaceLock(const PlaceLock&) = delete;
  PlaceLock& operator=(const PlaceLock&) = delete;
  PlaceLock& operator=(PlaceLock&&) = delete;
  ~PlaceLock();

 private:
  explicit PlaceLock(int fd) : fd_(fd) {}
  int fd_;
};

// The file LMDB keeps its pages in.
inline std::string DataFile(const std::string& directory) { return directory + "/data.mdb"; }

// Whether nothing is there: no directory, or an empty one. kForeign when `path` is no directory.
StoreResult<bool> IsVacant(const std::string& path);

// Refuses what is not fit for keys: a directory or file of another owner, open to others, on a file system that does
// not keep LMDB's promises; kForeign for a directory without a data file, kNotFound for none.
StoreResult<void> CheckPlace(const std::string& path, bool allow_any_file_system);

// An empty private directory beside `path` in which to make the store; what an interrupted making left there is
// removed.
StoreResult<std::string> BeginMaking(const std::string& path, bool allow_any_file_system);
// Puts everything made on disk, and only then the name `path` on it.
StoreResult<void> FinishMaking(const std::string& making, const std::string& path);

}  // namespace cmkd::store

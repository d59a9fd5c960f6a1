// One LMDB environment: opened once, read from any thread, written by one at a time, grown ahead of need. LMDB's
// caveats live here and nowhere else.
#pragma once

#include <lmdb.h>

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "keystore/store/store_error.h"

namespace cmkd::store {

class LmdbEnv {
 public:
  // Opens the environment in `directory`, whose file has been checked before, with room for `map_bytes` or what the
  // file needs, whichever is more.
  static StoreResult<std::unique_ptr<LmdbEnv>> Open(const std::string& directory, std::size_t map_bytes);
  LmdbEnv(const LmdbEnv&) = delete;
  LmdbEnv& operator=(const LmdbEnv&) = delete;
  ~LmdbEnv();

  MDB_dbi dbi() const { return dbi_; }

  // Every transaction begun is ended by exactly one of End…; any thread may end a read.
  StoreResult<MDB_txn*> BeginRead();
  void EndRead(MDB_txn* txn);
  // The caller keeps writers apart. Must end in the thread that began it.
  StoreResult<MDB_txn*> BeginWrite();
  // One inside `outer`, which waits meanwhile: committed into it, or undone alone. Any thread, one at a time.
  StoreResult<MDB_txn*> BeginInside(MDB_txn* outer);
  // MDB_SUCCESS once the change is on disk; an LMDB or system code otherwise.
  int CommitWrite(MDB_txn* txn);
  void AbortWrite(MDB_txn* txn);

  // After a failure with `code`: if it was the map that was full, the next BeginWrite makes more room.
  void AskForRoom(int code) { wants_room_ = wants_room_ || code == MDB_MAP_FULL; }
  // The number of the last transaction that is on disk; nothing once LMDB has failed in the middle of a meta page and
  // refuses every further transaction.
  std::optional<std::size_t> LastTransaction();
  // Frees the places of readers that ended without saying so.
  void CheckReaders();
  std::size_t MapBytes() const;

 private:
  explicit LmdbEnv(MDB_env* env) : env_(env) {}
  StoreResult<void> OpenTree();
  void GrowAhead();

  MDB_env* env_;
  MDB_dbi dbi_ = 0;
  bool wants_room_ = false;

  // The map may be moved only while nobody reads; readers that come meanwhile wait.
  std::mutex gate_;
  std::condition_variable gate_moved_;
  std::size_t readers_ = 0;
  bool growing_ = false;
  std::vector<MDB_txn*> resting_;  // read transactions kept for the next reader; they pin nothing
};

}  // namespace cmkd::store

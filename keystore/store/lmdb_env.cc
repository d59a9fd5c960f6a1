// MDB_NOTLS is the only flag: everything else LMDB offers for speed is paid for with acknowledged commits or with keys.
#include "keystore/store/lmdb_env.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "keystore/store/lmdb_error.h"

namespace cmkd::store {
namespace {

constexpr unsigned kReadersMax = 1024;
constexpr std::size_t kRestingMax = 64;
constexpr auto kGrowPatience = std::chrono::seconds(2);

// LMDB found itself in a state it cannot be in. It would abort by itself; this says where before.
void StopOnAssert(MDB_env*, const char* message) {
  std::fputs("cmkd: the store's LMDB library stopped on: ", stderr);
  std::fputs(message, stderr);
  std::fputs("\ncmkd: stopping; nothing acknowledged is lost. Check the disk and the memory of this machine.\n",
             stderr);
  std::abort();
}

// A margin of room above what is used, in whole steps.
std::size_t RoomFor(std::size_t used_bytes, std::size_t map_bytes) {
  while (used_bytes / 7 > map_bytes / 10) map_bytes *= 2;
  return map_bytes;
}

}  // namespace

StoreResult<std::unique_ptr<LmdbEnv>> LmdbEnv::Open(const std::string& directory, std::size_t map_bytes) {
  MDB_env* raw = nullptr;
  int code = ::mdb_env_create(&raw);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot prepare LMDB");
  std::unique_ptr<LmdbEnv> env(new LmdbEnv(raw));
  ::mdb_env_set_assert(raw, StopOnAssert);
  if ((code = ::mdb_env_set_maxreaders(raw, kReadersMax)) != MDB_SUCCESS ||
      (code = ::mdb_env_set_mapsize(raw, map_bytes)) != MDB_SUCCESS)
    return LmdbFailure(code, "cannot prepare LMDB");
  code = ::mdb_env_open(raw, directory.c_str(), MDB_NOTLS, 0600);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot open the store");
  env->CheckReaders();
  RETURN_IF_ERROR(env->OpenTree());
  env->GrowAhead();
  return env;
}

StoreResult<void> LmdbEnv::OpenTree() {
  MDB_txn* txn = nullptr;
  int code = ::mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot read the store");
  code = ::mdb_dbi_open(txn, nullptr, 0, &dbi_);
  if (code != MDB_SUCCESS) {
    ::mdb_txn_abort(txn);
    return LmdbFailure(code, "cannot read the store");
  }
  // The handle stays open when the transaction that opened it commits.
  code = ::mdb_txn_commit(txn);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot read the store");
  return {};
}

LmdbEnv::~LmdbEnv() {
  for (MDB_txn* txn : resting_) ::mdb_txn_abort(txn);
  ::mdb_env_close(env_);
}

StoreResult<MDB_txn*> LmdbEnv::BeginRead() {
  MDB_txn* txn = nullptr;
  {
    std::unique_lock lock(gate_);
    gate_moved_.wait(lock, [&] { return !growing_; });
    ++readers_;
    if (!resting_.empty()) {
      txn = resting_.back();
      resting_.pop_back();
    }
  }
  const int code = txn != nullptr ? ::mdb_txn_renew(txn) : ::mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
  if (code == MDB_SUCCESS) return txn;
  if (txn != nullptr) ::mdb_txn_abort(txn);
  const std::lock_guard lock(gate_);
  --readers_;
  gate_moved_.notify_all();
  return LmdbFailure(code, "cannot read the store");
}

void LmdbEnv::EndRead(MDB_txn* txn) {
  ::mdb_txn_reset(txn);
  bool keep = false;
  {
    const std::lock_guard lock(gate_);
    keep = resting_.size() < kRestingMax;
    if (keep) {
      resting_.push_back(txn);
      --readers_;
      if (growing_) gate_moved_.notify_all();
    }
  }
  if (keep) return;
  ::mdb_txn_abort(txn);
  const std::lock_guard lock(gate_);
  --readers_;
  if (growing_) gate_moved_.notify_all();
}

StoreResult<MDB_txn*> LmdbEnv::BeginWrite() {
  GrowAhead();
  MDB_txn* txn = nullptr;
  const int code = ::mdb_txn_begin(env_, nullptr, 0, &txn);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot write to the store");
  return txn;
}

StoreResult<MDB_txn*> LmdbEnv::BeginInside(MDB_txn* outer) {
  MDB_txn* txn = nullptr;
  const int code = ::mdb_txn_begin(env_, outer, 0, &txn);
  if (code != MDB_SUCCESS) return LmdbFailure(code, "cannot write to the store");
  return txn;
}

int LmdbEnv::CommitWrite(MDB_txn* txn) { return ::mdb_txn_commit(txn); }
void LmdbEnv::AbortWrite(MDB_txn* txn) { ::mdb_txn_abort(txn); }

// Moves the map to a larger one once 70 % of it is in use. No reader, no writer may be there; if readers do not leave
// in time, the next writer tries again.
void LmdbEnv::GrowAhead() {
  MDB_envinfo info;
  MDB_stat stat;
  if (::mdb_env_info(env_, &info) != MDB_SUCCESS || ::mdb_env_stat(env_, &stat) != MDB_SUCCESS) return;
  std::size_t wanted = RoomFor((info.me_last_pgno + 1) * stat.ms_psize, info.me_mapsize);
  if (wants_room_ && wanted == info.me_mapsize) wanted *= 2;
  if (wanted == info.me_mapsize) return;
  std::unique_lock lock(gate_);
  growing_ = true;
  if (gate_moved_.wait_for(lock, kGrowPatience, [&] { return readers_ == 0; })) {
    // A failure leaves the map as it was; a full one is then reported by the write that meets it.
    if (::mdb_env_set_mapsize(env_, wanted) == MDB_SUCCESS) wants_room_ = false;
  }
  growing_ = false;
  gate_moved_.notify_all();
}

std::optional<std::size_t> LmdbEnv::LastTransaction() {
  const auto txn = BeginRead();
  if (!txn.ok()) return std::nullopt;
  const std::size_t last = ::mdb_txn_id(*txn);
  EndRead(*txn);
  return last;
}

void LmdbEnv::CheckReaders() {
  int dead = 0;
  (void)::mdb_reader_check(env_, &dead);
}

std::size_t LmdbEnv::MapBytes() const {
  MDB_envinfo info;
  return ::mdb_env_info(env_, &info) == MDB_SUCCESS ? info.me_mapsize : 0;
}

}  // namespace cmkd::store

// The store on disk: sealed records in LMDB. One process has it open at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/time.h"
#include "keystore/store/regions.h"
#include "keystore/store/seal.h"
#include "keystore/store/store.h"

namespace cmkd::store {

enum class OpenCheck : std::uint8_t {
  kFull,        // the file's structure page by page, and every record's fingerprint against the sealed totals
  kBackground,  // a large store: the branches now, each region before its first use, and all of it in a thread
  kQuick,       // sizes, the two meta pages and the sealed meta record only
};

struct LmdbOptions {
  // Address space reserved at first; grows ahead of need. A multiple of the page size.
  std::size_t map_bytes = std::size_t{1} << 30;
  OpenCheck check = OpenCheck::kFull;
  // With kBackground: a store with fewer entries is checked at once all the same. A key has about eleven.
  std::uint64_t background_entries = 200'000;
  // With kBackground: told once, from whichever thread finds out, that everything is right or that something is not.
  // In the second case the store refuses everything from then on, and is not to be used. Not called for a small store.
  std::function<void(const StoreResult<void>&)> on_background_check;
  // How large a region may become before it is divided; less for tests.
  std::uint64_t region_entries = kRegionEntries;
  // What the HSM or the audit log remembers: a store below this generation is a copy from before (kTooOld).
  std::uint64_t minimum_generation = 0;
  // What the HSM says this store is called: another one is kForeign.
  std::optional<StoreId> expected_id;
  // For tests on file systems the store otherwise refuses (network, FUSE).
  bool allow_any_file_system = false;
};

// Makes a new, empty store as the directory `path`, which must not exist (or be empty), in an existing directory. All
// of it is on disk before it appears under its name. `id` must be random. Errors: kForeign (something is there),
// kUnsafe, kLocked, kIo, kFull.
StoreResult<void> CreateLmdbStore(const std::string& path, const Sealer& sealer, const StoreId& id, Timestamp now,
                                  const LmdbOptions& options = {});

// Whether a store, or anything else that Open would have an opinion about, is at `path`.
bool LmdbStoreExists(const std::string& path);

// Opens the store at `path` and checks it before a single record is believed. `sealer` is borrowed and must outlive the
// store. Must be called after the process has forked for the last time. Errors: kNotFound (nothing there), kHalfMade,
// kForeign, kUnsafe, kLocked, kCorrupt, kTooOld, kSchema, kIo.
StoreResult<std::unique_ptr<Store>> OpenLmdbStore(const std::string& path, const Sealer& sealer,
                                                  const LmdbOptions& options = {});

}  // namespace cmkd::store

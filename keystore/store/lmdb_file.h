// Reads an LMDB data file with ordinary reads and finds out whether LMDB may be let loose on it. LMDB 0.9 has no
// checksums and believes every page number it maps: a flipped bit crashes it, or shows an older state without a word.
// So the file is walked first: both meta pages, the list of free pages, every page that is in use, every key in its
// place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/bytes.h"
#include "keystore/store/store_error.h"

namespace cmkd::store {

struct LmdbFileFacts {
  std::uint64_t transaction = 0;  // the one whose state the file shows
  std::size_t page_bytes = 0;
  std::uint64_t pages = 0;    // counted by LMDB, whether or not the file has reached that size
  std::uint64_t entries = 0;  // in the tree
};

// Called with each entry in order. The first error ends the walk and is its result.
using EachEntry = std::function<StoreResult<void>(ByteView key, ByteView value)>;

// The file as it was when it was opened: as long as a reader of LMDB stays at that transaction, the pages that were in
// use then stay as they are while others come. Safe from any thread. Errors of every walk: kCorrupt, kIo.
class LmdbFile {
 public:
  // Looks at the meta pages and the free pages. Nobody may be writing. Errors also: kHalfMade (begun, never committed),
  // kForeign (not LMDB, or with features the store does not use).
  static StoreResult<std::unique_ptr<LmdbFile>> Open(const std::string& path);
  LmdbFile(const LmdbFile&) = delete;
  LmdbFile& operator=(const LmdbFile&) = delete;
  ~LmdbFile();

  LmdbFileFacts facts() const;

  // Everything: every page in use, each once, every key in its place.
  StoreResult<void> Walk(const EachEntry& each) const;
  // The branches alone, about one page in sixty: none of what they say is in use is free.
  StoreResult<void> WalkBranches() const;
  // The entries from `low` to before `high` (to the end without it), and the structure of every page that LMDB looks at
  // when it is asked for one of them, for the next one, or to change one.
  StoreResult<void> WalkRange(ByteView low, const std::optional<Bytes>& high, const EachEntry& each) const;

  struct Ground;

 private:
  explicit LmdbFile(std::unique_ptr<Ground> ground);
  std::unique_ptr<Ground> ground_;
};

}  // namespace cmkd::store

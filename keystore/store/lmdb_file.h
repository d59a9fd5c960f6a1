// Reads an LMDB data file with ordinary reads and finds out whether LMDB may be let loose on it. LMDB 0.9 has no
// checksums and believes every page number it maps: a flipped bit crashes it, or shows an older state without a word.
// So the file is walked first: both meta pages, the list of free pages, every page that is in use, every key in its
// place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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

// Checks the file at `path`, which nobody may be writing. Without `each` only the meta pages and the free pages are
// looked at. Errors: kHalfMade (begun, never committed), kForeign (not LMDB, or with features the store does not use),
// kCorrupt, kIo.
StoreResult<LmdbFileFacts> CheckLmdbFile(const std::string& path, const EachEntry& each);

}  // namespace cmkd::store

// Counts entries and adds their fingerprints up, and holds them against the totals that the store keeps.
#pragma once

#include <cstddef>

#include "keystore/store/lmdb_file.h"
#include "keystore/store/sealed_table.h"

namespace cmkd::store {

// Of a whole file, entry by entry in order. Borrows its arguments.
class Census {
 public:
  Census(const Seals& seals, const Regions& expected) : seals_(seals), expected_(expected) {}

  // kCorrupt as soon as a region has ended that is not what it should be.
  StoreResult<void> Visit(ByteView key, ByteView value);
  StoreResult<void> Finish();
  // The regions below this one are right.
  std::size_t region() const { return region_; }

 private:
  StoreResult<void> EndRegion();

  const Seals& seals_;
  const Regions& expected_;
  std::size_t region_ = 0;
  Total total_;
};

// One region of the file, the pages around it included.
StoreResult<void> CheckRegion(const LmdbFile& file, const Seals& seals, const Regions& expected, std::size_t index);

// The regions of a file that was written without them, if all its entries together are `sum`.
StoreResult<Regions> MakeRegions(const LmdbFile& file, const Seals& seals, const Total& sum);

}  // namespace cmkd::store

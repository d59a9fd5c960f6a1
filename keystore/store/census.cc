// The sums themselves are compared in constant time; which region differed may show.
#include "keystore/store/census.h"

#include <algorithm>

#include "keystore/store/lmdb_error.h"

namespace cmkd::store {
namespace {

bool Same(const Total& found, const Total& expected) {
  return found.entries == expected.entries && ConstantTimeEqual(found.fingerprint, expected.fingerprint);
}

Failure<StoreError> Differs() {
  return CorruptFailure("records were taken out, altered or put back from an older copy");
}

}  // namespace

StoreResult<void> Census::Visit(ByteView key, ByteView value) {
  if (!IsCounted(key[0])) return {};
  for (const std::size_t index = expected_.IndexOf(key); region_ < index;) RETURN_IF_ERROR(EndRegion());
  total_.Count(seals_.Fingerprint(key, value), true);
  return {};
}

StoreResult<void> Census::EndRegion() {
  if (!Same(total_, expected_[region_].total)) return Differs();
  total_ = {};
  ++region_;
  return {};
}

StoreResult<void> Census::Finish() {
  while (region_ < expected_.size()) RETURN_IF_ERROR(EndRegion());
  return {};
}

StoreResult<void> CheckRegion(const LmdbFile& file, const Seals& seals, const Regions& expected, std::size_t index) {
  Total total;
  RETURN_IF_ERROR(file.WalkRange(expected[index].first(), expected.EndOf(index),
                                 [&](ByteView key, ByteView value) -> StoreResult<void> {
                                   if (IsCounted(key[0])) total.Count(seals.Fingerprint(key, value), true);
                                   return {};
                                 }));
  return Same(total, expected[index].total) ? StoreResult<void>() : Differs();
}

StoreResult<Regions> MakeRegions(const LmdbFile& file, const Seals& seals, const Total& sum) {
  Regions made;
  const std::uint64_t entries_most = std::max(kRegionEntries / 2, sum.entries / (kRegionsMax / 2));
  RETURN_IF_ERROR(file.Walk([&](ByteView key, ByteView value) -> StoreResult<void> {
    if (IsCounted(key[0])) made.Append(key, seals.Fingerprint(key, value), entries_most);
    return {};
  }));
  if (!Same(made.Sum(), sum)) return Differs();
  return made;
}

}  // namespace cmkd::store

// Regions are few: a vector, searched by halves.
#include "keystore/store/regions.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "keystore/store/codec.h"
#include "keystore/store/schema.h"

namespace cmkd::store {
namespace {

bool Less(ByteView a, ByteView b) { return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end()); }

}  // namespace

std::size_t Regions::IndexOf(ByteView key) const {
  const auto after =
      std::upper_bound(regions_.begin() + 1, regions_.end(), key,
                       [](ByteView wanted, const Region& region) { return Less(wanted, region.first()); });
  return static_cast<std::size_t>(after - regions_.begin()) - 1;
}

std::optional<Bytes> Regions::EndOf(std::size_t index) const {
  return index + 1 < regions_.size() ? std::optional(ToBytes(regions_[index + 1].first())) : std::nullopt;
}

Total Regions::Sum() const {
  Total sum;
  for (const Region& region : regions_) sum += region.total;
  return sum;
}

std::optional<std::size_t> Regions::TooLarge(std::uint64_t entries_least) const {
  const auto largest = std::max_element(regions_.begin(), regions_.end(), [](const Region& a, const Region& b) {
    return a.total.entries < b.total.entries;
  });
  const std::uint64_t bound = std::max(entries_least, 2 * Sum().entries / kRegionsMax);
  if (largest->total.entries <= bound) return std::nullopt;
  return static_cast<std::size_t>(largest - regions_.begin());
}

Region Regions::RegionFrom(ByteView first, const Total& total) {
  Region region;
  region.first_size = static_cast<std::uint8_t>(first.size());
  std::memcpy(region.first_bytes.data(), first.data(), first.size());
  region.total = total;
  return region;
}

void Regions::Append(ByteView key, const std::array<std::uint8_t, 16>& fingerprint, std::uint64_t entries_most) {
  if (regions_.back().total.entries >= entries_most && regions_.size() < kRegionsMax)
    regions_.push_back(RegionFrom(key, {}));
  regions_.back().total.Count(fingerprint, true);
}

void Regions::Divide(std::size_t index, ByteView first, const Total& total) {
  Total& rest = regions_[index].total;
  const std::uint64_t left = rest.entries - total.entries;
  rest.Count(total.fingerprint, false);
  rest.entries = left;
  regions_.insert(regions_.begin() + static_cast<std::ptrdiff_t>(index) + 1, RegionFrom(first, total));
  if (regions_.size() > kRegionsMax) Merge();
}

void Regions::Merge() {
  std::size_t least = 0;
  const auto together = [&](std::size_t i) { return regions_[i].total.entries + regions_[i + 1].total.entries; };
  for (std::size_t i = 1; i + 1 < regions_.size(); ++i)
    if (together(i) < together(least)) least = i;
  regions_[least].total += regions_[least + 1].total;
  regions_.erase(regions_.begin() + static_cast<std::ptrdiff_t>(least) + 1);
}

Bytes Encode(const Regions& regions, std::uint64_t transaction) {
  Writer writer;
  writer.U8(kRecordVersion);
  writer.U64(transaction);
  writer.U32(static_cast<std::uint32_t>(regions.size()));
  for (std::size_t i = 0; i < regions.size(); ++i) {
    writer.Block(regions[i].first());
    writer.U64(regions[i].total.entries);
    writer.Raw(regions[i].total.fingerprint);
  }
  return std::move(writer).Take();
}

std::optional<Regions> DecodeRegions(std::uint64_t transaction, ByteView bytes) {
  Reader reader(bytes);
  Regions regions;
  if (reader.U8() != kRecordVersion || reader.U64() != transaction) return std::nullopt;
  const std::size_t count = reader.Count(kRegionsMax);
  if (count == 0) return std::nullopt;
  regions.regions_.resize(count);
  for (std::size_t i = 0; i < count && reader.ok(); ++i) {
    Region& region = regions.regions_[i];
    const ByteView first = reader.Block(kKeyBytesMax);
    Total total;
    total.entries = reader.U64();
    const ByteView fingerprint = reader.Raw(total.fingerprint.size());
    if (!reader.ok()) return std::nullopt;
    std::memcpy(total.fingerprint.data(), fingerprint.data(), fingerprint.size());
    region = Regions::RegionFrom(first, total);
    const bool in_order = i == 0 ? first.empty() : Less(regions.regions_[i - 1].first(), first);
    if (!in_order) return std::nullopt;
  }
  if (!reader.Done()) return std::nullopt;
  return regions;
}

}  // namespace cmkd::store

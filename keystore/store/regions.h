// The tree of entries cut into regions, each with a total of its own, so that a part of a large store can be held
// against what it should be without reading the rest. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/bytes.h"
#include "keystore/store/schema.h"

namespace cmkd::store {

// How many entries and the exclusive or of their fingerprints.
struct Total {
  std::uint64_t entries = 0;
  std::array<std::uint8_t, 16> fingerprint{};

  void Count(const std::array<std::uint8_t, 16>& of_entry, bool added) {
    for (std::size_t i = 0; i < fingerprint.size(); ++i)
      fingerprint[i] = static_cast<std::uint8_t>(fingerprint[i] ^ of_entry[i]);
    entries += added ? 1 : std::uint64_t(-1);
  }
  Total& operator+=(const Total& other) {
    const std::uint64_t sum = entries + other.entries;
    Count(other.fingerprint, true);
    entries = sum;
    return *this;
  }
  bool operator==(const Total&) const = default;
};

// In place, so that all regions are copied at once with each change.
struct Region {
  std::array<std::uint8_t, kKeyBytesMax> first_bytes{};
  std::uint8_t first_size = 0;
  Total total;

  // The lowest key that belongs here; empty for the first region, which begins before everything.
  ByteView first() const { return {first_bytes.data(), first_size}; }
  bool operator==(const Region&) const = default;
};

inline constexpr std::size_t kRegionsMax = 256;
// A region is not divided before it has as many entries.
inline constexpr std::uint64_t kRegionEntries = 8192;

class Regions {
 public:
  Regions() : regions_(1) {}

  std::size_t size() const { return regions_.size(); }
  const Region& operator[](std::size_t index) const { return regions_[index]; }
  std::size_t IndexOf(ByteView key) const;
  // Where the region ends: the first key that is not in it; nothing for the last.
  std::optional<Bytes> EndOf(std::size_t index) const;
  Total Sum() const;

  void Count(ByteView key, const std::array<std::uint8_t, 16>& fingerprint, bool added) {
    regions_[IndexOf(key)].total.Count(fingerprint, added);
  }

  // The region with the most entries, if it has more than `entries_least` and more than twice a fair share.
  std::optional<std::size_t> TooLarge(std::uint64_t entries_least) const;
  // Region `index` begins a new one at `first`, which takes `total` away from it. Where that is one region too many,
  // the two neighbours that have the fewest entries together become one.
  void Divide(std::size_t index, ByteView first, const Total& total);
  // While they are made anew: counts an entry above all others, in a new region once the last one has `entries_most`.
  void Append(ByteView key, const std::array<std::uint8_t, 16>& fingerprint, std::uint64_t entries_most);

  bool operator==(const Regions&) const = default;

 private:
  friend std::optional<Regions> DecodeRegions(std::uint64_t transaction, ByteView bytes);
  static Region RegionFrom(ByteView first, const Total& total);
  void Merge();

  std::vector<Region> regions_;
};

// As in schema.h. Bound to the LMDB transaction that wrote it; nothing when it is another's, or not one whole record.
Bytes Encode(const Regions& regions, std::uint64_t transaction);
std::optional<Regions> DecodeRegions(std::uint64_t transaction, ByteView bytes);

}  // namespace cmkd::store

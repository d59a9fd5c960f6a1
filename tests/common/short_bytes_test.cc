// ShortBytes: the same bytes whatever their number, through every copy and move.
#include "common/short_bytes.h"

#include <gtest/gtest.h>

#include <numeric>
#include <utility>
#include <vector>

namespace cmkd {
namespace {

Bytes Counted(std::size_t size) {
  Bytes bytes(size);
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{1});
  return bytes;
}

constexpr std::size_t kSizesMax = 70;  // on both sides of what lies within

TEST(ShortBytes, HoldsWhatItWasGiven) {
  EXPECT_TRUE(ShortBytes().empty());
  for (std::size_t size = 0; size < kSizesMax; ++size) {
    const Bytes given = Counted(size);
    const ShortBytes value(given);
    EXPECT_EQ(value.size(), size);
    EXPECT_TRUE(value == ByteView(given));
    EXPECT_TRUE(std::equal(value.begin(), value.end(), given.begin(), given.end()));
  }
}

TEST(ShortBytes, CopiesAndMovesBetweenAllSizes) {
  for (std::size_t from = 0; from < kSizesMax; ++from) {
    for (std::size_t to = 0; to < kSizesMax; ++to) {
      const Bytes content = Counted(from);
      ShortBytes source(content);
      ShortBytes copy(Counted(to));
      copy = source;
      EXPECT_TRUE(copy == source);
      ShortBytes moved(Counted(to));
      moved = std::move(source);
      EXPECT_TRUE(moved == ByteView(content)) << from << " to " << to;
      EXPECT_TRUE(source.empty());  // NOLINT: what is left of it is part of the promise
      const ShortBytes built(std::move(moved));
      EXPECT_TRUE(built == copy);
    }
  }
}

TEST(ShortBytes, SurvivesBeingGivenToItself) {
  for (const std::size_t size : {5u, 60u}) {
    const Bytes content = Counted(size);
    ShortBytes value(content);
    ShortBytes& same = value;
    value = same;
    EXPECT_TRUE(value == ByteView(content));
    value = std::move(same);
    EXPECT_TRUE(value == ByteView(content));
  }
}

TEST(ShortBytes, LeavesNothingBehindWithinItself) {
  alignas(ShortBytes) std::uint8_t place[sizeof(ShortBytes)];
  auto* value = new (place) ShortBytes(Counted(16));
  value->~ShortBytes();
  const volatile std::uint8_t* left = place;
  for (std::size_t i = 0; i < sizeof place; ++i) EXPECT_EQ(left[i], 0) << i;
}

TEST(ShortBytes, KeepsItsContentWhenAVectorGrows) {
  std::vector<ShortBytes> values;
  for (std::size_t size = 0; size < kSizesMax; ++size) values.emplace_back(ByteView(Counted(size)));
  for (std::size_t size = 0; size < kSizesMax; ++size) EXPECT_TRUE(values[size] == ByteView(Counted(size)));
}

}  // namespace
}  // namespace cmkd

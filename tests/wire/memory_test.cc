// Buffer, Arena, Reader: what bounds and wipes the bytes of a call.
#include <gtest/gtest.h>

#include <fstream>

#include "pkcs11/wire/arena.h"
#include "pkcs11/wire/buffer.h"
#include "pkcs11/wire/reader.h"

namespace cmkd::wire {
namespace {

// Pages of this process that are in memory, in bytes.
std::size_t Resident() {
  std::ifstream file("/proc/self/statm");
  std::size_t all = 0;
  std::size_t resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(Arena, GivesZeroesAlsoAfterItWasUsed) {
  Arena arena;
  for (int round = 0; round < 3; ++round) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{20'000}, std::size_t{5} << 20}) {
      std::uint8_t* data = arena.Allocate(bytes);
      for (std::size_t i = 0; i < bytes; ++i) ASSERT_EQ(data[i], 0) << bytes << " at " << i;
      std::memset(data, 0xa5, bytes);
    }
    arena.Reset();
    EXPECT_EQ(arena.size(), 0U);
  }
}

TEST(Arena, IsNeverNull) {
  Arena arena;
  std::uint8_t* first = arena.Allocate(0);
  ASSERT_NE(first, nullptr);
  EXPECT_NE(arena.Allocate(0), first);
}

// A request of 25 bytes may ask for a buffer of 64 MiB, another of 4 KiB for 256 of 1 MiB.
TEST(Arena, RoomThatNobodyWritesToCostsNoMemory) {
  const std::size_t before = Resident();
  for (int round = 0; round < 2; ++round) {
    Arena arena;
    arena.Allocate(std::size_t{64} << 20);
    for (int i = 0; i < 256; ++i) arena.Allocate(std::size_t{1} << 20)[0] = 1;
    EXPECT_LT(Resident(), before + (std::size_t{32} << 20));
    arena.Reset();
    EXPECT_LT(Resident(), before + (std::size_t{32} << 20));
  }
}

TEST(Arena, KeepsValuesUntilItIsReset) {
  auto value = std::make_shared<int>(7);
  Arena arena;
  EXPECT_EQ(**arena.Keep(value), 7);
  EXPECT_EQ(value.use_count(), 2);
  arena.Reset();
  EXPECT_EQ(value.use_count(), 1);
}

TEST(Buffer, WipesWhatItForgets) {
  Buffer buffer;
  std::memset(buffer.Extend(100), 0xa5, 100);
  buffer.Shrink(40);
  const std::uint8_t* tail = buffer.Extend(60);
  EXPECT_EQ(ToBytes({tail, 60}), Bytes(60));
  buffer.Clear();
  const std::uint8_t* all = buffer.Extend(100);
  EXPECT_EQ(ToBytes({all, 100}), Bytes(100));
}

TEST(Buffer, KeepsItsBytesWhenItGrowsOrMoves) {
  Buffer buffer;
  for (int i = 0; i < 10'000; ++i) *buffer.Extend(1) = static_cast<std::uint8_t>(i);
  const Buffer moved = std::move(buffer);
  ASSERT_EQ(moved.size(), 10'000U);
  for (std::size_t i = 0; i < moved.size(); ++i) ASSERT_EQ(moved.view()[i], static_cast<std::uint8_t>(i));
}

TEST(Reader, TheFirstFailureSticks) {
  const Bytes bytes = {1, 2, 3, 4, 5};
  Reader r(bytes);
  EXPECT_EQ(r.U32(), 0x04030201U);
  EXPECT_EQ(r.U32(), 0U);
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.U8(), 0);
  EXPECT_TRUE(r.Blob().empty());
  EXPECT_FALSE(r.AtEnd());
}

TEST(Reader, ABlobIsNoLongerThanWhatIsThere) {
  for (const std::uint32_t length : {2U, 0x7fffffffU, 0xfffffffeU}) {
    Bytes bytes(5);
    std::memcpy(bytes.data(), &length, sizeof length);
    Reader r(bytes);
    EXPECT_TRUE(r.Blob().empty());
    EXPECT_FALSE(r.ok()) << length;
  }
}

TEST(Reader, TellsNullFromEmpty) {
  Buffer buffer;
  Writer w(buffer);
  w.Blob(nullptr, 0);
  w.Blob(ByteView{});
  Reader r(buffer.view());
  bool null = false;
  EXPECT_TRUE(r.Blob(&null).empty());
  EXPECT_TRUE(null);
  EXPECT_TRUE(r.Blob(&null).empty());
  EXPECT_FALSE(null);
  EXPECT_TRUE(r.AtEnd());
}

}  // namespace
}  // namespace cmkd::wire

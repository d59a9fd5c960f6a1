// The room that is kept for a full disk: taken, given in pieces, taken again.
#include "daemon/system/spare_room.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace cmkd::daemon {
namespace {

constexpr std::uint64_t kRoom = 3 * SpareRoom::kPiece;

class SpareRoomTest : public ::testing::Test {
 protected:
  SpareRoomTest() {
    std::string name = (std::filesystem::temp_directory_path() / "cmkd-spare-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~SpareRoomTest() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/spare"; }
  std::uint64_t OnDisk() const { return std::filesystem::file_size(path()); }

  std::string folder_;
};

TEST_F(SpareRoomTest, IsTakenAndGivenInPieces) {
  SpareRoom room(path(), kRoom);
  room.Take();
  EXPECT_EQ(room.held(), kRoom);
  EXPECT_EQ(OnDisk(), kRoom);
  for (std::uint64_t left = kRoom; left != 0; left -= SpareRoom::kPiece) EXPECT_TRUE(room.Give());
  EXPECT_EQ(OnDisk(), 0u);
  EXPECT_FALSE(room.Give());
  room.Take();
  EXPECT_EQ(OnDisk(), kRoom);
}

TEST_F(SpareRoomTest, WhatTheLastRunHeldCounts) {
  SpareRoom(path(), kRoom).Take();
  SpareRoom again(path(), kRoom);
  EXPECT_TRUE(again.Give());
  EXPECT_EQ(OnDisk(), kRoom - SpareRoom::kPiece);
}

TEST_F(SpareRoomTest, AFileOfHolesOrOfAnyLengthHoldsNothing) {
  std::ofstream(path()).put('x');
  std::filesystem::resize_file(path(), 5 * kRoom);
  SpareRoom room(path(), kRoom);
  EXPECT_FALSE(room.Give());
  room.Take();
  EXPECT_EQ(OnDisk(), kRoom);
}

TEST_F(SpareRoomTest, APlaceWithoutAFileHoldsNothing) {
  SpareRoom room(folder_ + "/not/there", kRoom);
  room.Take();
  EXPECT_EQ(room.held(), 0u);
  EXPECT_FALSE(room.Give());
}

// Work that is done when the disk has `needed` bytes more than at the start.
TEST_F(SpareRoomTest, IsLentUntilTheWorkIsDoneAndTakenBack) {
  for (std::uint64_t needed = 0; needed <= 4; ++needed) {
    SpareRoom room(path(), kRoom);
    room.Take();
    int tries = 0;
    const Result<int, std::string> done = room.Lend(
        [&]() -> Result<int, std::string> {
          ++tries;
          if (kRoom - room.held() < needed * SpareRoom::kPiece) return Failure<std::string>{"full"};
          return 7;
        },
        [](const std::string& error) { return error == "full"; });
    EXPECT_EQ(done.ok(), needed <= 3) << needed;
    EXPECT_EQ(tries, static_cast<int>(std::min<std::uint64_t>(needed, 3)) + 1) << needed;
    EXPECT_EQ(room.held(), kRoom) << needed;
  }
}

TEST_F(SpareRoomTest, IsNotLentForAnyOtherError) {
  SpareRoom room(path(), kRoom);
  room.Take();
  int tries = 0;
  const auto done = room.Lend(
      [&]() -> Result<int, std::string> {
        ++tries;
        return Failure<std::string>{"no such key"};
      },
      [](const std::string& error) { return error == "full"; });
  EXPECT_FALSE(done.ok());
  EXPECT_EQ(tries, 1);
}

}  // namespace
}  // namespace cmkd::daemon

// Files read within a bound and replaced whole.
#include "common/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace cmkd {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "cmkd-file-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string In(const std::string& name) const { return folder_ + "/" + name; }
  static mode_t ModeOf(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0);
    return status.st_mode & 07777;
  }
  std::string folder_;
};

TEST_F(FileTest, WhatWasReplacedIsReadAgain) {
  const Bytes first(100000, 1), second(3, 2);
  ASSERT_TRUE(ReplaceFile(In("a"), first));
  EXPECT_EQ(ReadFile(In("a"), first.size()), first);
  EXPECT_EQ(ModeOf(In("a")), 0600u);
  ASSERT_TRUE(ReplaceFile(In("a"), second, 0400));
  EXPECT_EQ(ReadFile(In("a"), 3), second);
  EXPECT_EQ(ModeOf(In("a")), 0400u);
  ASSERT_TRUE(ReplaceFile(In("a"), {}));
  EXPECT_EQ(ReadFile(In("a"), 0), Bytes{});
  EXPECT_FALSE(fs::exists(In("a") + kDraftEnding));
}

TEST_F(FileTest, NothingLongerThanTheBoundIsRead) {
  ASSERT_TRUE(ReplaceFile(In("a"), Bytes(11, 1)));
  EXPECT_TRUE(ReadFile(In("a"), 11).has_value());
  EXPECT_FALSE(ReadFile(In("a"), 10).has_value());
  EXPECT_EQ(errno, EFBIG);
  EXPECT_FALSE(ReadFile("/dev/zero", 1000).has_value());
  EXPECT_EQ(errno, EFBIG);
  EXPECT_FALSE(ReadFile(In("b"), 10).has_value());
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(ReadFile(folder_, 10).has_value());
  EXPECT_EQ(errno, EISDIR);
}

TEST_F(FileTest, LinksAreReplacedAndNotFollowed) {
  ASSERT_TRUE(ReplaceFile(In("target"), Bytes(5, 1)));
  fs::create_symlink(In("target"), In("link"));
  EXPECT_FALSE(ReadFile(In("link"), 10).has_value());
  // Somebody puts a link where the draft is to be.
  fs::create_symlink(In("target"), In("link") + kDraftEnding);
  ASSERT_TRUE(ReplaceFile(In("link"), Bytes(6, 2)));
  EXPECT_FALSE(fs::is_symlink(In("link")));
  EXPECT_EQ(ReadFile(In("link"), 10), Bytes(6, 2));
  EXPECT_EQ(ReadFile(In("target"), 10), Bytes(5, 1));
}

TEST_F(FileTest, AReplacementThatFailsLeavesTheOldFile) {
  fs::create_directories(In("a/b"));
  EXPECT_FALSE(ReplaceFile(In("a"), Bytes(3, 1)));  // a folder that is not empty
  EXPECT_TRUE(fs::is_directory(In("a/b")));
  EXPECT_FALSE(fs::exists(In("a") + kDraftEnding));
  EXPECT_FALSE(ReplaceFile(In("nowhere/a"), Bytes(3, 1)));
  EXPECT_EQ(errno, ENOENT);
}

TEST_F(FileTest, ADescriptorHasOneOwner) {
  const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  {
    File first(fd);
    File second(std::move(first));
    EXPECT_EQ(second.get(), fd);
    EXPECT_TRUE(WriteAll(second.get(), Bytes(10, 1)));
    File third;
    third = std::move(second);
    EXPECT_TRUE(third.valid());
    EXPECT_EQ(third.get(), fd);
  }
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
  EXPECT_FALSE(WriteAll(fd, Bytes(1, 1)));
  File none;
  EXPECT_FALSE(none.valid());
}

TEST(FolderOf, IsWhereThePathPoints) {
  EXPECT_EQ(FolderOf("/a/b"), "/a");
  EXPECT_EQ(FolderOf("/a"), "/");
  EXPECT_EQ(FolderOf("a"), ".");
  EXPECT_EQ(FolderOf("a/b/c"), "a/b");
}

}  // namespace
}  // namespace cmkd

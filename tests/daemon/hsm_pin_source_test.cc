// PINs from files, credentials and commands, and the file of the simulated device's own PINs.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "daemon/hsm/pin_source.h"
#include "daemon/hsm/software_pins.h"

namespace cmkd::daemon {
namespace {

class PinSourceTest : public testing::Test {
 protected:
  PinSourceTest() : folder_((std::filesystem::temp_directory_path() / "cmkd-pin-XXXXXX").string()) {
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  ~PinSourceTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string Write(const std::string& name, const std::string& content, mode_t mode = 0600) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path) << content;
    ::chmod(path.c_str(), mode);
    return path;
  }
  static std::string Read(const PinSource& source) {
    const auto pin = ReadPin(source);
    return pin.ok() ? std::string(AsText(pin->view())) : "refused: " + pin.error();
  }
  std::string folder_;
};

TEST_F(PinSourceTest, AFileGivesItsFirstLine) {
  EXPECT_EQ(Read({Write("a", "1234\n"), "", {}}), "1234");
  EXPECT_EQ(Read({Write("b", "1234"), "", {}}), "1234");
  EXPECT_EQ(Read({Write("c", "1234\r\nmore\n"), "", {}}), "1234");
  EXPECT_EQ(Read({Write("d", " 12 34 \n"), "", {}}), " 12 34 ");
}

TEST_F(PinSourceTest, AFileThatOthersMayReadOrChangeIsRefused) {
  EXPECT_EQ(Read({Write("group", "1234\n", 0640), "", {}}), "1234") << "a group may be given the right to read";
  EXPECT_TRUE(Read({Write("world", "1234\n", 0644), "", {}}).starts_with("refused"));
  EXPECT_TRUE(Read({Write("writable", "1234\n", 0620), "", {}}).starts_with("refused"));
}

TEST_F(PinSourceTest, NothingIsNoPin) {
  EXPECT_TRUE(Read({Write("empty", ""), "", {}}).starts_with("refused"));
  EXPECT_TRUE(Read({Write("line", "\n1234\n"), "", {}}).starts_with("refused"));
  EXPECT_TRUE(Read({folder_ + "/missing", "", {}}).starts_with("refused"));
  EXPECT_TRUE(Read({Write("long", std::string(kPinBytesMax + 1, '1')), "", {}}).starts_with("refused"));
  EXPECT_EQ(Read({Write("longest", std::string(kPinBytesMax, '1')), "", {}}), std::string(kPinBytesMax, '1'));
  EXPECT_TRUE(Read({}).starts_with("refused"));
}

TEST_F(PinSourceTest, ACredentialIsAFileOfItsFolder) {
  Write("hsm-pin", "5678\n", 0400);
  ::setenv("CREDENTIALS_DIRECTORY", folder_.c_str(), 1);
  EXPECT_EQ(Read({"", "hsm-pin", {}}), "5678");
  EXPECT_TRUE(Read({"", "../hsm-pin", {}}).starts_with("refused"));
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_TRUE(Read({"", "hsm-pin", {}}).starts_with("refused"));
}

TEST_F(PinSourceTest, ACommandPrintsIt) {
  EXPECT_EQ(Read({"", "", {"/bin/echo", "9 9"}}), "9 9");
  EXPECT_TRUE(Read({"", "", {"/bin/false"}}).starts_with("refused"));
  EXPECT_TRUE(Read({"", "", {"/bin/sh", "-c", "echo 1234; exit 1"}}).starts_with("refused"));
  EXPECT_TRUE(Read({"", "", {folder_ + "/missing"}}).starts_with("refused"));
}

TEST_F(PinSourceTest, SoftwarePinsAreMadeOnceAndKept) {
  const std::string path = folder_ + "/hsm.pin";
  const auto made = ReadOrMakeSoftwarePins(path);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->user.size(), 32u);
  EXPECT_FALSE(Equal(made->user.view(), made->so.view()));
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
  const auto again = ReadOrMakeSoftwarePins(path);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(Equal(made->user.view(), again->user.view()));
  EXPECT_TRUE(Equal(made->so.view(), again->so.view()));
}

TEST_F(PinSourceTest, ASoftwarePinFileThatIsOpenOrTornIsRefused) {
  const std::string path = folder_ + "/hsm.pin";
  ASSERT_TRUE(ReadOrMakeSoftwarePins(path).ok());
  ::chmod(path.c_str(), 0640);
  EXPECT_FALSE(ReadOrMakeSoftwarePins(path).ok());
  ::chmod(path.c_str(), 0600);
  std::filesystem::resize_file(path, 40);
  EXPECT_FALSE(ReadOrMakeSoftwarePins(path).ok());
}

}  // namespace
}  // namespace cmkd::daemon

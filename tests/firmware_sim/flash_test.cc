// Non-volatile memory: what survives a restart, and what happens when it is damaged.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

namespace fs = std::filesystem;

class FlashTest : public DeviceTest {
 protected:
  void Restart() {
    Stop();
    Start();
    LogIn();
  }
  fs::path FileThatBegins(std::string_view prefix) {
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.path().filename().string().starts_with(prefix)) return entry.path();
    }
    return {};
  }
  static void Flip(const fs::path& path, std::streamoff at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 1));
  }
  // The device starts, says that it is in the error state, and gives nothing.
  void ExpectErrorState() {
    ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
    CK_TOKEN_INFO info{};
    ASSERT_EQ(f->C_GetTokenInfo(0, &info), CKR_OK);
    EXPECT_EQ(info.flags, CKF_ERROR_STATE);
    CK_SESSION_HANDLE none = 0;
    EXPECT_EQ(f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &none), CKR_DEVICE_ERROR);
    CK_UTF8CHAR label[32] = {};
    EXPECT_EQ(f->C_InitToken(0, label, 8, label), CKR_DEVICE_ERROR);
  }
};

TEST_F(FlashTest, TokenObjectsSurviveARestartAndSessionObjectsDoNot) {
  const auto kept = GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "kept"));
  GenerateAes(32, T().Text(CKA_LABEL, "lost"));
  const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256", T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "signer"));
  const auto data =
      Create(T().Ulong(CKA_CLASS, CKO_DATA).Bool(CKA_TOKEN, true).Text(CKA_LABEL, "data").Text(CKA_VALUE, "text"));
  const Bytes block(16, 1);
  const Bytes before = Encrypt(M(CKM_AES_ECB), kept, block);
  const Bytes info = Attribute(pair.public_key, CKA_PUBLIC_KEY_INFO), id = Attribute(data, CKA_UNIQUE_ID);
  Restart();
  EXPECT_TRUE(Find(T().Text(CKA_LABEL, "lost")).empty());
  const auto found = Find(T().Text(CKA_LABEL, "kept"));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(Encrypt(M(CKM_AES_ECB), found[0], block), before);
  EXPECT_EQ(AttributeError(found[0], CKA_VALUE), CKR_ATTRIBUTE_SENSITIVE);
  const auto signer = Find(T().Text(CKA_LABEL, "signer"));
  ASSERT_EQ(signer.size(), 1u);
  EXPECT_EQ(Attribute(signer[0], CKA_PUBLIC_KEY_INFO), info);
  const auto again = Find(T().Text(CKA_LABEL, "data"));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(Attribute(again[0], CKA_UNIQUE_ID), id);
}

TEST_F(FlashTest, ChangedAttributeAndDestroyedObjectSurviveARestart) {
  const auto one = GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "one"));
  const auto two = GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "two"));
  T changed;
  changed.Text(CKA_LABEL, "new");
  ASSERT_EQ(f->C_SetAttributeValue(session, one, changed.data(), changed.size()), CKR_OK);
  ASSERT_EQ(f->C_DestroyObject(session, two), CKR_OK);
  Restart();
  EXPECT_EQ(Find(T().Text(CKA_LABEL, "new")).size(), 1u);
  EXPECT_TRUE(Find(T().Text(CKA_LABEL, "one")).empty());
  EXPECT_TRUE(Find(T().Text(CKA_LABEL, "two")).empty());
}

TEST_F(FlashTest, SerialNumberStays) {
  CK_TOKEN_INFO before{}, after{};
  ASSERT_EQ(f->C_GetTokenInfo(0, &before), CKR_OK);
  Restart();
  ASSERT_EQ(f->C_GetTokenInfo(0, &after), CKR_OK);
  EXPECT_EQ(std::memcmp(before.serialNumber, after.serialNumber, 16), 0);
  EXPECT_NE(before.serialNumber[15], ' ');
}

TEST_F(FlashTest, FilesAreThereForTheirOwnerOnlyAndHoldNoKeyInTheClear) {
  const Bytes value(32, 0x5a);
  Create(T().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_AES).Raw(CKA_VALUE, value).Bool(CKA_TOKEN, true));
  ASSERT_EQ(rv, CKR_OK);
  for (const auto& entry : fs::directory_iterator(directory)) {
    struct stat status {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u) << entry.path();
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(content.find(std::string(16, 0x5a)), std::string::npos);
  }
}

TEST_F(FlashTest, AnyFlippedBitIsNoticed) {
  GenerateAes(32, T().Bool(CKA_TOKEN, true));
  Stop();
  for (const char* name : {"object-", "token"}) {
    const fs::path path = FileThatBegins(name);
    const auto size = static_cast<std::streamoff>(fs::file_size(path));
    for (std::streamoff at = 0; at < size; at += size / 7 + 1) {
      Flip(path, at);
      ExpectErrorState();
      Stop();
      Flip(path, at);
    }
  }
  Start();
}

TEST_F(FlashTest, OneFileCannotStandInForAnother) {
  GenerateAes(32, T().Bool(CKA_TOKEN, true));
  const fs::path first = FileThatBegins("object-");
  Stop();
  fs::copy_file(first, fs::path(directory) / "object-000000000000000000000000");
  ExpectErrorState();
}

TEST_F(FlashTest, CutFileIsNoticed) {
  GenerateAes(32, T().Bool(CKA_TOKEN, true));
  Stop();
  fs::resize_file(FileThatBegins("object-"), 40);
  ExpectErrorState();
}

TEST_F(FlashTest, LostTokenRecordOrDeviceKeyIsNoticed) {
  GenerateAes(32, T().Bool(CKA_TOKEN, true));
  Stop();
  fs::rename(fs::path(directory) / "token", fs::path(directory + ".token"));
  ExpectErrorState();
}

TEST_F(FlashTest, TemporaryFileOfAnInterruptedWriteIsIgnored) {
  GenerateAes(32, T().Bool(CKA_TOKEN, true).Text(CKA_LABEL, "kept"));
  Stop();
  std::ofstream(fs::path(directory) / "object-111111111111111111111111.tmp") << "half";
  Start();
  LogIn();
  EXPECT_EQ(Find(T().Text(CKA_LABEL, "kept")).size(), 1u);
}

TEST_F(FlashTest, SecondProcessIsKeptOut) {
  const pid_t child = ::fork();
  if (child == 0) {
    CK_SESSION_HANDLE none = 0;
    const bool refused = f->C_Initialize(nullptr) == CKR_OK &&
                         f->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &none) == CKR_DEVICE_ERROR;
    ::_exit(refused ? 0 : 1);
  }
  int status = 1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(FlashTest, WithoutADirectoryTheDeviceIsInTheErrorState) {
  Stop();
  Configure("/nonexistent/directory");
  ExpectErrorState();
}

}  // namespace
}  // namespace cmkd::sim

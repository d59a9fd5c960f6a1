// The integrity of the device's image: a copy of the module of which one byte is another never serves.
#include "firmware_sim/image_seal.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::sim {
namespace {

namespace fs = std::filesystem;

// What a process says of a module that it has loaded and switched on.
enum Answer { kServes = 0, kNotLoaded = 10, kRefusesAsItShould = 11, kRefusesOtherwise = 12, kErrorState = 13 };

class ImageSealTest : public testing::Test {
 protected:
  ImageSealTest() {
    char name[] = "/tmp/cmkd-image-XXXXXX";
    directory = ::mkdtemp(name);
    fs::copy(CMKD_BUILD_DIR "/lib/libcmkd-firmware-sim.so", module());
    fs::copy(SealPath(CMKD_BUILD_DIR "/lib/libcmkd-firmware-sim.so"), SealPath(module()));
  }
  ~ImageSealTest() override { fs::remove_all(directory); }

  std::string module() const { return directory + "/module.so"; }

  // In a process of its own: what is damaged may do anything. Signals and endless loops are not service either.
  int Try() {
    const std::string memory = directory + "/memory";
    const pid_t child = ::fork();
    if (child != 0) {
      int status = 0;
      EXPECT_EQ(::waitpid(child, &status, 0), child);
      fs::remove_all(memory);
      return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    const rlimit none{0, 0};
    (void)::setrlimit(RLIMIT_CORE, &none);
    ::alarm(60);
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, 1);
    ::dup2(null, 2);
    ::setenv("CMKD_FIRMWARE_SIM_DIR", memory.c_str(), 1);
    void* const loaded = ::dlopen(module().c_str(), RTLD_NOW | RTLD_LOCAL);
    if (loaded == nullptr) ::_exit(kNotLoaded);
    const auto get = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(loaded, "C_GetFunctionList"));
    CK_FUNCTION_LIST* list = nullptr;
    if (get == nullptr || get(&list) != CKR_OK) ::_exit(kNotLoaded);
    ::_exit(Ask(*list));
  }
  static int Ask(const CK_FUNCTION_LIST& list) {
    const CK_RV first = list.C_Initialize(nullptr);
    if (first != CKR_OK) {
      const CK_RV second = list.C_Initialize(nullptr);
      return first == CKR_FIPS_SELF_TEST_FAILED && second == CKR_GENERAL_ERROR ? kRefusesAsItShould : kRefusesOtherwise;
    }
    CK_SESSION_HANDLE session = 0;
    CK_BYTE bytes[8];
    const bool serves = list.C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &session) == CKR_OK &&
                        list.C_GenerateRandom(session, bytes, sizeof bytes) == CKR_OK;
    return serves ? kServes : kErrorState;
  }

  std::string directory;
};

TEST_F(ImageSealTest, WhatWasBuiltServes) { EXPECT_EQ(Try(), kServes); }

TEST_F(ImageSealTest, WithoutAGoodSealItDoesNot) {
  fs::remove(SealPath(module()));
  EXPECT_EQ(Try(), kRefusesAsItShould);
  for (const char* wrong : {"", "00\n", "0000000000000000000000000000000000000000000000000000000000000000\n",
                            "zz00000000000000000000000000000000000000000000000000000000000000\n"}) {
    std::ofstream(SealPath(module()), std::ios::trunc) << wrong;
    EXPECT_EQ(Try(), kRefusesAsItShould) << wrong;
  }
  ASSERT_TRUE(SealImage(module()).ok());
  EXPECT_EQ(Try(), kServes);
}

// So many flips: CMKD_IMAGE_FLIPS, 1,000 for a campaign. The places are seeded.
TEST_F(ImageSealTest, OneByteThatIsAnotherAndItNeverServes) {
  const char* const asked = std::getenv("CMKD_IMAGE_FLIPS");
  const int flips = asked == nullptr ? 100 : std::atoi(asked);
  const auto size = static_cast<std::size_t>(fs::file_size(module()));
  std::mt19937_64 random(11);
  int told = 0;
  for (int flip = 0; flip < flips; ++flip) {
    const auto at = static_cast<std::streamoff>(random() % size);
    const int change = static_cast<int>(1 + random() % 255);
    std::fstream file(module(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ change));
    file.close();
    const int answer = Try();
    EXPECT_NE(answer, kServes) << "byte " << at << " ^ " << change;
    told += answer == kRefusesAsItShould ? 1 : 0;
    file.open(module(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.put(static_cast<char>(byte));
  }
  // Most bytes of a module do not matter until they are used: it is the seal that tells.
  EXPECT_GT(told, flips / 2);
  EXPECT_EQ(Try(), kServes);
}

}  // namespace
}  // namespace cmkd::sim

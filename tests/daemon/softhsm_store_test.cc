// What SoftHSM 2 loses of its own files when its process is killed while it logs in, and how the host makes that good.
#include "daemon/hsm_host/softhsm_store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include "tests/daemon/hsm_rig.h"

namespace cmkd::daemon {
namespace {

namespace fs = std::filesystem;

class SoftHsmStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(rig_.missing().empty()) << rig_.missing();
    for (const auto& entry : fs::directory_iterator(tokens())) token_ = entry.path() / "token.object";
    ASSERT_TRUE(fs::exists(token_));
  }
  std::string tokens() const { return rig_.folder() + "/tokens"; }
  fs::path copy() const { return token_.string() + ".cmkd"; }
  static std::string Content(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void Write(const fs::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  }
  // What the key says after the host was killed and `damage` done to its files.
  Fallible<Bytes> AfterAKill(KeyBench& bench, const TestKey& key, const std::function<void()>& damage) {
    const int pid = HsmRig::HostPid();
    EXPECT_GT(pid, 0);
    damage();  // the token is open, so the host notices nothing of it
    ::kill(pid, SIGKILL);
    Fallible<Bytes> after = bench.Fingerprint(key);
    for (int tries = 0; !after.ok() && tries < 1000; ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      after = bench.Fingerprint(key);
    }
    return after;
  }

  HsmRig rig_{RigKind::kSoftHsmHosted};
  fs::path token_;
};

TEST_F(SoftHsmStoreTest, ATokenThatAKillTookComesBack) {
  const auto backend = rig_.Start();
  ASSERT_NE(backend, nullptr);
  KeyBench bench(*backend);
  const TestKey key = bench.Aes();
  const auto before = bench.Fingerprint(key);
  ASSERT_TRUE(before.ok());
  const std::string whole = Content(copy());
  ASSERT_FALSE(whole.empty());
  const std::function<void()> damages[] = {
      [&] { Write(token_, ""); },
      [&] { Write(token_, whole.substr(0, 8)); },
      [&] { Write(token_, std::string(whole.size(), '\0')); },
      [&] { fs::remove(token_); },
      // A copy that was being made.
      [&] {
        Write(copy().string() + ".new", "half");
        Write(token_, "");
      },
  };
  for (const auto& damage : damages) {
    const auto after = AfterAKill(bench, key, damage);
    ASSERT_TRUE(after.ok()) << after.error().why;
    EXPECT_EQ(*after, *before);
    EXPECT_EQ(Content(copy()), whole);
  }
}

TEST_F(SoftHsmStoreTest, TheCopyFollowsTheToken) {
  const auto backend = rig_.Start();
  ASSERT_NE(backend, nullptr);
  struct stat status {};
  ASSERT_EQ(::stat(copy().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  Write(copy(), "of an earlier PIN");
  KeyBench bench(*backend);
  const TestKey key = bench.Aes();
  ASSERT_TRUE(AfterAKill(bench, key, [] {}).ok());
  // The first eight bytes count how often the file was written; the login after the copy was one.
  EXPECT_EQ(Content(copy()).substr(8), Content(token_).substr(8));
}

// A token that SoftHSM shows is SoftHSM's business, however much shorter it is than the copy.
TEST_F(SoftHsmStoreTest, WhatTheModuleShowsIsLeftAlone) {
  const auto backend = rig_.Start();
  ASSERT_NE(backend, nullptr);
  KeyBench bench(*backend);
  const TestKey key = bench.Aes();
  Write(copy(), std::string(60000, 'x'));
  const std::string token = Content(token_);
  ASSERT_TRUE(AfterAKill(bench, key, [] {}).ok());
  EXPECT_EQ(Content(token_).size(), token.size());
}

TEST_F(SoftHsmStoreTest, OnlySoftHsmWithFilesHasAStore) {
  const std::string configuration = rig_.config().environment.at("SOFTHSM2_CONF");
  ::setenv("SOFTHSM2_CONF", configuration.c_str(), 1);
  EXPECT_TRUE(SoftHsmStore::Of(rig_.config().module).has_value());
  EXPECT_FALSE(SoftHsmStore::Of("/usr/lib/libvendor.so").has_value());
  Write(configuration, "directories.tokendir = " + tokens() + "\nobjectstore.backend = db # of SQLite\n");
  EXPECT_FALSE(SoftHsmStore::Of(rig_.config().module).has_value());
  Write(configuration, "# directories.tokendir = " + tokens() + "\n");
  EXPECT_FALSE(SoftHsmStore::Of(rig_.config().module).has_value());
  ::setenv("SOFTHSM2_CONF", "/nonexistent", 1);
  EXPECT_FALSE(SoftHsmStore::Of(rig_.config().module).has_value());
  ::unsetenv("SOFTHSM2_CONF");
}

TEST_F(SoftHsmStoreTest, WhatWasMadeIsSynced) {
  const SoftHsmStore store(tokens());
  const timespec before = SoftHsmStore::Now();
  Write(token_.parent_path() / "new.object", "a key");
  EXPECT_TRUE(store.SyncSince(before));
  // A file that cannot be opened cannot be synced, and that is said.
  fs::remove(token_.parent_path() / "new.object");
  fs::create_symlink("/dev/null", token_.parent_path() / "new.object");
  EXPECT_FALSE(store.SyncSince(before));
  EXPECT_TRUE(SoftHsmStore("/nonexistent").SyncSince(before));
}

}  // namespace
}  // namespace cmkd::daemon

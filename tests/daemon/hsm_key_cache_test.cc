// KeyCache by itself: what is kept, what goes, and who destroys it.
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "daemon/hsm/key_cache.h"

namespace cmkd::daemon {
namespace {

KeyName Name(std::uint8_t number, bool is_public = false) {
  KeyName name;
  name.id.fill(number);
  name.version = 1;
  name.is_public = is_public;
  return name;
}

// A device that knows which handles are in it.
class Device {
 public:
  KeyCache::Load Loader(CK_OBJECT_HANDLE handle, Bytes reference = {}) {
    return [this, handle, reference]() -> Fallible<CachedKey> {
      const std::lock_guard lock(mutex);
      ++loads;
      objects.insert(handle);
      CachedKey key;
      key.handle = handle;
      key.owned = true;
      key.wrapping_reference = reference;
      return key;
    };
  }
  KeyCache::Destroy Destroyer() {
    return [this](const CachedKey& key) {
      const std::lock_guard lock(mutex);
      const auto found = objects.find(key.handle);  // one of them: a key may be loaded again before its old object goes
      ASSERT_NE(found, objects.end()) << "destroyed twice, or never made";
      objects.erase(found);
    };
  }
  std::mutex mutex;
  std::multiset<CK_OBJECT_HANDLE> objects;
  int loads = 0;
};

class KeyCacheTest : public testing::Test {
 protected:
  KeyCache::Pin Load(KeyCache& cache, std::uint8_t number, std::uint64_t generation = 1, bool extractable = false) {
    auto pin = cache.FindOrLoad(Name(number), generation, extractable, device_.Loader(number));
    EXPECT_TRUE(pin.ok());
    return pin.ok() ? *pin : nullptr;
  }
  Device device_;
};

TEST_F(KeyCacheTest, FindsWhatWasLoaded) {
  KeyCache cache(8, device_.Destroyer());
  EXPECT_EQ(cache.Find(Name(1), 1, false), nullptr);
  EXPECT_EQ(KeyCache::HandleOf(Load(cache, 1)), 1u);
  ASSERT_NE(cache.Find(Name(1), 1, false), nullptr);
  EXPECT_EQ(cache.Find(Name(1, true), 1, false), nullptr) << "the public half is another key";
}

TEST_F(KeyCacheTest, AnotherGenerationIsAnotherObject) {
  KeyCache cache(8, device_.Destroyer());
  (void)Load(cache, 1, 1);
  EXPECT_EQ(cache.Find(Name(1), 2, false), nullptr);
  (void)Load(cache, 1, 2);
  EXPECT_EQ(device_.loads, 2);
  EXPECT_EQ(cache.Find(Name(1), 1, false), nullptr);
  EXPECT_EQ(cache.size(), 1u);
}

TEST_F(KeyCacheTest, AnObjectThatMayBeWrappedServesOtherUsesAndNotTheOtherWayRound) {
  KeyCache cache(8, device_.Destroyer());
  (void)Load(cache, 1, 1, false);
  EXPECT_EQ(cache.Find(Name(1), 1, true), nullptr);
  (void)Load(cache, 1, 1, true);
  EXPECT_NE(cache.Find(Name(1), 1, true), nullptr);
  EXPECT_NE(cache.Find(Name(1), 1, false), nullptr);
}

TEST_F(KeyCacheTest, StaysWithinItsBoundAndDestroysTheRest) {
  KeyCache cache(3, device_.Destroyer());
  for (std::uint8_t i = 1; i <= 10; ++i) (void)Load(cache, i);
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_EQ(device_.objects.size(), 3u);
  EXPECT_EQ(device_.objects.count(10), 1u) << "the newest stays";
}

TEST_F(KeyCacheTest, AKeyInUseSurvivesOnesThatAreNot) {
  KeyCache cache(4, device_.Destroyer());
  for (std::uint8_t i = 1; i <= 20; ++i) {
    (void)Load(cache, i);
    (void)Load(cache, 100);
  }
  EXPECT_EQ(device_.loads, 21) << "key 100 was loaded once";
}

TEST_F(KeyCacheTest, APinOutlivesTheBoundAndForgetting) {
  KeyCache cache(2, device_.Destroyer());
  KeyCache::Pin pin = Load(cache, 1);
  for (std::uint8_t i = 2; i <= 10; ++i) (void)Load(cache, i);
  EXPECT_NE(cache.Find(Name(1), 1, false), nullptr);
  cache.Forget(Name(1));
  EXPECT_EQ(cache.Find(Name(1), 1, false), nullptr);
  EXPECT_EQ(device_.objects.count(1), 1u);
  pin.reset();
  EXPECT_EQ(device_.objects.count(1), 0u);
}

TEST_F(KeyCacheTest, ForgetsAllThatCameFromAWrappingKey) {
  KeyCache cache(8, device_.Destroyer());
  const Bytes old{1};
  ASSERT_TRUE(cache.FindOrLoad(Name(1), 1, false, device_.Loader(1, old)).ok());
  ASSERT_TRUE(cache.FindOrLoad(Name(2), 1, false, device_.Loader(2, Bytes{2})).ok());
  cache.ForgetWrappedUnder(old);
  EXPECT_EQ(cache.Find(Name(1), 1, false), nullptr);
  EXPECT_NE(cache.Find(Name(2), 1, false), nullptr);
}

TEST_F(KeyCacheTest, AFailureIsNotRemembered) {
  KeyCache cache(8, device_.Destroyer());
  const auto failed =
      cache.FindOrLoad(Name(1), 1, false, []() -> Fallible<CachedKey> { return Fail(CKR_DEVICE_ERROR, "no"); });
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().rv, CKR_DEVICE_ERROR);
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_NE(Load(cache, 1), nullptr);
}

TEST_F(KeyCacheTest, ThreadsThatMissTogetherLoadOnce) {
  KeyCache cache(8, device_.Destroyer());
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      const auto pin = cache.FindOrLoad(Name(1), 1, false, [&]() -> Fallible<CachedKey> {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return device_.Loader(1)();
      });
      EXPECT_TRUE(pin.ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(device_.loads, 1);
}

TEST_F(KeyCacheTest, UnderThreadsEveryObjectIsDestroyedOnce) {
  {
    KeyCache cache(5, device_.Destroyer());
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 2000; ++i) {
          const auto number = static_cast<std::uint8_t>(1 + (i * 13 + t * 7) % 17);
          const auto pin = cache.FindOrLoad(Name(number), 1, false, device_.Loader(number));
          ASSERT_TRUE(pin.ok());
          ASSERT_EQ(KeyCache::HandleOf(*pin), number);
          if (i % 31 == 0) cache.Forget(Name(number));
          if (i % 501 == 0) cache.EvictUnpinned();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(cache.size(), 5u + 4u) << "what a thread held when room was made stays until the next insertion";
  }
  EXPECT_TRUE(device_.objects.empty());
}

}  // namespace
}  // namespace cmkd::daemon

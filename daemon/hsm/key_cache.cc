// The shards of the key cache, loading once, and letting go.
#include "daemon/hsm/key_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <utility>

namespace cmkd::daemon {

// A place in the cache: being loaded, there, or failed. Its destructor takes the object out of the device.
class KeyCache::Entry {
 public:
  Entry(const KeyName& of, std::uint64_t in_generation, bool may_be_wrapped, const Destroy& destroy)
      : name(of), generation(in_generation), extractable(may_be_wrapped), destroy_(destroy) {}
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() {
    if (key.owned && key.handle != CK_INVALID_HANDLE) destroy_(key);
  }

  const KeyName name;
  const std::uint64_t generation;
  const bool extractable;
  CachedKey key;  // written before `ready`
  std::atomic<bool> ready{false};
  std::atomic<bool> used{true};
  std::mutex mutex;  // done, error
  std::condition_variable finished;
  bool done = false;
  std::optional<Error> error;

  void Finish(Fallible<CachedKey> loaded) {
    if (loaded.ok()) {
      key = std::move(*loaded);
      ready.store(true, std::memory_order_release);
    }
    {
      const std::lock_guard lock(mutex);
      if (!loaded.ok()) error = loaded.error();
      done = true;
    }
    finished.notify_all();
  }
  std::optional<Error> Wait() {
    std::unique_lock lock(mutex);
    finished.wait(lock, [&] { return done; });
    return error;
  }
  bool Serves(std::uint64_t wanted_generation, bool wanted_extractable) const {
    return generation == wanted_generation && (extractable || !wanted_extractable);
  }

 private:
  const Destroy& destroy_;
};

namespace {

constexpr std::size_t kShardsMax = 16;
constexpr std::size_t kShardEntriesMin = 64;

// A loader that ends by an exception must not leave others waiting for it.
Fallible<CachedKey> LoadOrFail(const KeyCache::Load& load) {
  try {
    return load();
  } catch (const std::bad_alloc&) {
    return Fail(CKR_HOST_MEMORY, "no memory to load a key");
  }
}

std::size_t ShardCount(std::size_t entries_max) {
  return std::clamp<std::size_t>(std::bit_floor(entries_max / kShardEntriesMin), 1, kShardsMax);
}

}  // namespace

CK_OBJECT_HANDLE KeyCache::HandleOf(const Pin& pin) { return pin->key.handle; }

std::size_t KeyCache::Hash::operator()(const KeyName& name) const {
  // Ids are random; a few of their bits are as good as any hash.
  std::uint64_t bits = 0;
  std::memcpy(&bits, name.id.data(), sizeof bits);
  return static_cast<std::size_t>(bits ^ (std::uint64_t{name.version} * 0x9E3779B97F4A7C15u) ^
                                  (name.is_public ? 1u : 0u));
}

KeyCache::KeyCache(std::size_t entries_max, Destroy destroy)
    : shard_entries_max_(std::max<std::size_t>(1, entries_max / ShardCount(entries_max))),
      destroy_(std::move(destroy)) {
  for (std::size_t i = 0; i < ShardCount(entries_max); ++i) shards_.push_back(std::make_unique<Shard>());
}

KeyCache::~KeyCache() { Clear(); }

KeyCache::Shard& KeyCache::ShardOf(const KeyName& name) {
  // Not the bits that choose the bucket within the shard.
  return *shards_[(name.id[15] ^ name.version) & (shards_.size() - 1)];
}

KeyCache::Pin KeyCache::FindIn(Shard& shard, const KeyName& name, std::uint64_t generation, bool extractable) {
  const auto place = shard.places.find(name);
  if (place == shard.places.end()) return nullptr;
  const Pin& entry = shard.ring[place->second];
  return entry->Serves(generation, extractable) ? entry : nullptr;
}

KeyCache::Pin KeyCache::Find(const KeyName& name, std::uint64_t generation, bool extractable) {
  Shard& shard = ShardOf(name);
  const std::shared_lock lock(shard.mutex);
  Pin entry = FindIn(shard, name, generation, extractable);
  if (entry == nullptr || !entry->ready.load(std::memory_order_acquire)) return nullptr;
  if (!entry->used.load(std::memory_order_relaxed)) entry->used.store(true, std::memory_order_relaxed);
  return entry;
}

Fallible<KeyCache::Pin> KeyCache::FindOrLoad(const KeyName& name, std::uint64_t generation, bool extractable,
                                             const Load& load) {
  Shard& shard = ShardOf(name);
  std::vector<Pin> gone;  // destroyed after the lock is released
  Pin entry;
  bool mine = false;
  {
    const std::unique_lock lock(shard.mutex);
    entry = FindIn(shard, name, generation, extractable);
    if (entry == nullptr) {
      if (const auto place = shard.places.find(name); place != shard.places.end()) {
        gone.push_back(RemoveAt(shard, place->second));
      }
      entry = std::make_shared<Entry>(name, generation, extractable, destroy_);
      shard.places.emplace(name, shard.ring.size());
      shard.ring.push_back(entry);
      mine = true;
      Shrink(shard, gone);
    }
    entry->used.store(true, std::memory_order_relaxed);
  }
  gone.clear();
  if (mine) {
    entry->Finish(LoadOrFail(load));
    if (!entry->ready.load(std::memory_order_acquire)) Forget(entry);
  }
  if (const std::optional<Error> error = entry->Wait()) return Failure<Error>{*error};
  return entry;
}

KeyCache::Pin KeyCache::RemoveAt(Shard& shard, std::size_t place) {
  Pin removed = std::move(shard.ring[place]);
  shard.places.erase(removed->name);
  if (place + 1 != shard.ring.size()) {
    shard.ring[place] = std::move(shard.ring.back());
    shard.places[shard.ring[place]->name] = place;
  }
  shard.ring.pop_back();
  return removed;
}

void KeyCache::Shrink(Shard& shard, std::vector<Pin>& gone) const {
  // Two rounds at most: in the first all may have been used. What is pinned stays, also beyond the bound.
  for (std::size_t steps = shard.ring.size() * 2; steps > 0 && shard.ring.size() > shard_entries_max_; --steps) {
    if (shard.hand >= shard.ring.size()) shard.hand = 0;
    Entry& entry = *shard.ring[shard.hand];
    const bool pinned = shard.ring[shard.hand].use_count() > 1 || !entry.ready.load(std::memory_order_acquire);
    if (pinned || entry.used.exchange(false, std::memory_order_relaxed)) {
      ++shard.hand;
    } else {
      gone.push_back(RemoveAt(shard, shard.hand));
    }
  }
}

template <class Condition>
void KeyCache::RemoveIf(Condition condition) {
  for (const auto& shard : shards_) {
    std::vector<Pin> gone;
    const std::unique_lock lock(shard->mutex);
    for (std::size_t i = shard->ring.size(); i-- > 0;) {
      if (condition(shard->ring[i])) gone.push_back(RemoveAt(*shard, i));
    }
  }
}

void KeyCache::Forget(const KeyName& name) {
  Shard& shard = ShardOf(name);
  Pin gone;
  const std::unique_lock lock(shard.mutex);
  if (const auto place = shard.places.find(name); place != shard.places.end()) gone = RemoveAt(shard, place->second);
}

void KeyCache::Forget(const Pin& pin) {
  Shard& shard = ShardOf(pin->name);
  Pin gone;
  const std::unique_lock lock(shard.mutex);
  const auto place = shard.places.find(pin->name);
  if (place != shard.places.end() && shard.ring[place->second] == pin) gone = RemoveAt(shard, place->second);
}

void KeyCache::ForgetWrappedUnder(ByteView reference) {
  RemoveIf([&](const Pin& entry) {
    return !entry->ready.load(std::memory_order_acquire) || Equal(entry->key.wrapping_reference, reference);
  });
}

void KeyCache::EvictUnpinned() {
  RemoveIf([](const Pin& entry) { return entry.use_count() == 1; });
}

void KeyCache::Clear() {
  RemoveIf([](const Pin&) { return true; });
}

std::size_t KeyCache::size() const {
  std::size_t count = 0;
  for (const auto& shard : shards_) {
    const std::shared_lock lock(shard->mutex);
    count += shard->ring.size();
  }
  return count;
}

}  // namespace cmkd::daemon

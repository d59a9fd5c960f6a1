// KeyCache: which key of the store is which object in the device, bounded, with the least recently used going first. A
// pin keeps an object in the device while somebody works with it, whatever happens to its place in the cache meanwhile.
//
// All functions are safe from any thread. A hit takes one shared lock of one of several shards.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "daemon/hsm/backend.h"

namespace cmkd::daemon {

// A key object in the device.
struct CachedKey {
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  std::uint64_t generation = 0;  // of the connection to the device in which the handle means something
  std::uint32_t home = 0;        // the home session that made the object; its destruction goes there
  bool owned = false;            // a session object, to be destroyed with its last pin
  bool extractable = false;
  Bytes wrapping_reference;  // the wrapping key it came from; empty for public and resident keys
};

class KeyCache {
 public:
  // Called with no lock held, once for each owned key whose last pin and place in the cache are gone.
  using Destroy = std::function<void(const CachedKey&)>;
  using Load = std::function<Fallible<CachedKey>()>;

  class Entry;
  // Keeps the object in the device. Must not outlive the cache.
  using Pin = std::shared_ptr<Entry>;
  static CK_OBJECT_HANDLE HandleOf(const Pin& pin);

  KeyCache(std::size_t entries_max, Destroy destroy);
  ~KeyCache();
  KeyCache(const KeyCache&) = delete;
  KeyCache& operator=(const KeyCache&) = delete;

  // The key as it is in the device in this generation, or nullptr. `extractable` asks for an object that may be
  // wrapped.
  Pin Find(const KeyName& name, std::uint64_t generation, bool extractable);
  // The same; a key that is not there is loaded by one thread while others that want it wait. Errors: those of `load`.
  Fallible<Pin> FindOrLoad(const KeyName& name, std::uint64_t generation, bool extractable, const Load& load);

  // Drops a key; pins that are out keep its object.
  void Forget(const KeyName& name);
  // The same if its place is held by this very object.
  void Forget(const Pin& pin);
  // Drops all keys that came from this wrapping key.
  void ForgetWrappedUnder(ByteView reference);
  // Drops all that is not pinned: the device is short of memory.
  void EvictUnpinned();
  void Clear();
  std::size_t size() const;

 private:
  struct Hash {
    std::size_t operator()(const KeyName& name) const;
  };
  struct Shard {
    mutable std::shared_mutex mutex;
    std::unordered_map<KeyName, std::size_t, Hash> places;  // in `ring`
    std::vector<Pin> ring;
    std::size_t hand = 0;
  };

  Shard& ShardOf(const KeyName& name);
  static Pin FindIn(Shard& shard, const KeyName& name, std::uint64_t generation, bool extractable);
  static Pin RemoveAt(Shard& shard, std::size_t place);
  // Second chance: a key that was used since the hand passed it last is passed once more.
  void Shrink(Shard& shard, std::vector<Pin>& gone) const;
  template <class Condition>
  void RemoveIf(Condition condition);

  const std::size_t shard_entries_max_;
  Destroy destroy_;
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace cmkd::daemon

// All objects by handle. Look-ups from many threads do not wait for each other: the table is cut into shards, each with
// its own lock, and what is handed out is a reference to an immutable object.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "firmware_sim/object.h"

namespace cmkd::sim {

// Any thread.
class ObjectStore {
 public:
  // Handles begin at 1 and are never used twice.
  CK_OBJECT_HANDLE Add(ObjectPtr object) {
    const CK_OBJECT_HANDLE handle = next_.fetch_add(1, std::memory_order_relaxed);
    Shard& shard = ShardOf(handle);
    const std::unique_lock lock(shard.mutex);
    shard.objects.emplace(handle, std::move(object));
    return handle;
  }

  // nullptr when there is none.
  ObjectPtr Find(CK_OBJECT_HANDLE handle) const {
    const Shard& shard = ShardOf(handle);
    const std::shared_lock lock(shard.mutex);
    const auto found = shard.objects.find(handle);
    return found == shard.objects.end() ? nullptr : found->second;
  }

  // Puts `changed` where `expected` was; false when something else is there by now.
  bool Replace(CK_OBJECT_HANDLE handle, const ObjectPtr& expected, ObjectPtr changed) {
    Shard& shard = ShardOf(handle);
    const std::unique_lock lock(shard.mutex);
    const auto found = shard.objects.find(handle);
    if (found == shard.objects.end() || found->second != expected) return false;
    found->second = std::move(changed);
    return true;
  }

  // The object that was there, or nullptr. Its material is wiped when the last operation with it has ended.
  ObjectPtr Remove(CK_OBJECT_HANDLE handle) {
    Shard& shard = ShardOf(handle);
    const std::unique_lock lock(shard.mutex);
    const auto found = shard.objects.find(handle);
    if (found == shard.objects.end()) return nullptr;
    ObjectPtr object = std::move(found->second);
    shard.objects.erase(found);
    return object;
  }

  // Handles of the objects that the predicate wants, in order of making.
  template <class Predicate>
  std::vector<CK_OBJECT_HANDLE> Select(Predicate wanted) const {
    std::vector<CK_OBJECT_HANDLE> handles;
    for (const Shard& shard : shards_) {
      const std::shared_lock lock(shard.mutex);
      for (const auto& [handle, object] : shard.objects) {
        if (wanted(*object)) handles.push_back(handle);
      }
    }
    std::sort(handles.begin(), handles.end());
    return handles;
  }

 private:
  struct alignas(64) Shard {
    mutable std::shared_mutex mutex;
    std::unordered_map<CK_OBJECT_HANDLE, ObjectPtr> objects;
  };
  static constexpr std::size_t kShards = 16;
  Shard& ShardOf(CK_OBJECT_HANDLE handle) { return shards_[handle % kShards]; }
  const Shard& ShardOf(CK_OBJECT_HANDLE handle) const { return shards_[handle % kShards]; }

  std::array<Shard, kShards> shards_;
  std::atomic<CK_OBJECT_HANDLE> next_{1};
};

}  // namespace cmkd::sim

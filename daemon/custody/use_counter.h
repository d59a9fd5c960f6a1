// UseCounter: how often each version of a key was used, crash-safely: uses are set aside in blocks, written down before
// they are made, so that a killed daemon has never used a key more often than the store says.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "keystore/cmk/cmk.h"
#include "keystore/cmk/usage.h"
#include "keystore/store/store.h"
#include "pkcs11/spec/error.h"

namespace cmkd::daemon {

// Safe from any thread. Must not be called by a thread that holds a transaction of the store.
class UseCounter {
 public:
  // Told, on the using thread, when a version's uses come near their limit.
  using Notice = std::function<void(const cmk::CmkId&, cmk::KeyVersionNumber, cmk::UsageVerdict)>;

  UseCounter(store::Store& store, const Clock& clock, Notice notice)
      : store_(store), clock_(clock), notice_(std::move(notice)) {}

  // Before a use that applies protection to `bytes`. `random_iv`: the mechanism's own limit holds. CKR_FUNCTION_FAILED
  // with detail kVersionExhausted when the version's limit is reached; the store's errors when a block must be written
  // and cannot.
  Status CountProtect(const cmk::CmkId& id, cmk::KeyVersionNumber version, std::uint64_t bytes, bool random_iv);
  // After any other use: only when it was is kept.
  void NoteProcess(const cmk::CmkId& id, cmk::KeyVersionNumber version);

  // What was really used so far, where the record says what was set aside.
  struct Exact {
    std::uint64_t uses;
    std::uint64_t bytes;
    std::optional<Timestamp> last_used;
  };
  Exact Count(const cmk::CmkId& id, const cmk::KeyVersion& version) const;

  // Writes down when versions were last used. `final`: gives back what was set aside and not used, for a clean stop.
  Status Save(bool final);

 private:
  using Name = std::pair<cmk::CmkId, std::uint32_t>;
  struct Entry {
    std::uint64_t uses_left = 0;
    std::uint64_t bytes_left = 0;
    std::uint64_t limit = 0;
    cmk::UsageVerdict told = cmk::UsageVerdict::kFine;
    std::optional<Timestamp> last_used;
    bool dirty = false;
  };
  struct Shard {
    mutable std::mutex mutex;
    std::map<Name, Entry> entries;
  };

  Shard& ShardOf(const cmk::CmkId& id) const { return shards_[id.bytes[0] % shards_.size()]; }
  Status Reserve(const Name& name, Entry& entry, std::uint64_t bytes, bool random_iv, cmk::UsageVerdict& verdict);

  store::Store& store_;
  const Clock& clock_;
  const Notice notice_;
  mutable std::array<Shard, 16> shards_;
};

}  // namespace cmkd::daemon

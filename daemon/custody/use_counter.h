// UseCounter: how often each version of a key was used, and by whom, crash-safely: uses are set aside in blocks,
// written down before they are answered, so that a killed daemon has never used a key more often than the store says.
// What is said after a kill is too high by one block of a version and client at most (usage.h).
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

  // Before a use by the user `uid` that applies protection to `bytes`. `random_iv`: the mechanism's own limit holds.
  // CKR_FUNCTION_FAILED with detail kVersionExhausted when the version's limit is reached; the store's errors when a
  // block must be written and cannot.
  Status CountProtect(const cmk::CmkId& id, cmk::KeyVersionNumber version, std::uint32_t uid, std::uint64_t bytes,
                      bool random_iv);
  // After any other use, before it is answered. No limit holds for those; fails only as the store does.
  Status CountProcess(const cmk::CmkId& id, cmk::KeyVersionNumber version, std::uint32_t uid, std::uint64_t bytes);
  // More bytes of a use that was counted before: of an operation in parts.
  Status CountMore(const cmk::CmkId& id, cmk::KeyVersionNumber version, std::uint32_t uid, std::uint64_t bytes,
                   bool protects);

  // What was really used so far, where the record says what was set aside.
  struct Exact {
    std::uint64_t uses;
    std::uint64_t bytes;
    std::optional<Timestamp> last_used;
  };
  Exact Count(const cmk::CmkId& id, const cmk::KeyVersion& version) const;

  // What each client really did with the version so far, ascending by user.
  Fallible<std::vector<cmk::ClientUse>> Clients(const cmk::CmkId& id, cmk::KeyVersionNumber version) const;

  // Writes down when versions were last used. `final`: gives back what was set aside and not used, for a clean stop.
  Status Save(bool final);

 private:
  using Name = std::pair<cmk::CmkId, std::uint32_t>;
  // What has been set aside for one client and not been used.
  struct Client {
    std::uint32_t uid = 0;
    std::uint32_t row_uid = 0;  // as the record has it: kOtherClients stands for many
    std::uint64_t protects_left = 0;
    std::uint64_t processes_left = 0;
    std::uint64_t bytes_left = 0;
    Timestamp last;
  };
  struct Entry {
    std::uint64_t uses_left = 0;
    std::uint64_t bytes_left = 0;
    std::uint64_t limit = 0;
    cmk::UsageVerdict told = cmk::UsageVerdict::kFine;
    std::optional<Timestamp> last_used;
    bool dirty = false;
    std::vector<Client> clients;  // few, as a rule one
  };
  struct Use {
    bool protects = false;
    std::uint64_t bytes = 0;
    bool random_iv = false;
    std::uint64_t uses = 1;  // 0: only bytes
  };
  struct Shard {
    mutable std::mutex mutex;
    std::map<Name, Entry> entries;
  };

  Shard& ShardOf(const cmk::CmkId& id) const { return shards_[id.bytes[0] % shards_.size()]; }
  static Client& ClientOf(Entry& entry, std::uint32_t uid);
  Status CountUse(const Name& name, Entry& entry, std::uint32_t uid, const Use& use, cmk::UsageVerdict& verdict);
  Status Reserve(const Name& name, Entry& entry, Client& client, const Use& use, cmk::UsageVerdict& verdict);
  static Status ReserveOfVersion(cmk::Cmk& key, cmk::KeyVersion& version, Entry& entry, const Use& use,
                                 cmk::UsageVerdict& verdict);
  Status ReserveOfClient(store::WriteTxn& txn, const Name& name, Client& client, const Use& use);
  Status SaveEntry(store::WriteTxn& txn, cmk::Cmk& key, cmk::KeyVersion& version, Entry& entry, bool final);

  store::Store& store_;
  const Clock& clock_;
  const Notice notice_;
  mutable std::array<Shard, 16> shards_;
};

}  // namespace cmkd::daemon

// A session and the operations in progress in it.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "firmware_sim/object.h"
#include "firmware_sim/primitives.h"
#include "pkcs11/spec/call_table.h"

namespace cmkd::sim {

// One operation between Init and its end.
struct Operation {
  const spec::MechanismRow* row = nullptr;
  ObjectPtr object;                // before what uses its key, so that it goes after it
  std::unique_ptr<Cipher> cipher;  // of a message operation: only while a message goes on in parts
  std::unique_ptr<Signature> signature;
  std::unique_ptr<Digest> digest;
  std::size_t parameter_bytes = 0;     // of a tag, MAC or digest whose length the parameter said
  std::size_t tag_bytes = 0;           // of the message that goes on in parts
  bool in_parts = false;               // an Update was called: only Final may end it
  bool needs_login = false;            // CKA_ALWAYS_AUTHENTICATE, and C_Login(CKU_CONTEXT_SPECIFIC) has not been called
  std::optional<SecretBytes> pending;  // what Final made and the caller had no room for
  std::size_t message_bytes = 0;       // of the message that is being decrypted in parts
  std::vector<CK_OBJECT_HANDLE> found;  // C_FindObjects
  std::size_t found_given = 0;
};

class Session {
 public:
  Session(CK_SESSION_HANDLE handle, CK_FLAGS flags, std::uint64_t login_epoch)
      : handle_(handle), flags_(flags), login_epoch_(login_epoch) {}

  CK_SESSION_HANDLE handle() const { return handle_; }
  CK_FLAGS flags() const { return flags_; }
  bool read_write() const { return (flags_ & CKF_RW_SESSION) != 0; }

  // Held during every call on the session.
  std::mutex& mutex() { return mutex_; }

  // All below: with the mutex held.
  std::unique_ptr<Operation>& operation(spec::OperationKind kind) {
    return operations_[static_cast<std::size_t>(kind)];
  }
  void CancelAll() {
    for (auto& operation : operations_) operation.reset();
  }
  // Operations do not outlive a logout.
  void FollowLogin(std::uint64_t epoch) {
    if (epoch == login_epoch_) return;
    login_epoch_ = epoch;
    CancelAll();
  }
  CK_ULONG device_error = 0;  // of the last refusal: ulDeviceError
  bool owns_objects = false;  // whether session objects were made here
  bool closed = false;        // between a closing call and the last one that waited for the mutex

 private:
  const CK_SESSION_HANDLE handle_;
  const CK_FLAGS flags_;
  std::uint64_t login_epoch_;
  std::mutex mutex_;
  std::array<std::unique_ptr<Operation>, static_cast<std::size_t>(spec::OperationKind::kCount)> operations_;
};
using SessionPtr = std::shared_ptr<Session>;

// All sessions by handle. Any thread.
// A device has room for so many.
inline constexpr CK_ULONG kSessionsMax = 4096;

class SessionTable {
 public:
  SessionPtr Open(CK_FLAGS flags, std::uint64_t login_epoch) {
    const CK_SESSION_HANDLE handle = next_.fetch_add(1, std::memory_order_relaxed);
    auto session = std::make_shared<Session>(handle, flags, login_epoch);
    Shard& shard = ShardOf(handle);
    const std::unique_lock lock(shard.mutex);
    shard.sessions.emplace(handle, session);
    open_.fetch_add(1);
    if (session->read_write()) read_write_.fetch_add(1);
    return session;
  }
  SessionPtr Find(CK_SESSION_HANDLE handle) const {
    const Shard& shard = ShardOf(handle);
    const std::shared_lock lock(shard.mutex);
    const auto found = shard.sessions.find(handle);
    return found == shard.sessions.end() ? nullptr : found->second;
  }
  // False when it was closed already.
  bool Close(CK_SESSION_HANDLE handle) {
    Shard& shard = ShardOf(handle);
    const std::unique_lock lock(shard.mutex);
    const auto found = shard.sessions.find(handle);
    if (found == shard.sessions.end()) return false;
    open_.fetch_sub(1);
    if (found->second->read_write()) read_write_.fetch_sub(1);
    shard.sessions.erase(found);
    return true;
  }
  std::vector<CK_SESSION_HANDLE> Handles() const {
    std::vector<CK_SESSION_HANDLE> handles;
    for (const Shard& shard : shards_) {
      const std::shared_lock lock(shard.mutex);
      for (const auto& item : shard.sessions) handles.push_back(item.first);
    }
    return handles;
  }
  CK_ULONG open() const { return open_; }
  CK_ULONG read_write() const { return read_write_; }

 private:
  struct alignas(64) Shard {
    mutable std::shared_mutex mutex;
    std::unordered_map<CK_SESSION_HANDLE, SessionPtr> sessions;
  };
  static constexpr std::size_t kShards = 16;
  Shard& ShardOf(CK_SESSION_HANDLE handle) { return shards_[handle % kShards]; }
  const Shard& ShardOf(CK_SESSION_HANDLE handle) const { return shards_[handle % kShards]; }

  std::array<Shard, kShards> shards_;
  std::atomic<CK_SESSION_HANDLE> next_{1};
  std::atomic<CK_ULONG> open_{0};
  std::atomic<CK_ULONG> read_write_{0};
};

}  // namespace cmkd::sim

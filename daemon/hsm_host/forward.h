// Forwarder: answers the frames of the daemon by calling one PKCS#11 module. All connections are one application of the
// module.
//
// What the module gets wrong is put right here: its slips (daemon/hsm/quirks.h), lengths beyond a buffer, functions
// that it lacks.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>

#include "daemon/hsm/quirks.h"
#include "daemon/hsm_host/softhsm_store.h"
#include "daemon/server/server.h"
#include "pkcs11/wire/arena.h"
#include "pkcs11/wire/reader.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::daemon {

// A session of the module under a handle of ours: 32 bits that only this process uses, and a number. So a handle that
// the daemon got from an earlier host is never taken for one of now.
struct HostSession {
  CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;  // the module's
  CK_SLOT_ID slot = 0;
  // The mechanism of each active operation: some slips are slips of one mechanism only.
  std::array<std::atomic<CK_MECHANISM_TYPE>, static_cast<std::size_t>(spec::OperationKind::kCount)> mechanisms{};
};

// Any thread.
class HostSessions {
 public:
  HostSessions();
  // Gives the handle of ours for a session that the module has opened.
  CK_SESSION_HANDLE Add(CK_SESSION_HANDLE handle, CK_SLOT_ID slot);
  // nullptr for a handle that is not, or no longer, one of ours.
  std::shared_ptr<HostSession> Find(CK_SESSION_HANDLE ours) const;
  // Forgets one, or all of a slot; the module closes them.
  void Remove(CK_SESSION_HANDLE ours);
  void RemoveAll(CK_SLOT_ID slot);

 private:
  const std::uint64_t tag_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<CK_SESSION_HANDLE, std::shared_ptr<HostSession>> sessions_;
  std::uint32_t next_ = 1;
};

// The module as it was loaded. Its newest list, with nothing behind what its version has.
struct HostedModule {
  const CK_FUNCTION_LIST_3_2* functions = nullptr;
  spec::Since newest = spec::Since::kV240;
  bool serialise = false;
  // Where it is SoftHSM 2: its files, which it does not see to itself.
  std::optional<SoftHsmStore> files;
};

class Forwarder final : public Service {
 public:
  // The module is initialised. `allowed_uid` and root may connect.
  Forwarder(const HostedModule& module, const CK_INFO& info, std::uint32_t allowed_uid)
      : module_(module), quirks_(info), allowed_uid_(allowed_uid) {}

  std::unique_ptr<Conversation> Begin(const Peer& peer) override;

  // Answers one call: reads its arguments, calls the module, writes return value and results.
  void Answer(spec::CallId id, ByteView payload, wire::Arena& arena, wire::Writer& writer);

  // ---- For the code that is made from the call table (forward.cc).
  const HostedModule& module() const { return module_; }
  const QuirkSet& quirks() const { return quirks_; }
  HostSessions& sessions() { return sessions_; }
  std::mutex& one_at_a_time() { return one_at_a_time_; }

 private:
  const HostedModule module_;
  const QuirkSet quirks_;
  const std::uint32_t allowed_uid_;
  HostSessions sessions_;
  std::mutex one_at_a_time_;
};

}  // namespace cmkd::daemon

// Application: one client process as the daemon knows it: its sessions, logins and session objects. All connections of
// the process share it; when the last one closes, it is gone, and so is everything here.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "daemon/client/object.h"
#include "daemon/client/operation.h"
#include "daemon/system/peer.h"
#include "pkcs11/spec/key_role.h"
#include "pkcs11/spec/otp.h"

namespace cmkd::daemon {

using ApplicationId = std::array<std::uint8_t, 16>;

// The handles a search found, in ascending order, and how far C_FindObjects has come.
struct Search {
  std::vector<CK_OBJECT_HANDLE> found;
  std::size_t next = 0;
};

struct Session {
  CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
  CK_SLOT_ID slot = 0;
  cmk::TokenId token;
  CK_FLAGS flags = 0;

  // Held for the length of each call on the session: calls of two threads on one session take turns.
  std::mutex mutex;
  std::array<std::unique_ptr<Operation>, static_cast<std::size_t>(spec::OperationKind::kCount)> operations;
  std::unique_ptr<Search> search;
  CK_ULONG device_error = 0;  // detail of the last refusal (C_GetSessionInfo, ulDeviceError)

  bool read_write() const { return (flags & CKF_RW_SESSION) != 0; }
  std::unique_ptr<Operation>& operation(spec::OperationKind kind) { return operations[static_cast<std::size_t>(kind)]; }
};
using SessionPtr = std::shared_ptr<Session>;

struct Login {
  CK_USER_TYPE user = CKU_USER;
  std::uint32_t pin_generation = 0;  // of the PIN that was given: a changed PIN ends the login
};

// Safe from any thread: one mutex guards the tables, never held across an HSM call or a write to the store.
class Application {
 public:
  Application(const ApplicationId& id, const Peer& peer) : id_(id), peer_(peer) {}

  const ApplicationId& id() const { return id_; }
  const Peer& peer() const { return peer_; }

  // Opens a session; `handle` is given when an application brings its sessions back (0: the next free one). Nothing
  // when the limit is reached or the handle is taken.
  SessionPtr OpenSession(CK_SLOT_ID slot, const cmk::TokenId& token, CK_FLAGS flags, std::size_t sessions_max,
                         CK_SESSION_HANDLE handle = CK_INVALID_HANDLE);
  SessionPtr FindSession(CK_SESSION_HANDLE handle) const;
  // What a closed session leaves behind: its objects, which the caller takes out of the HSM's cache. The last session
  // on a token ends the login there (PKCS#11, "C_CloseSession").
  std::vector<ObjectPtr> CloseSession(CK_SESSION_HANDLE handle);
  std::vector<ObjectPtr> CloseSessions(const cmk::TokenId& token);
  struct Count {
    std::size_t all = 0;
    std::size_t read_write = 0;
  };
  Count CountSessions(const cmk::TokenId& token) const;
  std::vector<SessionPtr> Sessions() const;

  std::optional<Login> FindLogin(const cmk::TokenId& token) const;
  std::map<cmk::TokenId, Login> Logins() const;
  void SetLogin(const cmk::TokenId& token, const Login& login);
  // Ends the login; the private session objects on the token, which go with it.
  std::vector<ObjectPtr> Logout(const cmk::TokenId& token);

  // A handle for a new session object.
  CK_OBJECT_HANDLE NextHandle() { return next_object_.fetch_add(1); }
  // False when the limit is reached or the handle is taken.
  bool AddObject(ObjectPtr object, std::size_t objects_max);
  ObjectPtr FindObject(CK_OBJECT_HANDLE handle) const;
  // A role that was decided meanwhile stays, and so does a counter.
  void ReplaceObject(std::shared_ptr<Object> object);
  // Decides the role of a session key and of the other half of its pair, unless one of them has one: then `role`
  // becomes that. The objects that were changed.
  std::vector<ObjectPtr> DecideRole(const Object& key, spec::KeyRole& role);
  // Takes a counter of a one-time password key (spec::TakeOtpCounter): no two calls get the same.
  Fallible<std::uint64_t> TakeOtpCounter(CK_OBJECT_HANDLE handle, const spec::OtpRequest& request);
  ObjectPtr RemoveObject(CK_OBJECT_HANDLE handle);
  // Ascending by handle.
  std::vector<ObjectPtr> Objects(const cmk::TokenId& token) const;
  std::vector<ObjectPtr> AllObjects() const;

  // The version that served last where an integrity check had to find it: the first to try.
  void RememberVersion(const cmk::CmkId& key, cmk::KeyVersionNumber version);
  cmk::KeyVersionNumber RememberedVersion(const cmk::CmkId& key) const;

  // Connections that share the application (guarded by the registry's mutex).
  std::size_t connections = 0;

 private:
  std::vector<ObjectPtr> TakeObjects(CK_SESSION_HANDLE session);

  ApplicationId id_;
  Peer peer_;
  mutable std::mutex mutex_;
  std::map<CK_SESSION_HANDLE, SessionPtr> sessions_;
  std::map<cmk::TokenId, Count> counts_;
  std::map<cmk::TokenId, Login> logins_;
  std::map<CK_OBJECT_HANDLE, ObjectPtr> objects_;
  std::map<CK_SESSION_HANDLE, std::vector<CK_OBJECT_HANDLE>> objects_of_session_;
  std::map<cmk::CmkId, cmk::KeyVersionNumber> versions_;  // a few keys; then it begins anew
  CK_SESSION_HANDLE next_session_ = 1;
  std::atomic<CK_OBJECT_HANDLE> next_object_{kSessionObjectBase + 1};
};
using ApplicationPtr = std::shared_ptr<Application>;

}  // namespace cmkd::daemon

// The device: what exists between C_Initialize and C_Finalize. Token, objects, sessions, who is logged in, and whether
// the device is fit to work at all.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>

#include "firmware_sim/audit_ring.h"
#include "firmware_sim/counter.h"
#include "firmware_sim/device_state.h"
#include "firmware_sim/faults/plan.h"
#include "firmware_sim/flash.h"
#include "firmware_sim/maintenance.h"
#include "firmware_sim/object_store.h"
#include "firmware_sim/roles.h"
#include "firmware_sim/session.h"
#include "firmware_sim/token.h"

namespace cmkd::sim {

// Any thread, unless said otherwise.
class Device {
 public:
  // Looks at its own image (image_seal.h), runs the self-tests, opens the flash and loads what is in it; a destruction
  // of keys that was interrupted goes on first. A damaged flash or an opened case do not keep the device from starting:
  // it comes up in an error state, says so in C_GetTokenInfo, and serves nothing else. Errors:
  // CKR_FIPS_SELF_TEST_FAILED, CKR_GENERAL_ERROR.
  static Fallible<std::unique_ptr<Device>> PowerOn(const std::string& flash_directory);
  // A clean end: writes what was only noted, and gives back what was put aside for uses that did not come.
  ~Device();

  // The device of this process between C_Initialize and C_Finalize; nullptr otherwise, and in a forked child.
  static Device* Current();
  static CK_RV Start(const std::string& flash_directory);
  static CK_RV Stop();

  DeviceState state() const { return state_.load(std::memory_order_acquire); }
  // Whether the state allows a command (device_state.h). Errors: its refusal, with what led there.
  Status Permit(Command command) {
    if (state() == DeviceState::kOperational) [[likely]]
      return {};
    return PermitOtherwise(command);
  }
  // Why the device is not operational; empty when it is.
  std::string trouble() const;

  // A conditional or periodic test failed while working: no service until all self-tests pass.
  void WorkingTestFailed(const std::string& why);
  // All self-tests run again with the first call so long after the last time (a day). Errors: those of SelfTest().
  Status TestIfDue() {
    if (!TestIsDue()) [[likely]]
      return {};
    return TestAgain();
  }
  void TestEvery(std::chrono::seconds interval) { test_interval_.store(interval.count()); }
  // Runs all self-tests and looks at the noise source anew; leads out of a soft error. Errors:
  // CKR_FIPS_SELF_TEST_FAILED, CKR_DEVICE_ERROR.
  Status SelfTest();
  // Destroys all keys, objects and PINs, in memory and in flash. After a tampering the device remembers it; otherwise
  // it is as from the factory at the next power-on. Errors: CKR_DEVICE_ERROR when it has to go on at the next power-on.
  Status Zeroize(bool tampered);
  // What a fault script does to sessions and logins. The caller holds no session.
  void Apply(const faults::Effects& effects);

  Token& token() { return *token_; }
  Counter& counter() { return *counter_; }
  Maintenance& maintenance() { return *maintenance_; }

  // What maintenance does to the device as a whole; refused unless it is operational.
  Fallible<Maintenance::Quote> Attest(ByteView nonce);
  Fallible<Bytes> Backup(const Approved& approved, std::uint64_t now);
  // Adds the objects of a backup that are not there; how many those were.
  Fallible<std::size_t> Restore(ByteView backup, const Approved& approved, std::uint64_t now);
  ObjectStore& objects() { return objects_; }
  SessionTable& sessions() { return sessions_; }

  Identity login() const { return login_.load(std::memory_order_acquire); }
  bool May(Service service) const { return sim::May(login(), service); }
  // Errors: CKR_USER_NOT_LOGGED_IN, for a service of another identity.
  Status Authorize(Service service) const;
  std::uint64_t login_epoch() const { return login_epoch_.load(std::memory_order_acquire); }

  // C_InitToken. Errors: CKR_SESSION_EXISTS and those of Token::Initialize.
  Status InitToken(ByteView so_pin, ByteView label);

  Fallible<SessionPtr> OpenSession(CK_FLAGS flags);
  // The session's objects go with it; with the last session goes the login. The session's mutex is held by the caller.
  void CloseSession(Session& session);

  // Errors: those of C_Login.
  Status Login(Role role, ByteView pin);
  Status Logout();
  // The user confirms an operation (CKU_CONTEXT_SPECIFIC). Errors: those of Token::CheckPin.
  Status Confirm(ByteView pin);

  // PINs, by who is logged in. Errors: CKR_USER_NOT_LOGGED_IN, CKR_PIN_LEN_RANGE, those of Token::CheckPin.
  Status SetUserPin(ByteView pin);
  Status SetAuditorPin(ByteView pin);
  Status ChangeOwnPin(ByteView old_pin, ByteView new_pin);

  // The audit, signed with the device's own key; the reading is in it. Errors: CKR_USER_NOT_LOGGED_IN.
  Fallible<Maintenance::Quote> ReadAudit();
  // What the device says of its last failure: one line with its time; empty: there was none.
  std::string last_failure() const;

  // An object that this login may see; nullptr otherwise.
  ObjectPtr FindObject(CK_OBJECT_HANDLE handle) const;

  // Makes the object durable if it is a token object, then visible.
  Fallible<CK_OBJECT_HANDLE> AddObject(ObjectPtr object);
  // Errors: CKR_OBJECT_HANDLE_INVALID when it is gone or has been changed meanwhile.
  Status ReplaceObject(CK_OBJECT_HANDLE handle, const ObjectPtr& expected, ObjectPtr changed);
  Status DestroyObject(CK_OBJECT_HANDLE handle);

  // Counts a use of a key before it happens. Errors: CKR_KEY_EXHAUSTED; those of the flash.
  Status Charge(const Object& object, const Amount& amount);
  // Whether the key wants the user to authenticate before its next use.
  bool WantsLogin(const Object& object) const { return object.usage() && object.usage()->WantsLogin(login_epoch()); }

  // A name that no object has had: random for token objects, counted for session objects.
  Fallible<std::string> NewObjectName(bool token);

 private:
  Device() = default;
  Status Load(const std::string& flash_directory);
  Status DestroyTokenObjects();
  Status WriteSpent(const Object& object, const Spent& spent);
  // What the flash has of a key's use; nothing: none.
  Fallible<std::optional<Spent>> ReadSpent(const std::string& name) const;
  // The use that a token key begins with, made durable before the key is.
  Status BeginUsage(const Object& object);
  // One event of who is logged in.
  Status Audit(std::string_view what, CK_RV rv = CKR_OK, std::string_view detail = {});
  // The answer of something that has been tried, recorded; an event that cannot be recorded is answered as failed.
  Status Audited(std::string_view what, Status answer, std::string_view detail = {});

  bool TestIsDue() const;
  Status TestAgain();
  Status SelfTestLocked();
  Status PermitOtherwise(Command command);
  // Moves as the table says; `why` is kept when that leads into trouble.
  void Happen(Command event, const std::string& why = {});
  void DropSessions();

  std::atomic<DeviceState> state_{DeviceState::kOff};
  mutable std::mutex trouble_mutex_;  // changes of the state, and why
  std::string trouble_;
  std::mutex self_test_mutex_;  // one test at a time
  std::atomic<std::int64_t> test_interval_{24 * 3600};
  std::atomic<std::int64_t> tested_{0};  // when, in seconds of the monotonic clock
  std::mutex zeroize_mutex_;             // one destruction at a time
  std::string flash_directory_;
  std::unique_ptr<Flash> flash_;
  std::unique_ptr<AuditRing> audit_;
  std::unique_ptr<Token> token_;
  std::unique_ptr<Counter> counter_;
  std::unique_ptr<Maintenance> maintenance_;
  ObjectStore objects_;
  SessionTable sessions_;
  std::mutex login_mutex_;          // opening and closing sessions, logging in and out: never during cryptography
  std::mutex object_change_mutex_;  // writes to token objects, so that flash and memory agree
  std::atomic<Identity> login_{Identity::kNobody};
  std::atomic<std::uint64_t> login_epoch_{1};
  std::atomic<std::uint64_t> next_session_object_{1};
};

}  // namespace cmkd::sim

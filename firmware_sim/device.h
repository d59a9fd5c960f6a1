// The device: what exists between C_Initialize and C_Finalize. Token, objects, sessions, who is logged in, and whether
// the device is fit to work at all.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "firmware_sim/flash.h"
#include "firmware_sim/object_store.h"
#include "firmware_sim/session.h"
#include "firmware_sim/token.h"

namespace cmkd::sim {

enum class LoginState : std::uint8_t { kPublic, kUser, kSecurityOfficer };

// Any thread, unless said otherwise.
class Device {
 public:
  // Runs the self-tests, opens the flash and loads what is in it. A damaged flash does not keep the device from
  // starting: it comes up in the error state, says so in C_GetTokenInfo, and serves nothing else. Errors:
  // CKR_FIPS_SELF_TEST_FAILED.
  static Fallible<std::unique_ptr<Device>> PowerOn(const std::string& flash_directory);

  // The device of this process between C_Initialize and C_Finalize; nullptr otherwise, and in a forked child.
  static Device* Current();
  static CK_RV Start(const std::string& flash_directory);
  static CK_RV Stop();

  // Why the device is in the error state; CKR_OK in its rv when it is not.
  const Error& fault() const { return fault_; }

  Token& token() { return *token_; }
  ObjectStore& objects() { return objects_; }
  SessionTable& sessions() { return sessions_; }

  LoginState login() const { return login_.load(std::memory_order_acquire); }
  std::uint64_t login_epoch() const { return login_epoch_.load(std::memory_order_acquire); }
  bool user_logged_in() const { return login() == LoginState::kUser; }

  // C_InitToken. Errors: CKR_SESSION_EXISTS and those of Token::Initialize.
  Status InitToken(ByteView so_pin, ByteView label);

  Fallible<SessionPtr> OpenSession(CK_FLAGS flags);
  // The session's objects go with it; with the last session goes the login. The session's mutex is held by the caller.
  void CloseSession(Session& session);

  // Errors: those of C_Login.
  Status Login(Role role, ByteView pin);
  Status Logout();

  // An object that this login may see; nullptr otherwise.
  ObjectPtr FindObject(CK_OBJECT_HANDLE handle) const;

  // Makes the object durable if it is a token object, then visible.
  Fallible<CK_OBJECT_HANDLE> AddObject(ObjectPtr object);
  // Errors: CKR_OBJECT_HANDLE_INVALID when it is gone or has been changed meanwhile.
  Status ReplaceObject(CK_OBJECT_HANDLE handle, const ObjectPtr& expected, ObjectPtr changed);
  Status DestroyObject(CK_OBJECT_HANDLE handle);

  // A name that no object has had: random for token objects, counted for session objects.
  Fallible<std::string> NewObjectName(bool token);

 private:
  Device() = default;
  Status Load(const std::string& flash_directory);
  Status DestroyTokenObjects();

  Error fault_{CKR_OK, {}, 0};
  std::unique_ptr<Flash> flash_;
  std::unique_ptr<Token> token_;
  ObjectStore objects_;
  SessionTable sessions_;
  std::mutex login_mutex_;          // opening and closing sessions, logging in and out: never during cryptography
  std::mutex object_change_mutex_;  // writes to token objects, so that flash and memory agree
  std::atomic<LoginState> login_{LoginState::kPublic};
  std::atomic<std::uint64_t> login_epoch_{1};
  std::atomic<std::uint64_t> next_session_object_{1};
};

}  // namespace cmkd::sim

// Device: the few things done with a token that take more than one C call. Stateless but for the function list; knows
// no sessions of its own, no pool and no recovery.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "common/secret.h"
#include "pkcs11/spec/attributes.h"
#include "pkcs11/spec/error.h"

namespace cmkd::daemon {

// Which token of a module: by label or by serial number, as the operator writes them (without the padding).
struct TokenChoice {
  std::string label;
  std::string serial;
};

struct FoundToken {
  CK_SLOT_ID slot = 0;
  CK_TOKEN_INFO info{};
};

// All functions are safe from any thread, as far as the sessions given to them are used by one thread at a time. Errors
// carry the device's own code.
class Device {
 public:
  // `functions` must outlive the device.
  explicit Device(CK_FUNCTION_LIST_PTR functions) : f_(functions) {}
  CK_FUNCTION_LIST_PTR functions() const { return f_; }

  // C_Initialize with the operating system's locks; a module that is initialised already is fine.
  Status Initialize() const;
  // Errors: CKR_TOKEN_NOT_PRESENT when no token fits, CKR_TOKEN_NOT_RECOGNIZED when several do.
  Fallible<FoundToken> FindToken(const TokenChoice& choice) const;
  // Makes a token of an uninitialised slot, or finishes one whose initialisation was interrupted.
  Status InitializeToken(const std::string& label, ByteView so_pin, ByteView user_pin) const;

  // A session that may write. The caller closes it.
  Fallible<CK_SESSION_HANDLE> OpenSession(CK_SLOT_ID slot) const;
  void CloseSession(CK_SESSION_HANDLE session) const { (void)f_->C_CloseSession(session); }
  // C_Login; another user is logged out first, and to be logged in already is fine.
  Status Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, ByteView pin) const;

  // C_FindObjectsInit, which ends what an earlier failure left active.
  Status BeginSearch(CK_SESSION_HANDLE session, CK_ATTRIBUTE* wanted, CK_ULONG count) const;
  // Handles of the token objects of this class with this CKA_ID.
  Fallible<std::vector<CK_OBJECT_HANDLE>> FindById(CK_SESSION_HANDLE session, CK_OBJECT_CLASS object_class,
                                                   ByteView id) const;
  // The one of them. Errors: CKR_OBJECT_HANDLE_INVALID when there is none or more than one.
  Fallible<CK_OBJECT_HANDLE> FindOne(CK_SESSION_HANDLE session, CK_OBJECT_CLASS object_class, ByteView id) const;
  // Destroys all of them and looks whether they are gone.
  Status DestroyById(CK_SESSION_HANDLE session, CK_OBJECT_CLASS object_class, ByteView id) const;

  // Those of the attributes that the device has and shows. Never fails for an attribute that it has not.
  Fallible<spec::Attributes> ReadAttributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                                            std::span<const CK_ATTRIBUTE_TYPE> types) const;
  // C_WrapKey with a buffer of the right size.
  Fallible<Bytes> WrapKey(CK_SESSION_HANDLE session, const CK_MECHANISM& mechanism, CK_OBJECT_HANDLE wrapping,
                          CK_OBJECT_HANDLE key) const;

 private:
  CK_FUNCTION_LIST_PTR f_;
};

// A session object that goes when this goes. One whose destruction fails lives on in its session; `destroyed` then says
// so, and the session must be closed.
class TemporaryObject {
 public:
  TemporaryObject(CK_FUNCTION_LIST_PTR functions, CK_SESSION_HANDLE session) : f_(functions), session_(session) {}
  TemporaryObject(const TemporaryObject&) = delete;
  TemporaryObject& operator=(const TemporaryObject&) = delete;
  ~TemporaryObject() { (void)Destroy(); }

  CK_OBJECT_HANDLE handle() const { return handle_; }
  CK_OBJECT_HANDLE* out() { return &handle_; }
  // It is somebody else's from now on.
  CK_OBJECT_HANDLE Release() { return std::exchange(handle_, CK_INVALID_HANDLE); }
  CK_RV Destroy() {
    if (handle_ == CK_INVALID_HANDLE) return CKR_OK;
    const CK_OBJECT_HANDLE handle = handle_;
    handle_ = CK_INVALID_HANDLE;
    return f_->C_DestroyObject(session_, handle);
  }

 private:
  CK_FUNCTION_LIST_PTR f_;
  CK_SESSION_HANDLE session_;
  CK_OBJECT_HANDLE handle_ = CK_INVALID_HANDLE;
};

// "C_Login: CKR_PIN_INCORRECT", the device's answer for a log line.
Failure<Error> DeviceRefused(std::string_view call, CK_RV rv);

}  // namespace cmkd::daemon

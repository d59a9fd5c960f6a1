// What a return value of a device says about the connection to it: whether a key, or the session with everything in it,
// is gone.
#pragma once

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::daemon {

enum class Loss {
  kNone,     // an answer about the call itself
  kKey,      // an object that was there is gone: devices purge session objects when they are short of memory
  kSession,  // session, login, token or device: the keeper has to look
};

constexpr Loss ClassifyLoss(CK_RV rv) {
  switch (rv) {
    case CKR_KEY_HANDLE_INVALID:
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_WRAPPING_KEY_HANDLE_INVALID:
    case CKR_UNWRAPPING_KEY_HANDLE_INVALID: return Loss::kKey;
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_USER_NOT_LOGGED_IN:
    case CKR_OPERATION_NOT_INITIALIZED:  // what we had begun went with the login
    case CKR_DEVICE_REMOVED:
    case CKR_DEVICE_ERROR:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_SLOT_ID_INVALID:
    case CKR_CRYPTOKI_NOT_INITIALIZED: return Loss::kSession;
    default: return Loss::kNone;
  }
}

// Whether the code is about our own standing with the device (login, session, PIN, buffers): a program has its own of
// each, and would take the code for those.
constexpr bool IsOurAffair(CK_RV rv) {
  switch (rv) {
    case CKR_PENDING:
    case CKR_BUFFER_TOO_SMALL:
    case CKR_OPERATION_ACTIVE:
    case CKR_SESSION_READ_ONLY:
    case CKR_SESSION_READ_ONLY_EXISTS:
    case CKR_SESSION_READ_WRITE_SO_EXISTS:
    case CKR_SESSION_COUNT:
    case CKR_SESSION_EXISTS:
    case CKR_CRYPTOKI_ALREADY_INITIALIZED:
    case CKR_USER_ALREADY_LOGGED_IN:
    case CKR_USER_ANOTHER_ALREADY_LOGGED_IN:
    case CKR_USER_PIN_NOT_INITIALIZED:
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
    case CKR_PIN_EXPIRED:
    case CKR_PIN_LOCKED: return true;
    default: return ClassifyLoss(rv) == Loss::kSession;
  }
}

// Whether logging in again with the same PIN would only bring the device closer to locking it.
constexpr bool RefusesPin(CK_RV rv) {
  switch (rv) {
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
    case CKR_PIN_EXPIRED:
    case CKR_PIN_LOCKED:
    case CKR_USER_PIN_NOT_INITIALIZED: return true;
    default: return false;
  }
}

}  // namespace cmkd::daemon

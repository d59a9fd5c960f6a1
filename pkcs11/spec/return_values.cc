// The table of return values.
#include "pkcs11/spec/return_values.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace cmkd::spec {
namespace {

#define CMKD_NAMED(name) CKR_##name, "CKR_" #name

// clang-format off
constexpr std::array kRows = {
  ReturnValueRow{CMKD_NAMED(OK), "The call did what it was asked to do."},
  ReturnValueRow{CMKD_NAMED(CANCEL), "The application's callback asked to stop."},
  ReturnValueRow{CMKD_NAMED(HOST_MEMORY), "This process is out of memory."},
  ReturnValueRow{CMKD_NAMED(SLOT_ID_INVALID), "There is no such slot, or the caller may not see its token."},
  ReturnValueRow{CMKD_NAMED(GENERAL_ERROR), "Something went wrong that no other value describes; the daemon's log has the reason."},
  ReturnValueRow{CMKD_NAMED(FUNCTION_FAILED), "The call was refused or interrupted; ulDeviceError of C_GetSessionInfo says why, and trying again may help."},
  ReturnValueRow{CMKD_NAMED(ARGUMENTS_BAD), "An argument is NULL where it must not be, or does not go with the others."},
  ReturnValueRow{CMKD_NAMED(NO_EVENT), "No slot has changed since the last call."},
  ReturnValueRow{CMKD_NAMED(NEED_TO_CREATE_THREADS), "The library would have to start threads and the application forbids it."},
  ReturnValueRow{CMKD_NAMED(CANT_LOCK), "The locking that the application asks for is not available."},
  ReturnValueRow{CMKD_NAMED(ATTRIBUTE_READ_ONLY), "An attribute is set by the token or the security officer, or cannot change any more."},
  ReturnValueRow{CMKD_NAMED(ATTRIBUTE_SENSITIVE), "The value is a secret part of a key that is sensitive or not extractable."},
  ReturnValueRow{CMKD_NAMED(ATTRIBUTE_TYPE_INVALID), "An attribute is unknown, or the object does not have it."},
  ReturnValueRow{CMKD_NAMED(ATTRIBUTE_VALUE_INVALID), "The value of an attribute is malformed or impossible."},
  ReturnValueRow{CMKD_NAMED(ACTION_PROHIBITED), "The object's CKA_COPYABLE, CKA_MODIFIABLE or CKA_DESTROYABLE, or the token's policy, forbids this."},
  ReturnValueRow{CMKD_NAMED(DATA_INVALID), "The input is not what the mechanism can process."},
  ReturnValueRow{CMKD_NAMED(DATA_LEN_RANGE), "The input is too short, too long, or no multiple of the block size."},
  ReturnValueRow{CMKD_NAMED(DEVICE_ERROR), "The HSM or the daemon does not answer as it should; ulDeviceError may say more."},
  ReturnValueRow{CMKD_NAMED(DEVICE_MEMORY), "The token has no room for another object or session."},
  ReturnValueRow{CMKD_NAMED(DEVICE_REMOVED), "The token went away during the call."},
  ReturnValueRow{CMKD_NAMED(ENCRYPTED_DATA_INVALID), "The ciphertext does not open: wrong key, wrong parameters, or changed bytes."},
  ReturnValueRow{CMKD_NAMED(ENCRYPTED_DATA_LEN_RANGE), "The ciphertext has a length that no ciphertext of this mechanism has."},
  ReturnValueRow{CMKD_NAMED(AEAD_DECRYPT_FAILED), "The tag does not fit the message, its associated data and the key."},
  ReturnValueRow{CMKD_NAMED(FUNCTION_CANCELED), "The call was cancelled before it was done."},
  ReturnValueRow{CMKD_NAMED(FUNCTION_NOT_PARALLEL), "No function runs in parallel with the session."},
  ReturnValueRow{CMKD_NAMED(FUNCTION_NOT_SUPPORTED), "This library does not have this function."},
  ReturnValueRow{CMKD_NAMED(KEY_HANDLE_INVALID), "There is no such key, or the caller may not use it."},
  ReturnValueRow{CMKD_NAMED(KEY_SIZE_RANGE), "The key's size is outside what the mechanism takes."},
  ReturnValueRow{CMKD_NAMED(KEY_TYPE_INCONSISTENT), "The key is of a type that the mechanism does not use."},
  ReturnValueRow{CMKD_NAMED(KEY_NOT_NEEDED), "C_SetOperationState was given a key that the saved state does not need."},
  ReturnValueRow{CMKD_NAMED(KEY_CHANGED), "C_SetOperationState was given another key than the one of the saved state."},
  ReturnValueRow{CMKD_NAMED(KEY_NEEDED), "C_SetOperationState needs the key of the saved state."},
  ReturnValueRow{CMKD_NAMED(KEY_INDIGESTIBLE), "The value of this key cannot be digested."},
  ReturnValueRow{CMKD_NAMED(KEY_FUNCTION_NOT_PERMITTED), "The key's attributes, its state or the policy do not allow this use."},
  ReturnValueRow{CMKD_NAMED(KEY_NOT_WRAPPABLE), "The key may leave the token, but not wrapped in this way or under this key."},
  ReturnValueRow{CMKD_NAMED(KEY_UNEXTRACTABLE), "The key may not leave the token: CKA_EXTRACTABLE is false."},
  ReturnValueRow{CMKD_NAMED(MECHANISM_INVALID), "The mechanism is unknown, or not allowed for this call, key or token."},
  ReturnValueRow{CMKD_NAMED(MECHANISM_PARAM_INVALID), "The mechanism's parameter is missing, malformed or not allowed."},
  ReturnValueRow{CMKD_NAMED(OBJECT_HANDLE_INVALID), "There is no such object, or the caller may not see it."},
  ReturnValueRow{CMKD_NAMED(OPERATION_ACTIVE), "Another operation of the session must end first."},
  ReturnValueRow{CMKD_NAMED(OPERATION_NOT_INITIALIZED), "No such operation was begun, or it has ended."},
  ReturnValueRow{CMKD_NAMED(PIN_INCORRECT), "The PIN is wrong."},
  ReturnValueRow{CMKD_NAMED(PIN_INVALID), "The new PIN has characters that a PIN cannot have."},
  ReturnValueRow{CMKD_NAMED(PIN_LEN_RANGE), "The new PIN is too short or too long."},
  ReturnValueRow{CMKD_NAMED(PIN_EXPIRED), "The PIN or the credential is past its date."},
  ReturnValueRow{CMKD_NAMED(PIN_LOCKED), "Too many wrong PINs: the credential is locked."},
  ReturnValueRow{CMKD_NAMED(SESSION_CLOSED), "The session was closed during the call."},
  ReturnValueRow{CMKD_NAMED(SESSION_COUNT), "No more sessions can be opened."},
  ReturnValueRow{CMKD_NAMED(SESSION_HANDLE_INVALID), "There is no such session."},
  ReturnValueRow{CMKD_NAMED(SESSION_PARALLEL_NOT_SUPPORTED), "C_OpenSession was called without CKF_SERIAL_SESSION."},
  ReturnValueRow{CMKD_NAMED(SESSION_READ_ONLY), "The session is read-only and the call would write."},
  ReturnValueRow{CMKD_NAMED(SESSION_EXISTS), "The token still has open sessions."},
  ReturnValueRow{CMKD_NAMED(SESSION_READ_ONLY_EXISTS), "A read-only session is open, so the security officer cannot log in."},
  ReturnValueRow{CMKD_NAMED(SESSION_READ_WRITE_SO_EXISTS), "The security officer is logged in, so no read-only session can be opened."},
  ReturnValueRow{CMKD_NAMED(SIGNATURE_INVALID), "The signature or MAC does not fit the data and the key."},
  ReturnValueRow{CMKD_NAMED(SIGNATURE_LEN_RANGE), "The signature has a length that no signature of this mechanism has."},
  ReturnValueRow{CMKD_NAMED(TEMPLATE_INCOMPLETE), "The template lacks an attribute that must be given."},
  ReturnValueRow{CMKD_NAMED(TEMPLATE_INCONSISTENT), "Attributes of the template contradict each other, the call, or the token's policy."},
  ReturnValueRow{CMKD_NAMED(TOKEN_NOT_PRESENT), "The slot has no token."},
  ReturnValueRow{CMKD_NAMED(TOKEN_NOT_RECOGNIZED), "The token is of a kind that is not known here."},
  ReturnValueRow{CMKD_NAMED(TOKEN_WRITE_PROTECTED), "The token cannot be written or initialised now."},
  ReturnValueRow{CMKD_NAMED(UNWRAPPING_KEY_HANDLE_INVALID), "There is no such unwrapping key, or its state forbids its use."},
  ReturnValueRow{CMKD_NAMED(UNWRAPPING_KEY_SIZE_RANGE), "The unwrapping key's size is outside what the mechanism takes."},
  ReturnValueRow{CMKD_NAMED(UNWRAPPING_KEY_TYPE_INCONSISTENT), "The unwrapping key is of a type that the mechanism does not use."},
  ReturnValueRow{CMKD_NAMED(USER_ALREADY_LOGGED_IN), "This user is logged in already."},
  ReturnValueRow{CMKD_NAMED(USER_NOT_LOGGED_IN), "The call needs a login."},
  ReturnValueRow{CMKD_NAMED(USER_PIN_NOT_INITIALIZED), "The user's PIN has not been set yet."},
  ReturnValueRow{CMKD_NAMED(USER_TYPE_INVALID), "There is no such kind of user here."},
  ReturnValueRow{CMKD_NAMED(USER_ANOTHER_ALREADY_LOGGED_IN), "Another kind of user is logged in."},
  ReturnValueRow{CMKD_NAMED(USER_TOO_MANY_TYPES), "More kinds of users than possible would be logged in."},
  ReturnValueRow{CMKD_NAMED(WRAPPED_KEY_INVALID), "The wrapped key does not open, or holds no key of this type."},
  ReturnValueRow{CMKD_NAMED(WRAPPED_KEY_LEN_RANGE), "The wrapped key has a length that it cannot have."},
  ReturnValueRow{CMKD_NAMED(WRAPPING_KEY_HANDLE_INVALID), "There is no such wrapping key, or its state forbids its use."},
  ReturnValueRow{CMKD_NAMED(WRAPPING_KEY_SIZE_RANGE), "The wrapping key is of the wrong size, or weaker than the key to be wrapped."},
  ReturnValueRow{CMKD_NAMED(WRAPPING_KEY_TYPE_INCONSISTENT), "The wrapping key is of a type that the mechanism does not use."},
  ReturnValueRow{CMKD_NAMED(RANDOM_SEED_NOT_SUPPORTED), "The random generator takes no seed from outside."},
  ReturnValueRow{CMKD_NAMED(RANDOM_NO_RNG), "The token has no random generator."},
  ReturnValueRow{CMKD_NAMED(DOMAIN_PARAMS_INVALID), "The domain parameters are invalid or not supported."},
  ReturnValueRow{CMKD_NAMED(CURVE_NOT_SUPPORTED), "The curve is not one that this token has."},
  ReturnValueRow{CMKD_NAMED(BUFFER_TOO_SMALL), "The output does not fit; the needed length was written, and the operation goes on."},
  ReturnValueRow{CMKD_NAMED(SAVED_STATE_INVALID), "The saved operation state cannot be restored."},
  ReturnValueRow{CMKD_NAMED(INFORMATION_SENSITIVE), "The information is secret."},
  ReturnValueRow{CMKD_NAMED(STATE_UNSAVEABLE), "The state of this operation cannot be saved."},
  ReturnValueRow{CMKD_NAMED(CRYPTOKI_NOT_INITIALIZED), "C_Initialize was not called in this process; a forked child must call it again."},
  ReturnValueRow{CMKD_NAMED(CRYPTOKI_ALREADY_INITIALIZED), "C_Initialize was called before."},
  ReturnValueRow{CMKD_NAMED(MUTEX_BAD), "The application's mutex is none."},
  ReturnValueRow{CMKD_NAMED(MUTEX_NOT_LOCKED), "The application's mutex was not locked."},
  ReturnValueRow{CMKD_NAMED(NEW_PIN_MODE), "The one-time password token wants a new PIN."},
  ReturnValueRow{CMKD_NAMED(NEXT_OTP), "The one-time password token wants the next password too."},
  ReturnValueRow{CMKD_NAMED(EXCEEDED_MAX_ITERATIONS), "Generation did not succeed within its number of tries."},
  ReturnValueRow{CMKD_NAMED(FIPS_SELF_TEST_FAILED), "A self test of the token failed; it is in its error state."},
  ReturnValueRow{CMKD_NAMED(LIBRARY_LOAD_FAILED), "A library that this one needs could not be loaded."},
  ReturnValueRow{CMKD_NAMED(PIN_TOO_WEAK), "The new PIN is too easy to guess."},
  ReturnValueRow{CMKD_NAMED(PUBLIC_KEY_INVALID), "The public key is not a valid point or number."},
  ReturnValueRow{CMKD_NAMED(FUNCTION_REJECTED), "The signature was refused by policy."},
  ReturnValueRow{CMKD_NAMED(TOKEN_RESOURCE_EXCEEDED), "The caller's rate or budget for signatures is used up."},
  ReturnValueRow{CMKD_NAMED(OPERATION_CANCEL_FAILED), "The operation could not be cancelled."},
  ReturnValueRow{CMKD_NAMED(KEY_EXHAUSTED), "The key has made all the signatures that it can."},
  ReturnValueRow{CMKD_NAMED(PENDING), "The operation runs on; ask for its result later."},
  ReturnValueRow{CMKD_NAMED(SESSION_ASYNC_NOT_SUPPORTED), "The token has no asynchronous sessions."},
  ReturnValueRow{CMKD_NAMED(SEED_RANDOM_REQUIRED), "The token's random generator needs a seed first."},
  ReturnValueRow{CMKD_NAMED(OPERATION_NOT_VALIDATED), "The operation is outside what the token's policy or validation allows."},
  ReturnValueRow{CMKD_NAMED(TOKEN_NOT_INITIALIZED), "The token must be initialised first."},
  ReturnValueRow{CMKD_NAMED(PARAMETER_SET_NOT_SUPPORTED), "The parameter set is not one that this token has."},
  ReturnValueRow{CMKD_NAMED(VENDOR_DEFINED), "The first of the values that vendors define for themselves."},
};
// clang-format on
#undef CMKD_NAMED

constexpr bool StrictlySorted() {
  for (std::size_t i = 1; i < kRows.size(); ++i) {
    if (kRows[i].rv <= kRows[i - 1].rv) return false;
  }
  return true;
}
static_assert(StrictlySorted(), "FindReturnValue() searches by halves");

}  // namespace

std::span<const ReturnValueRow> ReturnValues() { return kRows; }

const ReturnValueRow* FindReturnValue(CK_RV rv) {
  const auto row = std::lower_bound(kRows.begin(), kRows.end(), rv,
                                    [](const ReturnValueRow& r, CK_RV value) { return r.rv < value; });
  return row != kRows.end() && row->rv == rv ? &*row : nullptr;
}

const ReturnValueRow* FindReturnValue(std::string_view name) {
  const auto row = std::find_if(kRows.begin(), kRows.end(), [name](const ReturnValueRow& r) { return r.name == name; });
  return row == kRows.end() ? nullptr : &*row;
}

std::string ReturnValueName(CK_RV rv) {
  if (const ReturnValueRow* row = FindReturnValue(rv)) return std::string(row->name);
  char text[32];
  std::snprintf(text, sizeof text, "CK_RV 0x%08lX", rv);
  return text;
}

}  // namespace cmkd::spec

// From the words of the store and of the CMK rules to the errors of PKCS#11: the only place where one becomes the other
// (kms-semantics C.6).
#pragma once

#include "keystore/cmk/state.h"
#include "keystore/store/store_error.h"
#include "pkcs11/spec/error.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

// Where in a call a key is refused: the standard lists different codes for Init, for wrapping and for data calls.
enum class Moment : std::uint8_t { kInit, kUse, kWrap, kUnwrap, kDerive, kManage };

Failure<Error> Translate(const store::StoreError& error);
Failure<Error> Translate(cmk::Refusal refusal, Moment moment);

}  // namespace cmkd::daemon

// Leaves with the translated store error of `expression`.
#define STORE_OR_RETURN(target, ...) STORE_OR_RETURN_NAMED(CMKD_CONCAT(stored_, __LINE__), target, __VA_ARGS__)
#define STORE_OR_RETURN_NAMED(name, target, ...)                  \
  auto name = (__VA_ARGS__);                                      \
  if (!name.ok()) return ::cmkd::daemon::Translate(name.error()); \
  target = std::move(name).value()
#define RETURN_IF_STORE_ERROR(expression)                                             \
  do {                                                                                \
    auto stored_status = (expression);                                                \
    if (!stored_status.ok()) return ::cmkd::daemon::Translate(stored_status.error()); \
  } while (false)

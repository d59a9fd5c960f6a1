// The error of the PKCS#11 side: a CK_RV for the caller, a detail code for ulDeviceError, and a sentence for the log.
// The sentence never carries a secret and never crosses the wire to a PKCS#11 caller.
#pragma once

#include <string>

#include "common/result.h"
#include "pkcs11/spec/cryptoki.h"

namespace cmkd {

struct Error {
  CK_RV rv = CKR_GENERAL_ERROR;
  std::string why;
  CK_ULONG detail = 0;  // spec::Detail, shown by C_GetSessionInfo as ulDeviceError
};

template <class T>
using Fallible = Result<T, Error>;
using Status = Result<void, Error>;

inline Failure<Error> Fail(CK_RV rv, std::string why, CK_ULONG detail = 0) {
  return Failure<Error>{Error{rv, std::move(why), detail}};
}

}  // namespace cmkd

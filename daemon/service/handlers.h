// The handlers: one overload for each call that crosses the wire. They are declared from the call table, so a row
// without a handler does not link; calls that are not offered say so in not_supported.cc.
//
// A handler may rely on: the gate was passed, the request was read to its end, pointers that may not be NULL are not.
#pragma once

#include "daemon/dispatch/invocation.h"
#include "pkcs11/spec/calls.h"

namespace cmkd::daemon {

#define CMKD_HANDLER(name, ...) Status Handle(Invocation& invocation, spec::Call<spec::CallId::name>& call);
CMKD_STANDARD_CALLS(CMKD_HANDLER)
CMKD_OWN_CALLS(CMKD_HANDLER)
#undef CMKD_HANDLER

// The shapes' own checks (spec/shapes.h), once more on this side of the trust border: a client need not be our module.
template <class Call>
CK_RV CheckArgumentsOf(Call& call) {
  CK_RV rv = CKR_OK;
  std::apply([&](auto&... field) { (void)((rv = field.Check(), rv == CKR_OK) && ...); }, call.Fields());
  return rv;
}

}  // namespace cmkd::daemon

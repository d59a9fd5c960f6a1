// Which return values the standard lists for which function. cmkd itself says more than these where a rule of its own
// needs it (a key that is disabled); what a device says beyond them is no answer that a program could be prepared for.
#pragma once

#include "pkcs11/spec/call_table.h"

namespace cmkd::spec {

// Whether the standard lists it for this function, or for every function. For calls of our own only the latter are.
bool IsListed(CallId call, CK_RV rv);

// The same, or for the Init of the operation that the call goes on with: cmkd asks the device for both at once, when
// there is data.
bool IsListedHere(CallId call, CK_RV rv);

}  // namespace cmkd::spec

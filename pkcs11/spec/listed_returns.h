// Which return values the standard lists for which function. cmkd itself says more than these where a rule of its own
// needs it (a key that is disabled); what a device says beyond them is no answer that a program could be prepared for.
#pragma once

#include <span>

#include "pkcs11/spec/call_table.h"

namespace cmkd::spec {

// Those of one function, without those that every function has. Empty for calls of our own.
std::span<const CK_RV> ListedReturns(CallId call);

// Whether the standard lists it for this function, or for every function.
bool IsListed(CallId call, CK_RV rv);

// The same, or for the Init of the operation that the call goes on with: cmkd asks the device for both at once, when
// there is data.
bool IsListedHere(CallId call, CK_RV rv);

}  // namespace cmkd::spec

// PINs: checked slowly, counted durably, locked for one token only.
#pragma once

#include "daemon/dispatch/invocation.h"

namespace cmkd::daemon {

// CKR_OK, CKR_PIN_INCORRECT or CKR_PIN_LOCKED. A wrong PIN is counted in the store before the answer.
Status CheckTokenPin(Daemon& daemon, const store::TokenRecord& token, Pin pin, ByteView given);

// Sets a new PIN. The caller's own login goes on; all others made with the old PIN end.
Status ChangePin(Invocation& invocation, const store::TokenRecord& token, Pin pin, ByteView new_pin);

}  // namespace cmkd::daemon

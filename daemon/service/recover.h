// Verification with recovery: the data comes out of the signature.
#pragma once

#include "daemon/service/operation_run.h"

namespace cmkd::daemon {

// C_VerifyRecover on an operation of kVerifyRecover: the device does the public-key operation, and the padding is
// checked here, so that every device has it. CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE.
Status RecoverData(Invocation& invocation, Operation& operation, ByteView signature, spec::BytesOut& output);

}  // namespace cmkd::daemon

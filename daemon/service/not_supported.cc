// Calls that never come to the daemon. Each is named here, so that a row of the call table without a handler does not
// link by accident.
#include "daemon/service/handlers.h"

namespace cmkd::daemon {

#define CMKD_NOT_SUPPORTED(name)                                      \
  Status Handle(Invocation&, spec::Call<spec::CallId::name>&) {       \
    return Fail(CKR_FUNCTION_NOT_SUPPORTED, #name " is not offered"); \
  }

CMKD_NOT_SUPPORTED(C_Initialize)
CMKD_NOT_SUPPORTED(C_Finalize)
CMKD_NOT_SUPPORTED(C_GetFunctionList)
CMKD_NOT_SUPPORTED(C_GetFunctionStatus)
CMKD_NOT_SUPPORTED(C_CancelFunction)
CMKD_NOT_SUPPORTED(C_WaitForSlotEvent)
CMKD_NOT_SUPPORTED(C_GetInterfaceList)
CMKD_NOT_SUPPORTED(C_GetInterface)
CMKD_NOT_SUPPORTED(C_AsyncComplete)
CMKD_NOT_SUPPORTED(C_AsyncGetID)
CMKD_NOT_SUPPORTED(C_AsyncJoin)

}  // namespace cmkd::daemon

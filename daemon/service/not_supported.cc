// Calls that are not offered. Each is named here, so that a row of the call table without a handler does not link by
// accident.
#include "daemon/service/handlers.h"

namespace cmkd::daemon {

#define CMKD_NOT_SUPPORTED(name)                                      \
  Status Handle(Invocation&, spec::Call<spec::CallId::name>&) {       \
    return Fail(CKR_FUNCTION_NOT_SUPPORTED, #name " is not offered"); \
  }

// Local calls never arrive here; their handlers exist because handlers are declared for every row.
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

CMKD_NOT_SUPPORTED(C_GetOperationState)
CMKD_NOT_SUPPORTED(C_SetOperationState)
CMKD_NOT_SUPPORTED(C_DigestKey)
CMKD_NOT_SUPPORTED(C_SignRecoverInit)
CMKD_NOT_SUPPORTED(C_SignRecover)
CMKD_NOT_SUPPORTED(C_VerifyRecoverInit)
CMKD_NOT_SUPPORTED(C_VerifyRecover)
CMKD_NOT_SUPPORTED(C_DigestEncryptUpdate)
CMKD_NOT_SUPPORTED(C_DecryptDigestUpdate)
CMKD_NOT_SUPPORTED(C_SignEncryptUpdate)
CMKD_NOT_SUPPORTED(C_DecryptVerifyUpdate)

CMKD_NOT_SUPPORTED(C_LoginUser)
CMKD_NOT_SUPPORTED(C_MessageEncryptInit)
CMKD_NOT_SUPPORTED(C_EncryptMessage)
CMKD_NOT_SUPPORTED(C_EncryptMessageBegin)
CMKD_NOT_SUPPORTED(C_EncryptMessageNext)
CMKD_NOT_SUPPORTED(C_MessageEncryptFinal)
CMKD_NOT_SUPPORTED(C_MessageDecryptInit)
CMKD_NOT_SUPPORTED(C_DecryptMessage)
CMKD_NOT_SUPPORTED(C_DecryptMessageBegin)
CMKD_NOT_SUPPORTED(C_DecryptMessageNext)
CMKD_NOT_SUPPORTED(C_MessageDecryptFinal)
CMKD_NOT_SUPPORTED(C_MessageSignInit)
CMKD_NOT_SUPPORTED(C_SignMessage)
CMKD_NOT_SUPPORTED(C_SignMessageBegin)
CMKD_NOT_SUPPORTED(C_SignMessageNext)
CMKD_NOT_SUPPORTED(C_MessageSignFinal)
CMKD_NOT_SUPPORTED(C_MessageVerifyInit)
CMKD_NOT_SUPPORTED(C_VerifyMessage)
CMKD_NOT_SUPPORTED(C_VerifyMessageBegin)
CMKD_NOT_SUPPORTED(C_VerifyMessageNext)
CMKD_NOT_SUPPORTED(C_MessageVerifyFinal)
CMKD_NOT_SUPPORTED(C_EncapsulateKey)
CMKD_NOT_SUPPORTED(C_DecapsulateKey)
CMKD_NOT_SUPPORTED(C_VerifySignatureInit)
CMKD_NOT_SUPPORTED(C_VerifySignature)
CMKD_NOT_SUPPORTED(C_VerifySignatureUpdate)
CMKD_NOT_SUPPORTED(C_VerifySignatureFinal)
CMKD_NOT_SUPPORTED(C_GetSessionValidationFlags)
CMKD_NOT_SUPPORTED(C_WrapKeyAuthenticated)
CMKD_NOT_SUPPORTED(C_UnwrapKeyAuthenticated)

}  // namespace cmkd::daemon

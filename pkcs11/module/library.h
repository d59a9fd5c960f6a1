// The module's one piece of global state: whether the application has initialised it, and its connection to the daemon.
#pragma once

#include "pkcs11/remote/client.h"
#include "pkcs11/spec/cryptoki.h"

namespace cmkd::module {

class Library {
 public:
  // C_Initialize and C_Finalize of the standard, with any of the three ways of giving arguments. Any thread.
  static CK_RV Initialize(CK_VOID_PTR arguments);
  static CK_RV Finalize(CK_VOID_PTR reserved);

  // C_WaitForSlotEvent: reports a slot that has come or gone since the application first asked or was last told. A
  // blocking wait looks now and then, and ends with CKR_CRYPTOKI_NOT_INITIALIZED when another thread calls C_Finalize.
  static CK_RV WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID* slot);

  // The client, or nullptr when the application has not initialised this process (a forked child has not).
  static remote::Client* Current();
};

}  // namespace cmkd::module

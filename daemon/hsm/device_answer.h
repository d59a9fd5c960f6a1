// Which failure a device answered last to this thread, which serves one call: what stands in no list of the standard
// for that call is not handed on to the program (daemon/dispatch), but only if it is the device's own and no rule of
// ours.
#pragma once

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::daemon {

class DeviceAnswer {
 public:
  // A call begins: no device has answered yet.
  static void Forget() { last_ = CKR_OK; }
  static void Note(CK_RV rv) { last_ = rv; }
  static bool Was(CK_RV rv) { return rv != CKR_OK && last_ == rv; }

 private:
  static inline thread_local CK_RV last_ = CKR_OK;
};

}  // namespace cmkd::daemon

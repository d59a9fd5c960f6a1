// The target of the entry points: what stands between a C function and its handler. The gate column of the call table
// says what must be true first; the operation column says what a failed call ends.
#pragma once

#include "firmware_sim/handlers.h"

namespace cmkd::sim {

// The session of a call, locked; or why there is none.
struct SessionGate {
  SessionPtr session;
  std::unique_lock<std::mutex> lock;
  CK_RV rv = CKR_OK;
};
SessionGate EnterSession(Device& device, CK_SESSION_HANDLE handle, spec::Gate gate);

// The return value of a handler's answer; keeps its detail for C_GetSessionInfo and ends the operation that the call
// belonged to.
CK_RV Conclude(Session* session, const spec::CallRow& row, const Status& answer);

struct Target {
  template <class Call>
  static CK_RV Answer(Call& call) {
    return Enter(call, [&](Context& context) { return Handle(context, call); });
  }
  template <class Call>
  static CK_RV Refuse(Call& call, CK_RV rv) {
    return Enter(call, [&](Context&) -> Status { return Fail(rv, "an argument that must not be so"); });
  }

  static CK_RV Initialize(CK_VOID_PTR arguments) noexcept;
  static CK_RV Finalize(CK_VOID_PTR reserved) noexcept;
  static CK_RV WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID* slot, CK_VOID_PTR reserved) noexcept;

 private:
  template <class Call, class Body>
  static CK_RV Enter(Call& call, Body body) {
    constexpr const spec::CallRow& kRow = spec::Row(Call::kId);
    Device* const device = Device::Current();
    if (device == nullptr) return CKR_CRYPTOKI_NOT_INITIALIZED;
    if constexpr (kRow.gate == spec::Gate::kSession || kRow.gate == spec::Gate::kReadWriteSession) {
      SessionGate entered = EnterSession(*device, call.session.value, kRow.gate);
      if (entered.rv != CKR_OK) return entered.rv;
      Context context{*device, entered.session.get()};
      return Conclude(context.session, kRow, body(context));
    } else {
      Context context{*device, nullptr};
      return Conclude(nullptr, kRow, body(context));
    }
  }
};

}  // namespace cmkd::sim

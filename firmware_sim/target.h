// The target of the entry points: what stands between a C function and its handler. The state of the device and the
// gate column of the call table say what must be true first; the operation column says what a failed call ends. In a
// rehearsal (rehearsal.h) this is where faults happen to a call.
#pragma once

#include "firmware_sim/handlers.h"
#include "firmware_sim/rehearsal.h"

namespace cmkd::sim {

// What a call is to the device as a whole.
constexpr Command CommandOf(const spec::CallRow& row) {
  switch (row.id) {
    case CallId::C_InitToken: return Command::kInitialise;
    case CallId::C_CloseSession:
    case CallId::C_CloseAllSessions:
    case CallId::C_Logout: return Command::kEndSession;
    case CallId::C_OpenSession:
    case CallId::C_Login:
    case CallId::C_LoginUser:
    case CallId::C_InitPIN:
    case CallId::C_SetPIN: return Command::kAuthenticate;
    default: break;
  }
  const bool in_session = row.gate == spec::Gate::kSession || row.gate == spec::Gate::kReadWriteSession;
  return in_session ? Command::kUse : Command::kStatus;
}

// The lengths that a call reports, told wrongly.
inline void Distort(const spec::BytesOut& out, const faults::Length& length) {
  if (out.length != nullptr) *out.length = length.Of(*out.length);
}
inline void Distort(const spec::UlongListOut& out, const faults::Length& length) { *out.count = length.Of(*out.count); }
inline void Distort(const spec::HandlesOut& out, const faults::Length& length) { *out.count = length.Of(*out.count); }
inline void Distort(const spec::TemplateInOut& out, const faults::Length& length) {
  for (CK_ATTRIBUTE& attribute : out.view()) {
    if (attribute.ulValueLen != CK_UNAVAILABLE_INFORMATION) attribute.ulValueLen = length.Of(attribute.ulValueLen);
  }
}
template <class Shape>
requires(!std::derived_from<Shape, spec::BytesOut>) inline void Distort(const Shape&, const faults::Length&) {}

// The session of a call, locked; or why there is none.
struct SessionGate {
  SessionPtr session;
  std::unique_lock<std::mutex> lock;
  CK_RV rv = CKR_OK;
};
SessionGate EnterSession(Device& device, CK_SESSION_HANDLE handle, const spec::CallRow& row);

// The return value of a handler's answer; keeps its detail for C_GetSessionInfo and ends the operation that the call
// belonged to.
CK_RV Conclude(Device& device, Session* session, const spec::CallRow& row, const Status& answer);

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
    if (Rehearsal* const rehearsal = Rehearsal::Current(); rehearsal != nullptr) [[unlikely]]
      return Rehearse(*rehearsal, call, body);
    return Serve(call, body);
  }

  template <class Call, class Body>
  static CK_RV Serve(Call& call, Body body) {
    constexpr const spec::CallRow& kRow = spec::Row(Call::kId);
    Device* const device = Device::Current();
    if (device == nullptr) return CKR_CRYPTOKI_NOT_INITIALIZED;
    if constexpr (kRow.gate == spec::Gate::kSession || kRow.gate == spec::Gate::kReadWriteSession) {
      SessionGate entered = EnterSession(*device, call.session.value, kRow);
      if (entered.rv != CKR_OK) return entered.rv;
      Context context{*device, entered.session.get()};
      return Conclude(*device, context.session, kRow, body(context));
    } else {
      Context context{*device, nullptr};
      if (Status permitted = device->Permit(CommandOf(kRow)); !permitted.ok())
        return Conclude(*device, nullptr, kRow, permitted);
      return Conclude(*device, nullptr, kRow, body(context));
    }
  }

  template <class Call, class Body>
  static CK_RV Rehearse(Rehearsal& rehearsal, Call& call, Body body) {
    const faults::Decision fault = rehearsal.AtCall(Call::kId);
    Device* const device = Device::Current();
    if (device != nullptr && fault.before.any()) device->Apply(fault.before);
    const CK_RV rv = Serve(call, [&](Context& context) -> Status {
      if (fault.refuse != CKR_OK) return Fail(fault.refuse, "a fault of the script");
      RETURN_IF_ERROR(body(context));
      if (fault.length) std::apply([&](auto&... field) { (Distort(field, *fault.length), ...); }, call.Fields());
      if (fault.answer != CKR_OK) return Fail(fault.answer, "a fault of the script");
      return {};
    });
    if (device != nullptr && fault.after.any()) device->Apply(fault.after);
    return rv;
  }
};

}  // namespace cmkd::sim

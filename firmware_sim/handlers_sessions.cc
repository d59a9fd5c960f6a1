// Session management functions and PINs (PKCS#11 3.2 sections 5.5 and 5.6).
#include "firmware_sim/handlers.h"

namespace cmkd::sim {
namespace {

constexpr CK_SLOT_ID kSlot = 0;

// The name by which C_LoginUser knows the auditor; the standard has no user type for one.
constexpr std::string_view kAuditorName = "auditor";

// The standard has no state for an auditor either: nobody of whom it knows is logged in.
CK_STATE StateOf(const Session& session, Identity login) {
  if (login == Identity::kSecurityOfficer) return CKS_RW_SO_FUNCTIONS;
  if (login == Identity::kUser) return session.read_write() ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
  return session.read_write() ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
}

// C_Login(CKU_CONTEXT_SPECIFIC): the user confirms one operation with a key that asks for it each time.
Status ConfirmOperation(Context& context, ByteView pin) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(OperationKind::kCount); ++i) {
    const auto& operation = context.session->operation(static_cast<OperationKind>(i));
    if (operation == nullptr || !operation->needs_login) continue;
    RETURN_IF_ERROR(context.device.Confirm(pin));
    operation->needs_login = false;
    if (operation->object->usage() != nullptr) operation->object->usage()->Confirmed(context.device.login_epoch());
    return {};
  }
  return Fail(CKR_OPERATION_NOT_INITIALIZED, "no operation waits for a confirmation");
}

Status LogIn(Context& context, CK_USER_TYPE type, ByteView pin) {
  if (type == CKU_CONTEXT_SPECIFIC) return ConfirmOperation(context, pin);
  if (type == CKU_USER) return context.device.Login(Role::kUser, pin);
  if (type == CKU_SO) return context.device.Login(Role::kSecurityOfficer, pin);
  return Fail(CKR_USER_TYPE_INVALID, "no such user type");
}

}  // namespace

Status Handle(Context& context, spec::Call<CallId::C_OpenSession>& call) {
  if (call.slot.value != kSlot) return Fail(CKR_SLOT_ID_INVALID, "the device has slot 0 only");
  if ((call.flags.value & CKF_SERIAL_SESSION) == 0)
    return Fail(CKR_SESSION_PARALLEL_NOT_SUPPORTED, "CKF_SERIAL_SESSION");
  if ((call.flags.value & ~(CKF_SERIAL_SESSION | CKF_RW_SESSION)) != 0) {
    return Fail(CKR_SESSION_ASYNC_NOT_SUPPORTED, "sessions of this device are synchronous");
  }
  ASSIGN_OR_RETURN(const SessionPtr session, context.device.OpenSession(call.flags.value));
  *call.session.value = session->handle();
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_CloseSession>&) {
  context.device.CloseSession(*context.session);
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_CloseAllSessions>& call) {
  if (call.slot.value != kSlot) return Fail(CKR_SLOT_ID_INVALID, "the device has slot 0 only");
  for (const CK_SESSION_HANDLE handle : context.device.sessions().Handles()) {
    const SessionPtr session = context.device.sessions().Find(handle);
    if (session == nullptr) continue;
    const std::lock_guard lock(session->mutex());
    context.device.CloseSession(*session);
  }
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_GetSessionInfo>& call) {
  CK_SESSION_INFO& info = *call.info.value;
  info.slotID = kSlot;
  info.state = StateOf(*context.session, context.device.login());
  info.flags = context.session->flags();
  info.ulDeviceError = context.session->device_error;
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_InitPIN>& call) {
  return context.device.SetUserPin(call.pin.view());
}

Status Handle(Context& context, spec::Call<CallId::C_SetPIN>& call) {
  return context.device.ChangeOwnPin(call.old_pin.view(), call.new_pin.view());
}

Status Handle(Context& context, spec::Call<CallId::C_Login>& call) {
  return LogIn(context, call.user_type.value, call.pin.view());
}

Status Handle(Context& context, spec::Call<CallId::C_LoginUser>& call) {
  const ByteView name = call.user_name.view();
  if (call.user_type.value == CKU_USER && Equal(name, AsBytes(kAuditorName)))
    return context.device.Login(Role::kAuditor, call.pin.view());
  // One user for each other role; a name can only be the wrong one.
  if (!name.empty()) return Fail(CKR_USER_TYPE_INVALID, "the only named user is the auditor");
  return LogIn(context, call.user_type.value, call.pin.view());
}

Status Handle(Context& context, spec::Call<CallId::C_Logout>&) { return context.device.Logout(); }

// The flags name operations by what mechanism rows call them; what is not active counts as cancelled (3.0).
Status Handle(Context& context, spec::Call<CallId::C_SessionCancel>& call) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(OperationKind::kCount); ++i) {
    const auto kind = static_cast<OperationKind>(i);
    if ((spec::CancelFlag(kind) & call.flags.value) != 0) context.session->operation(kind).reset();
  }
  return {};
}

// Nothing here is validated, so no operation ever was.
Status Handle(Context&, spec::Call<CallId::C_GetSessionValidationFlags>& call) {
  *call.flags.value = 0;
  return {};
}

}  // namespace cmkd::sim

// Session management, login and random numbers (PKCS#11 sections 5.6 and 5.21).
#include "daemon/service/access.h"
#include "daemon/service/handlers.h"
#include "daemon/service/pins.h"
#include "daemon/service/resume.h"

namespace cmkd::daemon {

using spec::CallId;

Status Handle(Invocation& invocation, spec::Call<CallId::C_OpenSession>& call) {
  ASSIGN_OR_RETURN(const CK_SLOT_ID free, invocation.daemon.records.FreeSlot());
  if (call.slot.value == free && invocation.daemon.config.tokens.create_by_init_token)
    return Fail(CKR_TOKEN_NOT_RECOGNIZED, "the token is not initialised");
  ASSIGN_OR_RETURN(const auto token, invocation.daemon.records.GetTokenBySlot(call.slot.value));
  if ((call.flags.value & CKF_SERIAL_SESSION) == 0)
    return Fail(CKR_SESSION_PARALLEL_NOT_SUPPORTED, "CKF_SERIAL_SESSION must be set");
  if ((call.flags.value & ~static_cast<CK_FLAGS>(CKF_SERIAL_SESSION | CKF_RW_SESSION)) != 0) {
    return Fail(CKR_ARGUMENTS_BAD, "a session flag that is not offered");
  }
  if (!IsInitialised(*token)) return Fail(CKR_TOKEN_NOT_RECOGNIZED, "the token is not initialised");
  const bool read_write = (call.flags.value & CKF_RW_SESSION) != 0;
  if (!read_write && LoggedIn(invocation, *token) == CKU_SO) {
    return Fail(CKR_SESSION_READ_WRITE_SO_EXISTS, "the SO is logged in, who has no read-only sessions");
  }
  const SessionPtr session = invocation.application->OpenSession(
      call.slot.value, token->id, call.flags.value, invocation.daemon.config.limits.sessions_per_application);
  if (session == nullptr) return Fail(CKR_SESSION_COUNT, "too many sessions", spec::kLimitReached);
  *call.session.value = session->handle;
  invocation.audit.token_id = token->id.bytes;
  return {};
}

namespace {

// What follows when sessions are closed: their objects leave the device's cache, and a login that ended with the last
// session must not come back after a restart. Otherwise the ticket that the application has is still right.
void Closed(Invocation& invocation, const std::vector<ObjectPtr>& left, bool was_logged_in, const cmk::TokenId& token) {
  Release(invocation.daemon, left);
  if (was_logged_in && !invocation.application->FindLogin(token)) RenewTicket(invocation);
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::C_CloseSession>& call) {
  const cmk::TokenId token = invocation.session->token;
  const bool was_logged_in = invocation.application->FindLogin(token).has_value();
  Closed(invocation, invocation.application->CloseSession(call.session.value), was_logged_in, token);
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_CloseAllSessions>& call) {
  ASSIGN_OR_RETURN(const CK_SLOT_ID free, invocation.daemon.records.FreeSlot());
  if (call.slot.value == free) return {};
  ASSIGN_OR_RETURN(const auto token, invocation.daemon.records.GetTokenBySlot(call.slot.value));
  invocation.audit.token_id = token->id.bytes;
  const bool was_logged_in = invocation.application->FindLogin(token->id).has_value();
  Closed(invocation, invocation.application->CloseSessions(token->id), was_logged_in, token->id);
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_GetSessionInfo>& call) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  const Session& session = *invocation.session;
  const std::optional<CK_USER_TYPE> user = LoggedIn(invocation, *token);
  CK_SESSION_INFO& info = *call.info.value;
  info.slotID = session.slot;
  info.flags = session.flags;
  info.ulDeviceError = session.device_error;
  if (user == CKU_SO) {
    info.state = CKS_RW_SO_FUNCTIONS;
  } else if (user == CKU_USER) {
    info.state = session.read_write() ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
  } else {
    info.state = session.read_write() ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
  }
  return {};
}

namespace {

// A context-specific login opens the operation that waits for one (CKA_ALWAYS_AUTHENTICATE).
Status LoginForOperation(Invocation& invocation, const store::TokenRecord& token, ByteView pin) {
  if (LoggedIn(invocation, token) != CKU_USER)
    return Fail(CKR_USER_NOT_LOGGED_IN, "a context-specific login needs the user's login");
  Operation* waiting = nullptr;
  for (const auto& operation : invocation.session->operations) {
    if (operation != nullptr && operation->needs_login) waiting = operation.get();
  }
  if (waiting == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no operation waits for a login");
  RETURN_IF_ERROR(CheckTokenPin(invocation.daemon, token, Pin::kUser, pin));
  waiting->needs_login = false;
  return {};
}

Status LogIn(Invocation& invocation, CK_USER_TYPE user, ByteView pin) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  if (user == CKU_CONTEXT_SPECIFIC) return LoginForOperation(invocation, *token, pin);
  if (user != CKU_SO && user != CKU_USER) return Fail(CKR_USER_TYPE_INVALID, "no such user type");
  if (const auto already = LoggedIn(invocation, *token)) {
    return *already == user ? Fail(CKR_USER_ALREADY_LOGGED_IN, "already logged in")
                            : Fail(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "another user is logged in");
  }
  if (user == CKU_SO) {
    const Application::Count count = invocation.application->CountSessions(token->id);
    if (count.all != count.read_write)
      return Fail(CKR_SESSION_READ_ONLY_EXISTS, "the SO cannot log in beside read-only sessions");
  }
  const Pin which = user == CKU_SO ? Pin::kSo : Pin::kUser;
  if (which == Pin::kUser && token->user_pin.verifier.empty()) {
    return Fail(CKR_USER_PIN_NOT_INITIALIZED, "the user's PIN has not been set");
  }
  RETURN_IF_ERROR(CheckTokenPin(invocation.daemon, *token, which, pin));
  const store::PinRecord& record = which == Pin::kSo ? token->so_pin : token->user_pin;
  invocation.application->SetLogin(token->id, {user, record.generation});
  RenewTicket(invocation);
  return {};
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::C_Login>& call) {
  return LogIn(invocation, call.user_type.value, call.pin.view());
}

// A token has one user for each role. A name can only be a wrong one until there are access points with names.
Status Handle(Invocation& invocation, spec::Call<CallId::C_LoginUser>& call) {
  if (call.user_name.length != 0) return Fail(CKR_USER_TYPE_INVALID, "the token has no named users");
  return LogIn(invocation, call.user_type.value, call.pin.view());
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_Logout>&) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  if (!LoggedIn(invocation, *token)) return Fail(CKR_USER_NOT_LOGGED_IN, "nobody is logged in");
  Release(invocation.daemon, invocation.application->Logout(token->id));
  // Operations with private keys end with the login that allowed them; the lock of this session is ours, others' are
  // not, and those find their key invisible at their next call.
  for (auto& operation : invocation.session->operations) operation.reset();
  RenewTicket(invocation);
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_SessionCancel>& call) {
  Session& session = *invocation.session;
  for (std::size_t i = 0; i < session.operations.size(); ++i) {
    const auto kind = static_cast<spec::OperationKind>(i);
    if ((spec::CancelFlag(kind) & call.flags.value) != 0) session.operations[i].reset();
  }
  if ((call.flags.value & CKF_FIND_OBJECTS) != 0) session.search.reset();
  return {};
}

// 3.2, "Validation indicators": no validation of this module exists, so no operation was a validated one.
Status Handle(Invocation&, spec::Call<CallId::C_GetSessionValidationFlags>& call) {
  if (call.type.value != CKS_LAST_VALIDATION_OK) return Fail(CKR_ARGUMENTS_BAD, "no such indicator");
  *call.flags.value = 0;
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_SeedRandom>& call) {
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  return backend->Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) {
    return device->C_SeedRandom(lease.session(), call.input.data, call.input.length);
  });
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_GenerateRandom>& call) {
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  invocation.audit.output_bytes = call.output.length;
  return backend->FillRandom(call.output.view());
}

}  // namespace cmkd::daemon

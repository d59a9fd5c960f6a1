// The device's sessions, logins and PINs, and the record of them.
#include "firmware_sim/device.h"

namespace cmkd::sim {

Status Device::InitToken(ByteView so_pin, ByteView label) {
  const std::lock_guard lock(login_mutex_);
  if (sessions_.open() != 0) return Fail(CKR_SESSION_EXISTS, "close all sessions first");
  return Audited("initialise token", token_->Initialize(so_pin, label, [this] { return DestroyTokenObjects(); }));
}

Fallible<SessionPtr> Device::OpenSession(CK_FLAGS flags) {
  RETURN_IF_ERROR(TestIfDue());
  const std::lock_guard lock(login_mutex_);
  if ((flags & CKF_RW_SESSION) == 0 && login() == Identity::kSecurityOfficer) {
    return Fail(CKR_SESSION_READ_WRITE_SO_EXISTS, "the security officer is logged in");
  }
  if (sessions_.open() >= kSessionsMax) return Fail(CKR_SESSION_COUNT, "the device has no room for more sessions");
  return sessions_.Open(flags, login_epoch());
}

void Device::CloseSession(Session& session) {
  const std::lock_guard lock(login_mutex_);
  if (!sessions_.Close(session.handle())) return;
  session.closed = true;
  session.CancelAll();
  if (session.owns_objects) {
    const auto own = [&](const Object& object) { return object.owner() == session.handle(); };
    for (const CK_OBJECT_HANDLE handle : objects_.Select(own)) objects_.Remove(handle);
  }
  if (sessions_.open() == 0 && login() != Identity::kNobody) {
    audit_->Note({NameOf(login()), "logout"});
    login_.store(Identity::kNobody, std::memory_order_release);
    login_epoch_.fetch_add(1);
  }
}

Status Device::Login(Role role, ByteView pin) {
  const std::lock_guard lock(login_mutex_);
  const Identity wanted = role == Role::kUser      ? Identity::kUser
                          : role == Role::kAuditor ? Identity::kAuditor
                                                   : Identity::kSecurityOfficer;
  if (login() == wanted) return Fail(CKR_USER_ALREADY_LOGGED_IN, "logged in already");
  if (login() != Identity::kNobody) return Fail(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "the other role is logged in");
  if (role == Role::kSecurityOfficer && sessions_.read_write() != sessions_.open()) {
    return Fail(CKR_SESSION_READ_ONLY_EXISTS, "a read-only session is open");
  }
  RETURN_IF_ERROR(Audited("login", token_->CheckPin(role, pin), NameOf(wanted)));
  login_.store(wanted, std::memory_order_release);
  return {};
}

// PKCS#11 3.2, C_Logout: private session objects are destroyed, and handles of private token objects are not valid any
// more, also after the next login.
Status Device::Logout() {
  const std::lock_guard lock(login_mutex_);
  if (login() == Identity::kNobody) return Fail(CKR_USER_NOT_LOGGED_IN, "nobody is logged in");
  audit_->Note({NameOf(login()), "logout"});
  login_.store(Identity::kNobody, std::memory_order_release);
  login_epoch_.fetch_add(1);
  const std::lock_guard change_lock(object_change_mutex_);
  for (const CK_OBJECT_HANDLE handle : objects_.Select([](const Object& object) { return object.is_private(); })) {
    const ObjectPtr object = objects_.Remove(handle);
    if (object != nullptr && object->is_token()) objects_.Add(object);
  }
  return {};
}

Status Device::Authorize(Service service) const {
  if (May(service)) return {};
  return Fail(CKR_USER_NOT_LOGGED_IN, std::string(NameOf(service)) + " is not for " + std::string(NameOf(login())));
}

Status Device::Audit(std::string_view what, CK_RV rv, std::string_view detail) {
  return audit_->Record({NameOf(login()), what, rv, detail});
}

Status Device::Audited(std::string_view what, Status answer, std::string_view detail) {
  const Status recorded = Audit(what, answer.ok() ? CKR_OK : answer.error().rv, detail);
  return answer.ok() ? recorded : answer;
}

Status Device::Confirm(ByteView pin) { return Audited("confirm", token_->CheckPin(Role::kUser, pin)); }

Status Device::SetUserPin(ByteView pin) {
  RETURN_IF_ERROR(Authorize(Service::kSetUserPin));
  return Audited("set user PIN", token_->SetPin(Role::kUser, pin));
}

Status Device::SetAuditorPin(ByteView pin) {
  RETURN_IF_ERROR(Authorize(Service::kSetAuditorPin));
  return Audited("set auditor PIN", token_->SetPin(Role::kAuditor, pin));
}

// PKCS#11 3.2, C_SetPIN: the PIN of who is logged in; the user's when nobody is.
Status Device::ChangeOwnPin(ByteView old_pin, ByteView new_pin) {
  const Role role = login() == Identity::kSecurityOfficer ? Role::kSecurityOfficer
                    : login() == Identity::kAuditor       ? Role::kAuditor
                                                          : Role::kUser;
  if (new_pin.size() < kPinBytesMin || new_pin.size() > kPinBytesMax) return Fail(CKR_PIN_LEN_RANGE, "PIN length");
  Status changed = token_->CheckPin(role, old_pin);
  if (changed.ok()) changed = token_->SetPin(role, new_pin);
  return Audited("change PIN", std::move(changed));
}

Fallible<Maintenance::Quote> Device::ReadAudit() {
  RETURN_IF_ERROR(Permit(Command::kUse));
  RETURN_IF_ERROR(Authorize(Service::kReadAudit));
  RETURN_IF_ERROR(Audit("read audit"));
  return maintenance_->Sign("serial " + token_->info().serial + '\n' + audit_->Text());
}

}  // namespace cmkd::sim

// PIN checks and changes.
#include "daemon/service/pins.h"

#include "daemon/service/resume.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

Status CheckTokenPin(Daemon& daemon, const store::TokenRecord& token, Pin pin, ByteView given) {
  const store::PinRecord& record = pin == Pin::kSo ? token.so_pin : token.user_pin;
  const std::uint32_t limit = daemon.config.limits.login_retry_limit;
  if (record.failures >= limit) return Fail(CKR_PIN_LOCKED, "the PIN is locked", spec::kCredentialLocked);
  if (!daemon.pins.Check(record.verifier, given)) {
    RETURN_IF_ERROR(daemon.custodian.CountFailure(token.id, pin));
    return Fail(CKR_PIN_INCORRECT, "the PIN is wrong");
  }
  if (record.failures != 0) return daemon.custodian.ForgetFailures(token.id, pin);
  return {};
}

Status ChangePin(Invocation& invocation, const store::TokenRecord& token, Pin pin, ByteView new_pin) {
  Daemon& daemon = invocation.daemon;
  if (!IsAcceptablePin(new_pin, daemon.config.tokens.pin_bytes_min))
    return Fail(CKR_PIN_LEN_RANGE, "the new PIN's length");
  Bytes verifier = MakePinVerifier(new_pin);
  if (verifier.empty()) return Fail(CKR_DEVICE_MEMORY, "no memory for a PIN verifier");
  invocation.changed = true;
  RETURN_IF_ERROR(daemon.custodian.SetPin(token.id, pin, std::move(verifier)));
  const CK_USER_TYPE user = pin == Pin::kSo ? CKU_SO : CKU_USER;
  const std::optional<Login> login = invocation.application->FindLogin(token.id);
  if (login && login->user == user) {
    ASSIGN_OR_RETURN(const auto changed, daemon.records.GetToken(token.id));
    const store::PinRecord& record = pin == Pin::kSo ? changed->so_pin : changed->user_pin;
    invocation.application->SetLogin(token.id, {user, record.generation});
    RenewTicket(invocation);
  }
  return {};
}

}  // namespace cmkd::daemon

// C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated (PKCS#11 3.2 section 5.18): wrapping by an AEAD with associated
// data. The device does it, or it is refused: there is no way to build it of older calls without the key in the clear.
#include "daemon/crypto/random.h"
#include "daemon/service/handlers.h"
#include "daemon/service/open_key.h"
#include "daemon/service/operation_run.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/message_parameter.h"

namespace cmkd::daemon {

using spec::CallId;

namespace {

// The row of an AEAD whose message parameter this is.
Fallible<const spec::MechanismRow*> CheckAead(const Invocation& invocation, const spec::MechanismInOut& mechanism,
                                              bool wrapping) {
  const CK_FLAGS operation = wrapping ? CKF_MESSAGE_ENCRYPT : CKF_MESSAGE_DECRYPT;
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckOffered(invocation, mechanism.value->mechanism, operation));
  RETURN_IF_ERROR(
      spec::CheckMessageParameter(*row, mechanism.value->pParameter, mechanism.value->ulParameterLen, wrapping));
  return row;
}

// A device without the function does not have the mechanism for this.
template <class T>
Fallible<T> AsMechanismInvalid(Fallible<T> result) {
  if (result.ok() || result.error().rv != CKR_FUNCTION_NOT_SUPPORTED) return result;
  return Fail(CKR_MECHANISM_INVALID, "the device does not wrap with associated data", spec::kMechanismNotAllowed);
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::C_WrapKeyAuthenticated>& call) {
  ASSIGN_OR_RETURN(const spec::MechanismRow* row, CheckAead(invocation, call.mechanism, true));
  ASSIGN_OR_RETURN(const ObjectPtr wrapping,
                   FindVisible(invocation, call.wrapping_key.value, CKR_WRAPPING_KEY_HANDLE_INVALID));
  ASSIGN_OR_RETURN(const ObjectPtr key, FindVisible(invocation, call.key.value, CKR_KEY_HANDLE_INVALID));
  const spec::ParameterInOut given = call.mechanism.parameter();
  spec::MessageParameter parameter(given);
  RETURN_IF_ERROR(
      CheckWrapping(invocation, *row, *wrapping, *key, parameter.ChoosesIv() ? IvFrom::kToken : IvFrom::kCaller));
  ASSIGN_OR_RETURN(const Candidate with, CurrentCandidate(invocation, *wrapping, cmk::Use::kProtect, Moment::kWrap));
  ASSIGN_OR_RETURN(const Candidate what, CurrentCandidate(invocation, *key, cmk::Use::kProcess, Moment::kDerive));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  invocation.audit.version = with.version.value;
  RETURN_IF_ERROR(CountUse(invocation, *wrapping, with, cmk::Use::kProtect, row->type, 0));
  // Wrapped under an IV that nobody will see when only the length is asked for; the caller's own stays as it is.
  RETURN_IF_ERROR(parameter.ChooseIv([](MutableBytes iv) -> Status {
    FillRandom(iv);
    return {};
  }));
  CK_MECHANISM fixed = parameter.WithFixedIv(row->type);
  ASSIGN_OR_RETURN(const Bytes wrapped,
                   AsMechanismInvalid(backend->WrapKeyAuthenticated(fixed, with.name, with.material, what.name,
                                                                    what.material, call.associated_data.view())));
  RETURN_IF_ERROR(CheckWrappedLength(*row, nullptr, *wrapping, *key, wrapped.size()));
  if (const CK_RV rv = call.output.Put(wrapped); rv != CKR_OK) return TooSmall();
  invocation.audit.output_bytes = wrapped.size();
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_UnwrapKeyAuthenticated>& call) {
  Opening opening;
  ASSIGN_OR_RETURN(opening.row, CheckAead(invocation, call.mechanism, false));
  ASSIGN_OR_RETURN(opening.key, FindOpeningKey(invocation, *opening.row, call.unwrapping_key.value, CKA_UNWRAP));
  opening.forced_template = CKA_UNWRAP_TEMPLATE;
  const CK_MECHANISM mechanism = *call.mechanism.value;
  return OpenKey(
      invocation, opening, call.attributes.view(),
      [&](Backend& backend, const Candidate& with, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, CK_ULONG,
          const WrappingKey& under) {
        return AsMechanismInvalid(backend.UnwrapKeyAuthenticated(mechanism, with.name, with.material, call.input.view(),
                                                                 call.associated_data.view(), object_class, type,
                                                                 under));
      },
      *call.key.value);
}

}  // namespace cmkd::daemon

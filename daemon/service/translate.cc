// The table of errors.
#include "daemon/service/translate.h"

namespace cmkd::daemon {

Failure<Error> Translate(const store::StoreError& error) {
  using store::StoreErrorKind;
  switch (error.kind) {
    case StoreErrorKind::kNotFound: return Fail(CKR_OBJECT_HANDLE_INVALID, error.sentence, spec::kNotFound);
    case StoreErrorKind::kTaken: return Fail(CKR_ATTRIBUTE_VALUE_INVALID, error.sentence, spec::kNameTaken);
    case StoreErrorKind::kInvalid: return Fail(CKR_ATTRIBUTE_VALUE_INVALID, error.sentence);
    case StoreErrorKind::kFull: return Fail(CKR_DEVICE_MEMORY, error.sentence, spec::kStoreFull);
    default: return Fail(CKR_DEVICE_ERROR, error.sentence, spec::kStoreFailed);
  }
}

Failure<Error> Translate(cmk::Refusal refusal, Moment moment) {
  using cmk::Refusal;
  const bool gone = refusal == Refusal::kKeyPendingDeletion || refusal == Refusal::kKeyDestroyed;
  CK_RV rv = CKR_FUNCTION_FAILED;
  switch (moment) {
    case Moment::kInit: rv = gone ? CKR_KEY_HANDLE_INVALID : CKR_KEY_FUNCTION_NOT_PERMITTED; break;
    case Moment::kUse: rv = CKR_FUNCTION_FAILED; break;
    case Moment::kWrap: rv = CKR_WRAPPING_KEY_HANDLE_INVALID; break;
    case Moment::kUnwrap: rv = CKR_UNWRAPPING_KEY_HANDLE_INVALID; break;
    case Moment::kDerive: rv = CKR_KEY_HANDLE_INVALID; break;
    case Moment::kManage: rv = gone ? CKR_OBJECT_HANDLE_INVALID : CKR_ACTION_PROHIBITED; break;
  }
  return Fail(rv, std::string(cmk::Name(refusal)), static_cast<CK_ULONG>(refusal));
}

}  // namespace cmkd::daemon

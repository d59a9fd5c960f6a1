// Wrapping rules and the way of a key from outside into the token.
#include "daemon/service/open_key.h"

namespace cmkd::daemon {

namespace {

// The codes of C_WrapKey and C_UnwrapKey for a key of the wrong type say whose type is meant.
Status CheckTypeFits(Invocation& invocation, const spec::MechanismRow& row, const Object& key, CK_ATTRIBUTE_TYPE usage,
                     CK_RV inconsistent) {
  const Status fits = CheckKeyUse(invocation, row, key, usage);
  if (fits.ok() || fits.error().rv != CKR_KEY_TYPE_INCONSISTENT) return fits;
  return Fail(inconsistent, fits.error().why, fits.error().detail);
}

}  // namespace

Status CheckWrapping(Invocation& invocation, const spec::MechanismRow& row, const Object& wrapping, const Object& key,
                     IvFrom iv) {
  RecordKey(invocation, wrapping, row.type);
  if (wrapping.object_class == CKO_PRIVATE_KEY || !wrapping.is_key()) {
    return Fail(CKR_WRAPPING_KEY_HANDLE_INVALID, "keys are wrapped with secret and public keys");
  }
  RETURN_IF_ERROR(CheckTypeFits(invocation, row, wrapping, CKA_WRAP, CKR_WRAPPING_KEY_TYPE_INCONSISTENT));
  if (!key.has_material()) return Fail(CKR_KEY_NOT_WRAPPABLE, "only secret and private keys are wrapped");
  if (!key.attributes.Bool(CKA_EXTRACTABLE)) return Fail(CKR_KEY_UNEXTRACTABLE, "the key never leaves the HSM");
  if (key.object_class == CKO_OTP_KEY)
    return Fail(CKR_KEY_NOT_WRAPPABLE, "a HOTP key that comes back would make its passwords again", spec::kDenied);
  if (key.handle == wrapping.handle) return Fail(CKR_KEY_NOT_WRAPPABLE, "a key does not wrap itself");
  if (key.attributes.Bool(CKA_WRAP_WITH_TRUSTED) && !wrapping.attributes.Bool(CKA_TRUSTED)) {
    return Fail(CKR_KEY_NOT_WRAPPABLE, "the key may only be wrapped by a trusted key");
  }
  if (!spec::MatchesFlatTemplate(wrapping.attributes.View(CKA_WRAP_TEMPLATE), key.attributes)) {
    return Fail(CKR_KEY_NOT_WRAPPABLE, "the wrapping key's template does not allow this key");
  }
  return CheckWrap(invocation, row, wrapping, key.attributes, iv);
}

Fallible<ObjectPtr> FindOpeningKey(Invocation& invocation, const spec::MechanismRow& row, CK_OBJECT_HANDLE handle,
                                   CK_ATTRIBUTE_TYPE usage) {
  ASSIGN_OR_RETURN(ObjectPtr key, FindVisible(invocation, handle, CKR_UNWRAPPING_KEY_HANDLE_INVALID));
  RecordKey(invocation, *key, row.type);
  if (!key->has_material())
    return Fail(CKR_UNWRAPPING_KEY_HANDLE_INVALID, "keys are unwrapped with secret and private keys");
  RETURN_IF_ERROR(CheckTypeFits(invocation, row, *key, usage, CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT));
  return key;
}

Status OpenKey(Invocation& invocation, const Opening& opening, std::span<const CK_ATTRIBUTE> attributes,
               const Opener& open, CK_OBJECT_HANDLE& handle) {
  ASSIGN_OR_RETURN(const spec::Attributes forced,
                   spec::MergeForced(opening.key->attributes.View(opening.forced_template), attributes));
  ASSIGN_OR_RETURN(KeyToBe key, DescribeKey(invocation, opening.verb, forced.ToTemplate()));
  RETURN_IF_ERROR(CheckUnwrap(invocation, *opening.row, *opening.key, key.attributes));
  ASSIGN_OR_RETURN(const auto candidates,
                   Candidates(invocation, *opening.key, cmk::Use::kProcess, opening.row->versions, Moment::kUnwrap));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, key.attributes));
  for (const Candidate& candidate : candidates) {
    auto made =
        open(*backend, candidate, key.object_class, key.type, key.attributes.Ulong(CKA_VALUE_LEN).value_or(0), under);
    if (!made.ok()) {
      if (backend->IsWrongKey(opening.row->type, made.error().rv)) continue;
      return Failure{std::move(made.error())};
    }
    invocation.audit.version = candidate.version.value;
    RETURN_IF_ERROR(CheckClaims(*backend, attributes, key.attributes, *made));
    RETURN_IF_ERROR(CountUse(invocation, *opening.key, candidate, cmk::Use::kProcess, opening.row->type, 0));
    ASSIGN_OR_RETURN(handle, KeepKey(invocation, std::move(key.attributes), std::move(*made), cmk::Origin::kUnwrapped));
    return {};
  }
  return Fail(CKR_WRAPPED_KEY_INVALID, "no live version of the key opens it", WhyNoneFits(invocation, *opening.key));
}

}  // namespace cmkd::daemon

// Deciding roles: the store for what it knows, then the application's session objects.
#include "daemon/service/key_role.h"

#include "daemon/crypto/digest.h"
#include "daemon/service/key_use.h"
#include "daemon/service/resume.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

using spec::KeyRole;

Failure<Error> Decided(CK_RV rv, const char* why) { return Fail(rv, why, spec::kRoleLatched); }

// The SO says that the private half is in good hands. It cannot say so of a pair that is here for everybody to use.
bool IsVouchedFor(const Object& key) {
  const bool trusted = key.object_class == CKO_PUBLIC_KEY && key.attributes.Bool(CKA_TRUSTED);
  return trusted && !key.attributes.Bool(CKA_LOCAL);
}

// Names a session key in the store: both halves of a pair by what they share.
Bytes SessionKeyName(const Object& key) {
  const ByteView modulus = key.attributes.View(CKA_MODULUS);
  const Digest digest = Sha256(modulus.empty() ? ByteView(key.name) : modulus);
  return {digest.begin(), digest.end()};
}

// The role that the key has from now on: `wanted`, or what was decided before.
Fallible<KeyRole> Decide(Invocation& invocation, const Object& key, KeyRole wanted) {
  if (const KeyRole role = spec::RoleOf(key.attributes); role != KeyRole::kUndecided) return role;
  ASSIGN_OR_RETURN(const KeyRole stored,
                   invocation.daemon.custodian.DecideRole(key, key.is_token() ? Bytes{} : SessionKeyName(key), wanted));
  if (key.is_token()) {
    invocation.changed = true;
    return stored;
  }
  KeyRole role = stored;
  for (const ObjectPtr& changed : invocation.application->DecideRole(key, role)) SendSealed(invocation, *changed);
  return role;
}

}  // namespace

Status CheckKeyUse(Invocation& invocation, const spec::MechanismRow& row, const Object& key, CK_ATTRIBUTE_TYPE usage) {
  RETURN_IF_ERROR(CheckKeyFits(row, key, usage));
  if (!spec::IsDataUse(row, key.object_class, usage)) return {};
  ASSIGN_OR_RETURN(const KeyRole role, Decide(invocation, key, KeyRole::kData));
  if (role == KeyRole::kData) return {};
  return Decided(CKR_KEY_FUNCTION_NOT_PERMITTED, "the key has wrapped a sensitive key and does nothing else");
}

Status CheckWrap(Invocation& invocation, const spec::MechanismRow& row, const Object& wrapping,
                 const spec::Attributes& key, IvFrom iv) {
  const bool sensitive = key.Bool(CKA_SENSITIVE);
  if (iv == IvFrom::kCaller) {
    const char* const why = "under its caller's IV a token wraps no sensitive key, nor with a key that wraps such ones";
    if (sensitive) return Fail(CKR_MECHANISM_PARAM_INVALID, why, spec::kIvRefused);
    ASSIGN_OR_RETURN(const KeyRole role, Decide(invocation, wrapping, KeyRole::kData));
    if (role != KeyRole::kData) return Fail(CKR_MECHANISM_PARAM_INVALID, why, spec::kIvRefused);
  }
  if (!sensitive) return {};
  if (!spec::WrapsWhole(row)) {
    return Fail(CKR_MECHANISM_INVALID, "a sensitive key is not wrapped by a mechanism without integrity",
                spec::kMechanismNotAllowed);
  }
  RETURN_IF_ERROR(spec::CheckWrappingStrength(wrapping.attributes, key));
  if (IsVouchedFor(wrapping)) return {};
  ASSIGN_OR_RETURN(const KeyRole role, Decide(invocation, wrapping, KeyRole::kWrapping));
  if (role == KeyRole::kWrapping) return {};
  return Decided(CKR_KEY_NOT_WRAPPABLE,
                 "a sensitive key is wrapped only under keys made here that never left and never worked on data");
}

Status CheckEncapsulation(Invocation& invocation, const spec::MechanismRow& row, const Object& public_key,
                          const spec::Attributes& secret) {
  if (secret.Bool(CKA_WRAP_WITH_TRUSTED) && !public_key.attributes.Bool(CKA_TRUSTED))
    return Fail(CKR_TEMPLATE_INCONSISTENT, "the secret is to leave under trusted keys only, and this is none");
  if (!secret.Bool(CKA_SENSITIVE)) return {};
  if (row.recipe == spec::Recipe::kEcdh1) {
    if (IsVouchedFor(public_key)) return {};
    return Fail(CKR_MECHANISM_INVALID, "a sensitive secret is agreed only with a key that the SO trusts",
                spec::kMechanismNotAllowed);
  }
  const Status status = CheckWrap(invocation, row, public_key, secret, IvFrom::kNobody);
  if (status.ok() || status.error().rv != CKR_KEY_NOT_WRAPPABLE) return status;
  return Fail(CKR_TEMPLATE_INCONSISTENT, status.error().why, status.error().detail);
}

Status CheckUnwrap(Invocation& invocation, const spec::MechanismRow& row, const Object& unwrapping,
                   const spec::Attributes& made) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  const bool whole = spec::WrapsWhole(row);
  if (!whole && token->profile == cmk::TokenProfile::kManaged) {
    return Fail(CKR_MECHANISM_INVALID, "a managed token unwraps by mechanisms with an integrity check only",
                spec::kMechanismNotAllowed);
  }
  if (whole && made.Bool(CKA_SENSITIVE)) return {};
  ASSIGN_OR_RETURN(const KeyRole role, Decide(invocation, unwrapping, KeyRole::kData));
  if (role == KeyRole::kData) return {};
  return Decided(whole ? CKR_TEMPLATE_INCONSISTENT : CKR_MECHANISM_INVALID,
                 "the key has wrapped a sensitive key: what it unwraps is sensitive, and by the same mechanisms");
}

Status CheckCopy(Invocation& invocation, const Object& source) {
  ASSIGN_OR_RETURN([[maybe_unused]] const KeyRole role, Decide(invocation, source, KeyRole::kData));
  return {};
}

}  // namespace cmkd::daemon

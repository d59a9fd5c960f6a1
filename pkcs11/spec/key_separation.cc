// Separation of key usages on managed tokens: the conflicts that every published attack on PKCS#11 wrapping needs.
#include <bit>

#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/attribute_table.h"

namespace cmkd::spec {
namespace {

Failure<Error> Conflict(const char* why) { return Fail(CKR_TEMPLATE_INCONSISTENT, why); }

Status CheckOneUsage(UsageGroups usages) {
  if (std::popcount(usages) > 1)
    return Conflict("a managed key has one usage: cipher, signature, wrapping or derivation");
  return {};
}

// A wrapping key whose value anybody knows opens everything that is wrapped under it.
Status CheckWrapping(const Attributes& key) {
  if ((UsagesOf(key) & kUsesWrap) == 0) return {};
  if (!key.Bool(CKA_LOCAL)) return Conflict("a key that was not made here does not wrap or unwrap");
  const bool closed = key.Bool(CKA_SENSITIVE) && key.Bool(CKA_ALWAYS_SENSITIVE);
  if (key.Has(CKA_SENSITIVE) && !closed) return Conflict("a key that is or was readable does not wrap or unwrap");
  return {};
}

Status CheckHistory(const Attributes& key) {
  const bool sensitive = key.Bool(CKA_SENSITIVE);
  const bool extractable = key.Bool(CKA_EXTRACTABLE);
  if (!sensitive && !extractable) return Conflict("a key that is not sensitive cannot be unextractable");
  if (!sensitive && key.Bool(CKA_ALWAYS_SENSITIVE)) return Conflict("CKA_ALWAYS_SENSITIVE without CKA_SENSITIVE");
  if (extractable && key.Bool(CKA_NEVER_EXTRACTABLE)) return Conflict("CKA_NEVER_EXTRACTABLE with CKA_EXTRACTABLE");
  if (key.Bool(CKA_TOKEN) && !sensitive) return Conflict("a managed key is sensitive");
  if (key.Bool(CKA_TOKEN) && extractable) return Conflict("a managed key is never extractable");
  return {};
}

Status CheckTrust(const Attributes& key) {
  if (!key.Bool(CKA_TRUSTED)) return {};
  if (!key.Bool(CKA_LOCAL)) return Conflict("a key that was not made here is not trusted");
  if (key.Has(CKA_NEVER_EXTRACTABLE) && !key.Bool(CKA_NEVER_EXTRACTABLE)) {
    return Conflict("a key that is or was extractable is not trusted");
  }
  return {};
}

}  // namespace

Status CheckSeparation(Profile profile, const Attributes& merged) {
  if (!merged.Has(CKA_KEY_TYPE)) return {};
  if (profile == Profile::kGeneral) {
    // A public key of somebody else is what the SO's trust is for; a secret one of somebody else is a trap.
    return IsSecretKeyClass(merged.Ulong(CKA_CLASS).value_or(CKO_DATA)) ? CheckTrust(merged) : Status{};
  }
  RETURN_IF_ERROR(CheckOneUsage(UsagesOf(merged)));
  RETURN_IF_ERROR(CheckWrapping(merged));
  if (merged.Has(CKA_SENSITIVE)) RETURN_IF_ERROR(CheckHistory(merged));
  return CheckTrust(merged);
}

Status CheckPairSeparation(Profile profile, const Attributes& public_key, const Attributes& private_key) {
  RETURN_IF_ERROR(CheckSeparation(profile, public_key));
  RETURN_IF_ERROR(CheckSeparation(profile, private_key));
  if (profile == Profile::kGeneral) return {};
  return CheckOneUsage(static_cast<UsageGroups>(UsagesOf(public_key) | UsagesOf(private_key)));
}

}  // namespace cmkd::spec

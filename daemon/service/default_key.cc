// Found by its name and class; the name is taken once on each token, also on general ones.
#include "daemon/service/default_key.h"

#include <mutex>

#include "daemon/service/access.h"
#include "daemon/service/new_object.h"
#include "daemon/service/translate.h"
#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/key_role.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

namespace {

constexpr CK_ULONG kBytes = 32;

Fallible<std::optional<CK_OBJECT_HANDLE>> Find(Daemon& daemon, const cmk::TokenId& token) {
  STORE_OR_RETURN(const auto read, daemon.store.BeginRead());
  STORE_OR_RETURN(const auto named, read->FindCmksByName(token, kDefaultKeyName));
  for (const cmk::CmkId& id : named) {
    STORE_OR_RETURN(const cmk::Cmk key, read->GetCmk(id));
    if (key.key_class != cmk::KeyClass::kDefault) continue;
    const store::Term of_key[] = {store::OfCmk(id)};
    STORE_OR_RETURN(const auto serials, read->FindObjects(token, of_key));
    if (!serials.empty()) return std::optional<CK_OBJECT_HANDLE>(serials.front().value);
  }
  return std::optional<CK_OBJECT_HANDLE>{};
}

spec::Attributes DefaultKeyAttributes(spec::Profile profile) {
  spec::Attributes wanted;
  for (const CK_ATTRIBUTE_TYPE yes : {CKA_TOKEN, CKA_PRIVATE, CKA_ENCRYPT, CKA_DECRYPT, CKA_SENSITIVE})
    wanted.SetBool(yes, true);
  for (const CK_ATTRIBUTE_TYPE no :
       {CKA_EXTRACTABLE, CKA_MODIFIABLE, CKA_COPYABLE, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE, CKA_SIGN, CKA_VERIFY})
    wanted.SetBool(no, false);
  wanted.SetText(CKA_LABEL, kDefaultKeyName);
  wanted.SetUlong(CKA_VALUE_LEN, kBytes);
  wanted.SetUlong(CKA_ALLOWED_MECHANISMS, CKM_CMKD_AES_MANAGED);
  spec::TemplateContext context;
  context.verb = spec::Verb::kGenerate;
  context.object_class = CKO_SECRET_KEY;
  context.key_type = CKK_AES;
  context.profile = profile;
  return spec::Complete(context, wanted.ToTemplate(), CKM_AES_KEY_GEN);
}

Fallible<CK_OBJECT_HANDLE> Make(Daemon& daemon, const store::TokenRecord& token) {
  ASSIGN_OR_RETURN(Backend * backend, daemon.backends.Get(token.hsm));
  ASSIGN_OR_RETURN(const Custodian::Under under, daemon.custodian.WrappingKeyFor(token.id, Custodian::Keep::kToken));
  const Timestamp now = daemon.clock.Now();
  spec::Attributes attributes = DefaultKeyAttributes(ProfileOf(token));
  ASSIGN_OR_RETURN(Made made, backend->GenerateKey({CKM_AES_KEY_GEN, nullptr, 0}, CKK_AES, kBytes, under));
  RemoveSecretParts(made.computed);
  attributes.Merge(made.computed);
  HideCheckValue(attributes);
  spec::GiveRole(attributes);
  NewObjects objects;
  objects.key = NewCmk(attributes, std::move(made.material), cmk::Origin::kLocal, now);
  objects.key->key_class = cmk::KeyClass::kDefault;
  objects.key->rotation_period = Custodian::BoundsOf(token).rotation_default;
  objects.key->dates.next_rotation = now + objects.key->rotation_period;
  objects.objects.push_back(std::move(attributes));
  ASSIGN_OR_RETURN(const auto handles, daemon.custodian.Add(token.id, std::move(objects), {}));
  return handles.front();
}

}  // namespace

Fallible<CK_OBJECT_HANDLE> FindDefaultKey(Daemon& daemon, const cmk::TokenId& token_id) {
  ASSIGN_OR_RETURN(const auto there, Find(daemon, token_id));
  if (there) return *there;
  // Two who come first together make one key: the second finds it.
  static std::mutex making;
  const std::lock_guard lock(making);
  ASSIGN_OR_RETURN(const auto meanwhile, Find(daemon, token_id));
  if (meanwhile) return *meanwhile;
  ASSIGN_OR_RETURN(const auto token, daemon.records.GetToken(token_id));
  return Make(daemon, *token);
}

}  // namespace cmkd::daemon

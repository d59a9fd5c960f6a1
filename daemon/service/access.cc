// Sessions, logins and what they let a caller see.
#include "daemon/service/access.h"

#include <unistd.h>

#include <algorithm>

#include "daemon/custody/importer.h"
#include "daemon/service/built_in_objects.h"

namespace cmkd::daemon {

Fallible<Records::TokenPtr> TokenOf(const Invocation& invocation) {
  return invocation.daemon.records.GetToken(invocation.session->token);
}

Fallible<Backend*> BackendOf(const Invocation& invocation) {
  ASSIGN_OR_RETURN(const Records::TokenPtr token, TokenOf(invocation));
  return invocation.daemon.backends.Of(*token);
}

std::optional<CK_USER_TYPE> LoggedIn(const Invocation& invocation, const store::TokenRecord& token) {
  const std::optional<Login> login = invocation.application->FindLogin(token.id);
  if (!login) return std::nullopt;
  const store::PinRecord& pin = login->user == CKU_SO ? token.so_pin : token.user_pin;
  if (pin.generation != login->pin_generation) return std::nullopt;
  return login->user;
}

bool UserLoggedIn(const Invocation& invocation) {
  const auto token = TokenOf(invocation);
  return token.ok() && LoggedIn(invocation, **token) == CKU_USER;
}

bool IsVisible(const Invocation& invocation, const Object& object, bool user) {
  if (object.token != invocation.session->token || (object.is_private() && !user)) return false;
  if (!object.cmk) return true;
  const auto key = invocation.daemon.records.GetCmk(*object.cmk);
  if (!key.ok() || (*key)->state == cmk::CmkState::kPendingDeletion || (*key)->state == cmk::CmkState::kDestroyed)
    return false;
  return !object.is_import_key() || IsGoodImportKey(object, **key, invocation.daemon.clock.Now());
}

bool IsHiddenByDeletion(const Invocation& invocation, const Object& object, bool user) {
  if (object.token != invocation.session->token || (object.is_private() && !user) || !object.cmk) return false;
  const auto key = invocation.daemon.records.GetCmk(*object.cmk);
  return key.ok() && (*key)->state == cmk::CmkState::kPendingDeletion;
}

void NoteWanted(Invocation& invocation, const Object& object) {
  invocation.alarm = true;
  invocation.audit.object_handle = object.handle;
  if (object.cmk) {
    invocation.audit.cmk_id = object.cmk->bytes;
    invocation.daemon.custodian.NoteWanted(*object.cmk);
  }
  invocation.audit_text = "a key that waits for its deletion is wanted";
}

Fallible<ObjectPtr> FindVisible(Invocation& invocation, CK_OBJECT_HANDLE handle, CK_RV error) {
  ObjectPtr object;
  if (handle >= kBuiltInObjectBase) {
    object = FindBuiltIn(invocation, handle);
  } else if (handle >= kSessionObjectBase) {
    object = invocation.application->FindObject(handle);
  } else if (auto found = invocation.daemon.records.GetObject(handle); found.ok()) {
    object = std::move(*found);
  } else if (found.error().rv != CKR_OBJECT_HANDLE_INVALID) {
    return Failure{std::move(found.error())};
  }
  // One answer for "is not there" and "not for you": handles must not be worth guessing.
  const bool user = UserLoggedIn(invocation);
  if (object != nullptr && IsHiddenByDeletion(invocation, *object, user)) {
    NoteWanted(invocation, *object);
    return Fail(error, "the key waits for its deletion", static_cast<CK_ULONG>(cmk::Refusal::kKeyPendingDeletion));
  }
  if (object == nullptr || !IsVisible(invocation, *object, user)) {
    return Fail(error, "no such object for this session", spec::kNotFound);
  }
  return object;
}

Status MayWrite(const Invocation& invocation, bool token_object, bool private_object) {
  if (token_object && !invocation.session->read_write())
    return Fail(CKR_SESSION_READ_ONLY, "a token object needs a read/write session");
  if (private_object && !UserLoggedIn(invocation))
    return Fail(CKR_USER_NOT_LOGGED_IN, "a private object needs the user's login");
  return {};
}

spec::Profile ProfileOf(const store::TokenRecord& token) {
  return token.profile == cmk::TokenProfile::kManaged ? spec::Profile::kManaged : spec::Profile::kGeneral;
}

bool IsOperator(const Invocation& invocation) {
  const std::uint32_t uid = invocation.application->peer().uid;
  const auto& named = invocation.daemon.config.daemon.operators;
  return uid == 0 || uid == ::geteuid() || std::find(named.begin(), named.end(), uid) != named.end();
}

bool IsInitialised(const store::TokenRecord& token) { return !token.so_pin.verifier.empty(); }

void Release(Daemon& daemon, const std::vector<ObjectPtr>& objects) {
  for (const ObjectPtr& object : objects) {
    const auto token = daemon.records.GetToken(object->token);
    if (!token.ok()) continue;
    const auto backend = daemon.backends.Of(**token);
    if (!backend.ok()) continue;
    KeyName name;
    name.id = object->name;
    name.is_public = object->object_class == CKO_PUBLIC_KEY;
    (*backend)->Forget(name);
    (void)(*backend)->DestroyMaterial(object->material);
  }
}

}  // namespace cmkd::daemon

// Who may see and do what: the questions that many handlers ask about sessions, logins, tokens and objects.
#pragma once

#include "daemon/dispatch/invocation.h"
#include "daemon/service/translate.h"
#include "pkcs11/spec/attribute_rules.h"

namespace cmkd::daemon {

// The token of the session. CKR_TOKEN_NOT_PRESENT when it is gone.
Fallible<Records::TokenPtr> TokenOf(const Invocation& invocation);
// The HSM of the session's token.
Fallible<Backend*> BackendOf(const Invocation& invocation);

// The login of the application on a token, if the PIN it was made with is still the PIN.
std::optional<CK_USER_TYPE> LoggedIn(const Invocation& invocation, const store::TokenRecord& token);
bool UserLoggedIn(const Invocation& invocation);

// The object of a handle as this session sees it: of its token, private ones only for the user, none that is scheduled
// for deletion. `error` is what the caller's kind of call says otherwise (CKR_KEY_HANDLE_INVALID,
// CKR_OBJECT_HANDLE_INVALID, …).
Fallible<ObjectPtr> FindVisible(Invocation& invocation, CK_OBJECT_HANDLE handle, CK_RV error);
bool IsVisible(const Invocation& invocation, const Object& object, bool user);
// Whether the object would be visible if its key did not wait for deletion: somebody still wants it, and operators must
// hear of that. NoteWanted marks the call's audit record as an alarm about the key.
bool IsHiddenByDeletion(const Invocation& invocation, const Object& object, bool user);
void NoteWanted(Invocation& invocation, const Object& object);

// Whether the session may make or change an object that is or would be so (PKCS#11, "Session types"):
// CKR_SESSION_READ_ONLY for token objects, CKR_USER_NOT_LOGGED_IN for private ones.
Status MayWrite(const Invocation& invocation, bool token_object, bool private_object);

// The profile of a token in the words of the attribute rules.
spec::Profile ProfileOf(const store::TokenRecord& token);
// Root, the daemon's own user, and those that the configuration names, by the kernel's word.
bool IsOperator(const Invocation& invocation);
bool IsInitialised(const store::TokenRecord& token);

// Takes session objects that are gone out of the HSM's cache.
void Release(Daemon& daemon, const std::vector<ObjectPtr>& objects);

}  // namespace cmkd::daemon

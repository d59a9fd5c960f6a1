// The objects that a token has by itself: one for each profile of the standard that it implements, one for each
// mechanism that it offers, and one which says that nobody has validated it (PKCS#11 3.2, "Profile objects", "Mechanism
// objects", "Validation objects"). They are made of the mechanism table when they are asked for, kept nowhere, and can
// be found and read, not created, copied, changed or destroyed. C_GetSessionValidationFlags says the same of
// validations.
#pragma once

#include "daemon/service/access.h"

namespace cmkd::daemon {

// The built-in object of this handle on the session's token, or nullptr.
ObjectPtr FindBuiltIn(const Invocation& invocation, CK_OBJECT_HANDLE handle);

// Those that a search finds, their handles in ascending order. An empty template finds none: it asks for what was
// stored, and programs that list a token so do not know these classes. (For hardware features, the first objects of
// this kind, the standard said so itself.) Every other template is matched as it stands.
std::vector<CK_OBJECT_HANDLE> FindBuiltIns(const Invocation& invocation, std::span<const CK_ATTRIBUTE> wanted);

}  // namespace cmkd::daemon

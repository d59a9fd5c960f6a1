// The default key of a token: one for each, made at its first use, for data keys and small things whose program asked
// for no key of its own.
#pragma once

#include "daemon/service/daemon.h"

namespace cmkd::daemon {

inline constexpr char kDefaultKeyName[] = "default";

// The token's default key, made now if it has none: AES-256, for the managed mechanism only, rotating each year by
// itself. Its handle.
Fallible<CK_OBJECT_HANDLE> FindDefaultKey(Daemon& daemon, const cmk::TokenId& token);

}  // namespace cmkd::daemon

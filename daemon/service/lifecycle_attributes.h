// The vendor attributes that show a CMK's lifecycle (spec/vendor.h), computed when they are asked for.
#pragma once

#include "daemon/dispatch/invocation.h"

namespace cmkd::daemon {

// Those of `object` that are among `wanted`; empty for objects that are no CMK's.
spec::Attributes LifecycleAttributes(const Invocation& invocation, const Object& object,
                                     std::span<const CK_ATTRIBUTE> wanted);

// The key's state as people and programs see it: what its record and the time say, or kUnavailable when it could be used but
// its HSM is away.
inline constexpr std::string_view kUnavailable = "Unavailable";
std::string_view ShownState(const Daemon& daemon, const cmk::Cmk& key);

// How the material came to be, in the word that operators and programs see.
std::string_view OriginText(cmk::Origin origin);

}  // namespace cmkd::daemon

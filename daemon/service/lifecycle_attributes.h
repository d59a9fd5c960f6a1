// The vendor attributes that show a CMK's lifecycle (spec/vendor.h), computed when they are asked for.
#pragma once

#include "daemon/dispatch/invocation.h"

namespace cmkd::daemon {

// Those of `object` that are among `wanted`; empty for objects that are no CMK's.
spec::Attributes LifecycleAttributes(const Invocation& invocation, const Object& object,
                                     std::span<const CK_ATTRIBUTE> wanted);

// How the material came to be, in the word that operators and programs see.
std::string_view OriginText(cmk::Origin origin);

}  // namespace cmkd::daemon

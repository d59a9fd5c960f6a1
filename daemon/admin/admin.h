// The operator's door: verbs with JSON arguments and answers (PROTOCOL.md, "Administration"). Only for operators: root,
// the daemon's own user, and those that the configuration names, by the kernel's word.
#pragma once

#include <string>
#include <string_view>

#include "daemon/dispatch/invocation.h"

namespace cmkd::daemon {

// The answer to a request, which is hostile until parsed. Sets invocation.changed and the audit text.
std::string AnswerAdmin(Invocation& invocation, std::string_view request);

}  // namespace cmkd::daemon

// How an encryption context stands in the audit: as a keyed hash, by which its records are found again, or as it is, or
// not at all ([audit] contexts). Contexts are no secrets, but may name people.
#pragma once

#include <string>

#include "common/bytes.h"
#include "daemon/service/daemon.h"

namespace cmkd::daemon {

// "context 9f86d081884c7d65…" or "context name=value name=value"; nothing for no context. In the clear only what is a
// map, printable, and short enough for a record; everything else is hashed.
std::string AuditedContext(const Daemon& daemon, ByteView context);

}  // namespace cmkd::daemon

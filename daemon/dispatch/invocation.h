// Invocation: one call of one client while it is served.
#pragma once

#include <mutex>
#include <vector>

#include "daemon/audit/audit_record.h"
#include "daemon/client/application.h"
#include "daemon/service/daemon.h"
#include "pkcs11/wire/frame.h"

namespace cmkd::daemon {

// What goes back behind the results, for the client's resumption (PROTOCOL.md, "Trailers").
struct Trailer {
  wire::TrailerKind kind;
  CK_SESSION_HANDLE session;
  CK_OBJECT_HANDLE object;
  Bytes sealed;
};

struct Invocation {
  Daemon& daemon;
  ApplicationPtr application;
  spec::CallId id;
  std::uint64_t request_id;
  ByteView payload;
  wire::Arena& arena;

  // Of calls whose gate asks for a session; locked for the length of the call.
  SessionPtr session;
  std::unique_lock<std::mutex> session_lock;

  std::vector<Trailer> trailers;
  AuditRecord audit;
  std::string audit_text;
  // Somebody should look at this call, whatever comes of it.
  bool alarm = false;
  // The store was changed: the audit record is on disk before the answer.
  bool changed = false;
  // Disable and cancel-deletion may use the room that the audit log has set aside.
  AuditLog::Urgency urgency = AuditLog::Urgency::kNormal;
};

}  // namespace cmkd::daemon

// How an application begins, joins and comes back after a restart of the daemon (PROTOCOL.md, "Hello").
#pragma once

#include "daemon/service/daemon.h"
#include "pkcs11/spec/calls.h"

namespace cmkd::daemon {

struct Invocation;

// Answers a hello; the application has one connection more afterwards.
Fallible<ApplicationPtr> Greet(Daemon& daemon, const Peer& peer, spec::Call<spec::CallId::Hello>& hello);

// The application's logins, sealed: what it shows after a restart of the daemon.
Bytes SealTicket(const Daemon& daemon, const Application& application);
// Sends the ticket with the answer of a call that changed the logins.
void RenewTicket(Invocation& invocation);
// Sends a session object with the answer of the call that made or changed it.
void SendSealed(Invocation& invocation, const Object& object);

}  // namespace cmkd::daemon

// From a frame to a handler and back: decode, gate, handle, audit, encode. One table by call id, made from the call
// table.
#pragma once

#include "daemon/server/server.h"
#include "daemon/service/daemon.h"

namespace cmkd::daemon {

// The daemon's clients: each connection begins with Hello and then makes calls.
class Dispatcher final : public Service {
 public:
  explicit Dispatcher(Daemon& daemon) : daemon_(daemon) {}
  std::unique_ptr<Conversation> Begin(const Peer& peer) override;

 private:
  Daemon& daemon_;
};

}  // namespace cmkd::daemon

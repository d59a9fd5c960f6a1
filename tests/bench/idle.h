// IdleClients: processes that have used the module and then do nothing.
#pragma once

#include <sys/types.h>

#include <vector>

#include "tests/bench/token.h"

namespace cmkd::bench {

class IdleClients {
 public:
  // Each in a process of its own: the module loaded, a session open, enough calls made to have whatever a client that
  // stays is given, no login. Throws Trouble unless all of them are there. Before any module is loaded here.
  IdleClients(TokenOptions token, std::size_t count);
  ~IdleClients();
  IdleClients(const IdleClients&) = delete;
  IdleClients& operator=(const IdleClients&) = delete;

  // Ends them, and returns when they are gone.
  void Leave();

 private:
  std::vector<pid_t> pids_;
  int stay_ = -1;  // they stay as long as this end of a pipe is open
};

}  // namespace cmkd::bench

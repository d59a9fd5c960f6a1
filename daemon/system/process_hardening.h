// What the process does to itself before it touches a secret: no core dump, no tracer, private files, locked memory.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cmkd::daemon {

struct Hardening {
  // One sentence for each measure that could not be taken; empty when all stand. For the log, not fatal.
  std::vector<std::string> missing;
  // How much memory may be locked after this; SIZE_MAX for no limit.
  std::size_t lockable_bytes = 0;
};

// PR_SET_DUMPABLE 0 (no core, no ptrace by the same user, /proc/self owned by root), RLIMIT_CORE 0,
// PR_SET_NO_NEW_PRIVS, umask 077, RLIMIT_MEMLOCK and RLIMIT_NOFILE as high as allowed, SIGPIPE ignored. Call once,
// first thing in main, before any thread.
Hardening HardenProcess();

}  // namespace cmkd::daemon

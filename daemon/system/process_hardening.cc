// prctl, rlimits, umask, signals: each tried, each failure told.
#include "daemon/system/process_hardening.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

namespace cmkd::daemon {
namespace {

constexpr std::size_t kWantedLockableBytes = 64 << 20;

void Expect(Hardening& hardening, bool done, const char* measure) {
  if (!done) hardening.missing.push_back(std::string(measure) + " was refused: " + ::strerrordesc_np(errno));
}

// Raises the soft limit to the hard one, and the hard one too if this process may.
rlimit Raise(__rlimit_resource resource) {
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  rlimit limit{};
  if (::setrlimit(resource, &unlimited) == 0) return unlimited;
  if (::getrlimit(resource, &limit) != 0) return {};
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(resource, &limit);
  (void)::getrlimit(resource, &limit);
  return limit;
}

// Unlimited is more than the kernel allows here (fs.nr_open), so only the soft limit is moved.
void RaiseOpenFiles(Hardening& hardening) {
  rlimit limit{};
  bool done = ::getrlimit(RLIMIT_NOFILE, &limit) == 0;
  limit.rlim_cur = limit.rlim_max;
  done = done && ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
  Expect(hardening, done, "raising the number of open files");
}

}  // namespace

Hardening HardenProcess() {
  Hardening hardening;
  Expect(hardening, ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0, "making the process undumpable");
  Expect(hardening, ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "giving up new privileges");
  const rlimit none{0, 0};
  Expect(hardening, ::setrlimit(RLIMIT_CORE, &none) == 0, "forbidding core dumps");
  ::umask(077);
  Expect(hardening, ::signal(SIGPIPE, SIG_IGN) != SIG_ERR, "ignoring SIGPIPE");
  RaiseOpenFiles(hardening);

  const rlimit lockable = Raise(RLIMIT_MEMLOCK);
  hardening.lockable_bytes =
      lockable.rlim_cur == RLIM_INFINITY ? SIZE_MAX : static_cast<std::size_t>(lockable.rlim_cur);
  if (hardening.lockable_bytes < kWantedLockableBytes) {
    hardening.missing.push_back("only " + std::to_string(hardening.lockable_bytes >> 10) +
                                " KiB of memory may be locked: keys may be swapped out; set LimitMEMLOCK=infinity");
  }
  return hardening;
}

}  // namespace cmkd::daemon

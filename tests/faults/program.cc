// Who belongs to the daemon.
#include "tests/faults/program.h"

#include "tests/common/host_processes.h"

namespace cmkd::tests {

std::vector<int> FaultProgram::Hosts() const { return HostsOf(daemon_); }

}  // namespace cmkd::tests

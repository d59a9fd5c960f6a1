// Two settings of malloc.
#include "daemon/system/memory_policy.h"

#include <malloc.h>

namespace cmkd::daemon {

namespace {

// Of each of malloc's arenas, and there are eight for a processor at most. What is larger is mapped and goes at once.
constexpr int kKeptBytes = 8 << 20;
constexpr int kMappedBytesMin = 4 << 20;

}  // namespace

void KeepFreedMemory() {
  ::mallopt(M_TRIM_THRESHOLD, kKeptBytes);
  ::mallopt(M_MMAP_THRESHOLD, kMappedBytesMin);
}

}  // namespace cmkd::daemon

// What this machine itself does to the times of two processes that wait for each other: the floor of any call that
// leaves its process, whoever answers it.
#pragma once

#include <chrono>

#include "tests/bench/measure.h"

namespace cmkd::bench {

// One word of shared memory to another process and one back, which comes after `service` of pure computing there. Both
// sides spin for `spin` and then sleep on a futex. For load.time, or load.runs_max times. Throws Trouble.
Figures PingPong(std::chrono::nanoseconds service, std::chrono::nanoseconds spin, const Load& load);

}  // namespace cmkd::bench

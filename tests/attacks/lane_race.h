// F05: the memory that client and daemon share, changed while the daemon reads it.
#pragma once

#include "tests/attacks/bench.h"

namespace cmkd::attacks {

void RaceForTheLane(Bench& bench, Trial& trial);

}  // namespace cmkd::attacks

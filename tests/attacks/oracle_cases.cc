// D: cryptographic oracles and misuse.
#include "tests/attacks/cases.h"

namespace cmkd::attacks {

std::span<const Case> OracleCases() { return {}; }

}  // namespace cmkd::attacks

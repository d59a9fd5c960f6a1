// F: memory and wire.
#include "tests/attacks/cases.h"

namespace cmkd::attacks {

std::span<const Case> WireCases() { return {}; }

}  // namespace cmkd::attacks

// B: attributes.
#include "tests/attacks/cases.h"

namespace cmkd::attacks {

std::span<const Case> AttributeCases() { return {}; }

}  // namespace cmkd::attacks

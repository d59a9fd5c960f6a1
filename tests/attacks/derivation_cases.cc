// C: derivation.
#include "tests/attacks/cases.h"

namespace cmkd::attacks {

std::span<const Case> DerivationCases() { return {}; }

}  // namespace cmkd::attacks

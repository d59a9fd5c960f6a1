// E: sessions and users.
#include "tests/attacks/cases.h"

namespace cmkd::attacks {

std::span<const Case> SessionCases() { return {}; }

}  // namespace cmkd::attacks

// What a call says, as text: two calls say the same when their descriptions are equal. Pointers are followed; lengths
// that callers overstate are described as they travel.
#pragma once

#include <string>

#include "tests/calls/any_call.h"

namespace cmkd::tests {

// What the application gives.
std::string DescribeRequest(AnyCall& call);
// What comes back with this return value.
std::string DescribeResults(AnyCall& call, CK_RV rv);

}  // namespace cmkd::tests

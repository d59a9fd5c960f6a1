// The OASIS profile test cases as cases of a plan.
#pragma once

#include <string>

#include "common/result.h"
#include "conformance/plan.h"

namespace cmkd::conformance {

// Adds one case for every return value and every value that the test cases of the directory (NAME.xml) expect, and
// before them one that puts onto the token what they presuppose. Errors: there is none, or one cannot be read.
Result<void, std::string> AddProfiles(Plan& plan, const std::string& directory);

}  // namespace cmkd::conformance

// The list of what a module is known to do otherwise than the standard says, each with a reason.
//
// A line is a case's name and the reason; '*' in the name stands for any text. '#' begins a comment.
//     C_GetObjectSize.*      SoftHSM does not know sizes and says so with CK_UNAVAILABLE_INFORMATION
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace cmkd::conformance {

struct Deviation {
  std::string pattern;
  std::string reason;
};

// Errors: the file cannot be read, or a line has no reason.
Result<std::vector<Deviation>, std::string> ReadDeviations(const std::string& path);

// Whether the name fits the pattern.
bool Fits(std::string_view pattern, std::string_view name);

// The first deviation that covers the case, or nullptr.
const Deviation* FindDeviation(const std::vector<Deviation>& deviations, std::string_view name);

}  // namespace cmkd::conformance

// Runs a profile test case on a module: calls with their arguments, return values, results, and the variables that go
// from results into later arguments.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "conformance/profiles/test_case.h"
#include "conformance/trial.h"

namespace cmkd::conformance {

// One thing that a result says: the return value, or one of its values.
struct Finding {
  std::size_t step;
  std::string item;  // "rv", or the path as "TokenInfo/Flags"
  bool right;
  std::string message;
};

// What of a result may be judged: the items of a step, in order. Those that a conforming provider may vary ("Permitted
// Test Case Variations") and those that only bind a variable are not among them.
std::vector<std::string> ItemsOf(const Step& step);

// Runs the test case from C_Initialize to C_Finalize; the module is loaded and not initialised. It ends at the first
// return value that is not the expected one: what comes later is not found.
std::vector<Finding> RunTestCase(Trial& t, const TestCase& test);

}  // namespace cmkd::conformance

// Runs the cases of a plan in child processes, so that a module that crashes or hangs costs one case and not the run.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "conformance/plan.h"

namespace cmkd::conformance {

struct CaseResult {
  const Case* ran;
  Outcome outcome;
  std::string message;  // of anything but kPassed
};

// Runs each case, one after the other; `heard` gets every result as it comes. Cases that follow a crash begin with a
// process and a module of their own.
std::vector<CaseResult> RunPlan(const Plan& plan, const Settings& settings,
                                const std::function<void(const CaseResult&)>& heard);

}  // namespace cmkd::conformance

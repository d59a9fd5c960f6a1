// Why a command did not do what it was asked to, in the words that a person needs: a code, what is so, the rule, the
// remedy.
#pragma once

#include <string>

#include "common/result.h"

namespace cmkd::tools {

// The exit statuses of cmkctl (cmkctl(1), "EXIT STATUS").
enum class ExitStatus : int {
  kDone = 0,
  kRefused = 1,      // the daemon, or what a file holds, says no
  kUsage = 2,        // the command line does not make sense
  kUnreachable = 3,  // no daemon answers
};

struct Problem {
  ExitStatus status = ExitStatus::kRefused;
  std::string code;     // "KEY_DISABLED", "CKR_PIN_INCORRECT": for scripts and for `cmkctl explain`
  std::string message;  // a sentence
  std::string rule;     // a sentence, or empty
  std::string remedy;   // a sentence, or empty
};

template <class T>
using Outcome = Result<T, Problem>;

inline Failure<Problem> UsageProblem(std::string message, std::string remedy = {}) {
  return Failure{Problem{ExitStatus::kUsage, "USAGE", std::move(message), {}, std::move(remedy)}};
}

inline Failure<Problem> Refused(std::string code, std::string message, std::string rule = {}, std::string remedy = {}) {
  return Failure{
      Problem{ExitStatus::kRefused, std::move(code), std::move(message), std::move(rule), std::move(remedy)}};
}

}  // namespace cmkd::tools

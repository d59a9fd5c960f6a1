// The catalogue of attacks: one function for each case, named by the catalogue's number.
#pragma once

#include <span>

#include "tests/attacks/bench.h"

namespace cmkd::attacks {

struct Case {
  const char* id;
  const char* what;  // what the attacker tries, for the table
  void (*run)(Bench& bench, Trial& trial);
  // Why the case may be inapplicable on a cmkd token; nullptr when it must run.
  const char* may_not_apply = nullptr;
  // In a process of its own: when that dies or hangs, the case is broken.
  bool isolated = false;
};

std::span<const Case> WrappingCases();    // A
std::span<const Case> AttributeCases();   // B
std::span<const Case> DerivationCases();  // C
std::span<const Case> OracleCases();      // D
std::span<const Case> SessionCases();     // E
std::span<const Case> WireCases();        // F

}  // namespace cmkd::attacks

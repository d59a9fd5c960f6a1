// The cases: what is measured, the same calls for every module.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "tests/bench/token.h"

namespace cmkd::bench {

// One case in one thread, with a session of its own. Functions throw Trouble.
class Run {
 public:
  virtual ~Run() = default;
  // What is timed.
  virtual void Once() = 0;
  // Clears up behind Once, untimed.
  virtual void After() {}
};

struct CaseOptions {
  std::size_t keys = 0;  // keys that Fill has made
};

struct Case {
  const char* name;
  const char* title;
  std::size_t bytes;     // that one run works through, 0 where that is no question
  std::size_t runs_max;  // for what leaves something behind; 0: any number
  std::unique_ptr<Run> (*prepare)(const Token&, const CaseOptions&);
};

std::span<const Case> Cases();

}  // namespace cmkd::bench

// The cases: what is measured, the same calls for every module.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
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
  std::size_t keys = 0;        // keys that Fill has made
  std::size_t versions = 0;    // of the key RotatedLabel(versions), by what the caller says
  std::string old_ciphertext;  // file with what the first of them sealed
};

struct Case {
  const char* name;
  const char* title;
  std::size_t bytes;     // that one run works through, 0 where that is no question
  std::size_t runs_max;  // for what leaves something behind; 0: any number
  const char* needs;     // "keys" or "versions", where there is no case without them
  std::unique_ptr<Run> (*prepare)(const Token&, const CaseOptions&);
};

std::span<const Case> Cases();

}  // namespace cmkd::bench

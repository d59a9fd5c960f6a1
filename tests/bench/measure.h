// Measure: one case in some threads of some processes at once, and what comes of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/cases.h"

namespace cmkd::bench {

struct Load {
  unsigned threads = 1;
  unsigned processes = 1;
  std::chrono::milliseconds time{200};
  std::size_t runs_max = 0;  // of each thread; 0: as many as the time allows
};

struct Figures {
  std::uint64_t runs = 0;
  double seconds = 0;         // from the first start to the last end
  std::vector<double> times;  // microseconds of each run, ascending
  double Quantile(double share) const;
  // Of all runs, those that took longer than this.
  double ShareBeyond(double microseconds) const;
};

// Nothing where the module does not offer the case, and why is in `left_out`. Throws Trouble. With more than one
// process each loads the module anew; nothing of the caller's is used.
std::optional<Figures> Measure(const TokenOptions& token, const Case& which, const CaseOptions& options,
                               const Load& load, std::string& left_out);

}  // namespace cmkd::bench

// What a script of faults makes of one event: a pure function of the script, of how often each of its rules has been
// met, and of the time. The n-th event that a rule meets has the same fate in every run with the same seed, whatever
// the other rules and threads do.
#pragma once

#include <optional>

#include "firmware_sim/faults/script.h"

namespace cmkd::sim::faults {

struct Event {
  Point point = Point::kCall;
  spec::CallId call{};     // of kCall
  std::uint32_t step = 1;  // of kFlash, from 1
  std::chrono::nanoseconds time{0};
};

// How often a rule was met, and how often it did something.
struct Count {
  std::uint64_t met = 0;
  std::uint64_t done = 0;
  bool operator==(const Count&) const = default;
};
using Counts = std::vector<Count>;  // one for each rule

struct Effects {
  bool drop_sessions = false;
  bool logout = false;
  bool tamper = false;
  bool power_cut = false;
  bool any() const { return drop_sessions || logout || tamper || power_cut; }
};

struct Length {
  std::int64_t value = 0;
  bool absolute = false;
  // What becomes of a true length; never less than 0.
  CK_ULONG Of(CK_ULONG length) const;
};

struct Decision {
  std::chrono::nanoseconds delay{0};
  Effects before;
  CK_RV refuse = CKR_OK;  // instead of the effect
  CK_RV answer = CKR_OK;  // after it
  std::optional<Length> length;
  Effects after;
  Noise noise = Noise::kSound;
  bool flip = false;
  std::uint32_t line = 0;  // the first that did something other than to delay; 0: none
};

// `counts` has one entry for each rule, and moves. All delays add up; of codes, lengths and noises the first rule's
// counts.
Decision Decide(const Script& script, Counts& counts, const Event& event);

}  // namespace cmkd::sim::faults

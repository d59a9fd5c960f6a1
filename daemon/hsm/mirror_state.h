// What one of the devices of a mirrored token is good for: a pure function of what was seen of it, and a table of what
// follows. Nothing about it is stored: after a crash the devices are looked at again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cmkd::daemon {

// What was seen of a device. Counts of wrapping keys of the token.
struct MirrorFacts {
  bool there = false;         // it answers
  bool known = false;         // its transport key is the one that an operator enrolled
  std::size_t missing = 0;    // of those that records need: it has them not
  std::size_t condemned = 0;  // of those that must go: it has them still
};

enum class MirrorState : std::uint8_t {
  kUnseen,   // not looked at since the daemon started
  kAway,     // it does not answer
  kForeign,  // it answers, and is another device than the one that was enrolled
  kLagging,  // it lacks wrapping keys: something cannot be opened there
  kOwing,    // it has all that it needs, and keys that must go
  kInStep,
};
inline constexpr std::size_t kMirrorStates = 6;

constexpr MirrorState MirrorStateOf(const MirrorFacts& seen) {
  if (!seen.there) return MirrorState::kAway;
  if (!seen.known) return MirrorState::kForeign;
  if (seen.missing != 0) return MirrorState::kLagging;
  return seen.condemned != 0 ? MirrorState::kOwing : MirrorState::kInStep;
}

struct MirrorRow {
  MirrorState state;
  std::string_view name;
  bool serves;      // keys are used there
  bool receives;    // new wrapping keys go there
  bool catches_up;  // a new wrapping key is what brings it into step
};

// A device that was not looked at yet may serve: it opens what its wrapping keys open and nothing else, and what is
// deleted no record names.
inline constexpr std::array<MirrorRow, kMirrorStates> kMirrorRows = {{
    {MirrorState::kUnseen, "unseen", true, true, false},
    {MirrorState::kAway, "away", false, false, false},
    {MirrorState::kForeign, "foreign", false, false, false},
    {MirrorState::kLagging, "lagging", false, true, true},
    {MirrorState::kOwing, "owing", true, true, false},
    {MirrorState::kInStep, "in step", true, true, false},
}};

constexpr const MirrorRow& RowOf(MirrorState state) { return kMirrorRows[static_cast<std::size_t>(state)]; }

}  // namespace cmkd::daemon

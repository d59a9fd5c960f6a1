// A script of faults for the simulated device: what goes wrong, when and how often. This is its form and its parser;
// what a script makes of one event is plan.h, and docs/faults.md explains it to people.
//
//   seed 42
//   on C_Encrypt,C_Sign* skip 100 times 3 return CKR_DEVICE_ERROR before
//   on * chance 5% delay exponential 4ms
//   on flash step 3 times 1 power-cut
//
// Pure: no file, no clock, no device.
#pragma once

#include <bitset>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "pkcs11/spec/call_table.h"

namespace cmkd::sim::faults {

inline constexpr std::size_t kScriptBytesMax = std::size_t{64} << 10;
inline constexpr std::size_t kRulesMax = 256;
inline constexpr std::chrono::nanoseconds kDurationMax = std::chrono::hours(1);
inline constexpr std::uint64_t kCountMax = 1'000'000'000'000;
inline constexpr std::uint32_t kStepMax = 100;
// Added to, or put in the place of, a length that the device reports.
inline constexpr std::int64_t kLengthMax = 1 << 20;
// A chance in millionths.
inline constexpr std::uint32_t kAlways = 1'000'000;

// Where something can go wrong.
enum class Point : std::uint8_t {
  kCall,       // a function of PKCS#11
  kFlash,      // a step of a write to the flash
  kZeroize,    // a step of the destruction of all keys
  kEntropy,    // a reading of the noise source
  kSignature,  // a signature that was just computed
};

enum class Action : std::uint8_t {
  kReturn,        // the call gives a code
  kDelay,         // the call takes longer
  kLength,        // the output's length is told wrongly
  kDropSessions,  // all sessions are gone
  kLogout,        // nobody is logged in
  kPowerCut,      // the process that the device is in ends at once
  kTamper,        // the case was opened: the device destroys its keys
  kNoise,         // the noise source is out of order
  kFlip,          // the computation went wrong by a bit
};

enum class When : std::uint8_t { kBefore, kAfter };  // the effect of the call
enum class Spread : std::uint8_t { kFixed, kUniform, kNormal, kExponential };
enum class Noise : std::uint8_t { kSound, kStuck, kBiased, kDead };

struct Rule {
  std::uint32_t line = 0;
  // Where it applies.
  Point point = Point::kCall;
  std::bitset<spec::kCallCount> calls;  // of kCall
  std::uint32_t step = 1;               // of kFlash
  // When it applies.
  std::uint64_t skip = 0;
  std::uint64_t every = 1;
  std::uint64_t times = std::numeric_limits<std::uint64_t>::max();
  std::uint32_t chance = kAlways;
  std::chrono::nanoseconds from{0};
  std::chrono::nanoseconds until = std::chrono::nanoseconds::max();
  // What it does.
  Action action = Action::kReturn;
  When when = When::kBefore;
  CK_RV rv = CKR_OK;
  Spread spread = Spread::kFixed;
  std::chrono::nanoseconds first{0};   // fixed, least, mean
  std::chrono::nanoseconds second{0};  // most, deviation
  std::int64_t length = 0;
  bool length_is_absolute = false;
  Noise noise = Noise::kSound;

  bool operator==(const Rule&) const = default;
};

struct Script {
  std::uint64_t seed = 1;
  std::vector<Rule> rules;
  bool operator==(const Script&) const = default;
};

struct ScriptError {
  std::uint32_t line = 0;  // from 1; 0: the script as a whole
  std::string what;
};

// Every unknown word, number out of bounds and combination that cannot happen is an error; nothing is guessed.
Result<Script, ScriptError> ParseScript(std::string_view text);

}  // namespace cmkd::sim::faults

// See plan.h.
#include "firmware_sim/faults/plan.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace cmkd::sim::faults {

namespace {

using std::chrono::nanoseconds;

// SplitMix64's finalizer: every bit of the input moves every bit of the output.
std::uint64_t Mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// The dice of one rule's n-th event; `throw_number` tells several throws apart.
class Dice {
 public:
  Dice(std::uint64_t seed, std::size_t rule, std::uint64_t met) : state_(Mix(Mix(seed ^ Mix(rule)) ^ met)) {}
  // In (0, 1].
  double Throw(std::uint64_t throw_number) const {
    return (static_cast<double>(Mix(state_ ^ throw_number) >> 11) + 1) * 0x1p-53;
  }

 private:
  std::uint64_t state_;
};

enum : std::uint64_t { kChance = 1, kDelayFirst = 2, kDelaySecond = 3 };

nanoseconds DelayOf(const Rule& rule, const Dice& dice) {
  const auto first = static_cast<double>(rule.first.count());
  const auto second = static_cast<double>(rule.second.count());
  double delay = first;
  switch (rule.spread) {
    case Spread::kFixed: break;
    case Spread::kUniform: delay = first + (second - first) * dice.Throw(kDelayFirst); break;
    case Spread::kExponential: delay = -first * std::log(dice.Throw(kDelayFirst)); break;
    case Spread::kNormal:
      delay = first + second * std::sqrt(-2 * std::log(dice.Throw(kDelayFirst))) *
                          std::cos(2 * std::numbers::pi * dice.Throw(kDelaySecond));
  }
  return nanoseconds(static_cast<std::int64_t>(std::clamp(delay, 0.0, static_cast<double>(kDurationMax.count()))));
}

bool Meets(const Rule& rule, const Event& event) {
  if (event.point != rule.point || event.time < rule.from || event.time >= rule.until) return false;
  if (rule.point == Point::kCall) return rule.calls.test(spec::Index(event.call));
  return rule.point != Point::kFlash || rule.step == event.step;
}

// Whether the rule does something, now that it has been met.
bool Fires(const Rule& rule, Count& count, const Dice& dice) {
  const std::uint64_t number = ++count.met;
  if (number <= rule.skip || (number - rule.skip - 1) % rule.every != 0 || count.done == rule.times) return false;
  if (rule.chance < kAlways && dice.Throw(kChance) * kAlways > rule.chance) return false;
  ++count.done;
  return true;
}

void Do(const Rule& rule, const Dice& dice, Decision& decision) {
  Effects& effects = rule.when == When::kBefore ? decision.before : decision.after;
  CK_RV& code = rule.when == When::kBefore ? decision.refuse : decision.answer;
  switch (rule.action) {
    case Action::kDelay:
      decision.delay = std::min(decision.delay + DelayOf(rule, dice), kDurationMax);
      return;  // without its line: too many to tell of
    case Action::kReturn:
      if (code == CKR_OK) code = rule.rv;
      break;
    case Action::kLength:
      if (!decision.length) decision.length = Length{rule.length, rule.length_is_absolute};
      break;
    case Action::kDropSessions: effects.drop_sessions = true; break;
    case Action::kLogout: effects.logout = true; break;
    case Action::kPowerCut: effects.power_cut = true; break;
    case Action::kTamper: effects.tamper = true; break;
    case Action::kNoise:
      if (decision.noise == Noise::kSound) decision.noise = rule.noise;
      break;
    case Action::kFlip: decision.flip = true; break;
  }
  if (decision.line == 0) decision.line = rule.line;
}

}  // namespace

CK_ULONG Length::Of(CK_ULONG length) const {
  const std::int64_t base = absolute ? 0 : static_cast<std::int64_t>(std::min<CK_ULONG>(length, 1ULL << 40));
  return static_cast<CK_ULONG>(std::max<std::int64_t>(0, base + value));
}

Decision Decide(const Script& script, Counts& counts, const Event& event) {
  Decision decision;
  for (std::size_t i = 0; i < script.rules.size(); ++i) {
    const Rule& rule = script.rules[i];
    if (!Meets(rule, event)) continue;
    const Dice dice(script.seed, i, counts[i].met);
    if (Fires(rule, counts[i], dice)) Do(rule, dice, decision);
  }
  return decision;
}

}  // namespace cmkd::sim::faults

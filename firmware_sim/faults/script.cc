// See script.h. One line is one rule: where, conditions, one action.
#include "firmware_sim/faults/script.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "pkcs11/spec/return_values.h"

namespace cmkd::sim::faults {

namespace {

using std::chrono::nanoseconds;
using Problem = std::string;
template <class T>
using Parsed = Result<T, Problem>;

std::string Quoted(std::string_view word) {
  std::string shown = "\"";
  for (const char c : word.substr(0, 40)) shown += c >= 0x20 && c < 0x7f ? c : '?';
  return shown + '"';
}

Parsed<std::uint64_t> ParseNumber(std::string_view word, std::uint64_t least, std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || value < least || value > most) {
    return Failure{"expected a number from " + std::to_string(least) + " to " + std::to_string(most) + ", not " +
                   Quoted(word)};
  }
  return value;
}

struct Unit {
  std::string_view name;
  std::uint64_t size;
};

// Digits, perhaps a point and more digits: exactly, in units of `size`.
std::optional<std::uint64_t> Scale(std::string_view digits, std::uint64_t size, std::uint64_t most) {
  std::uint64_t value = 0;
  std::uint64_t unit = size;
  bool seen_point = false;
  bool seen_digit = false;
  for (const char c : digits) {
    if (c == '.' && !seen_point) {
      seen_point = true;
      continue;
    }
    if (c < '0' || c > '9') return std::nullopt;
    seen_digit = true;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (seen_point) {
      unit /= 10;
      value += digit * unit;
    } else {
      if (value > most) return std::nullopt;
      value = value * 10 + digit * size;
    }
    if (value > most) return std::nullopt;
  }
  return seen_digit ? std::optional(value) : std::nullopt;
}

Parsed<nanoseconds> ParseDuration(std::string_view word) {
  static constexpr std::array<Unit, 5> kUnits = {
      {{"ns", 1}, {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}}};
  const std::size_t unit_at = std::min(word.find_first_not_of("0123456789."), word.size());
  for (const Unit& unit : kUnits) {
    if (word.substr(unit_at) != unit.name) continue;
    const auto value = Scale(word.substr(0, unit_at), unit.size, static_cast<std::uint64_t>(kDurationMax.count()));
    if (value) return nanoseconds(*value);
  }
  return Failure{"expected a duration such as 250us, 5ms, 1.5s or 2m, at most 60m, not " + Quoted(word)};
}

Parsed<std::uint32_t> ParseChance(std::string_view word) {
  if (word.ends_with('%')) {
    const auto value = Scale(word.substr(0, word.size() - 1), kAlways / 100, kAlways);
    if (value && *value > 0) return static_cast<std::uint32_t>(*value);
  }
  return Failure{"expected a chance such as 0.01%, 5% or 100%, not " + Quoted(word)};
}

// The words of one line, taken one after the other.
class Words {
 public:
  explicit Words(std::string_view line) : rest_(line) { Skip(); }
  bool AtEnd() const { return rest_.empty(); }
  std::string_view Peek() const { return rest_.substr(0, std::min(rest_.find_first_of(" \t"), rest_.size())); }
  std::string_view Take() {
    const std::string_view word = Peek();
    rest_.remove_prefix(word.size());
    Skip();
    return word;
  }
  bool TakeIf(std::string_view word) {
    if (Peek() != word) return false;
    Take();
    return true;
  }

 private:
  void Skip() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t"), rest_.size())); }
  std::string_view rest_;
};

// ---- Where

bool IsFunction(const spec::CallRow& row) { return row.arity != 0; }

bool Matches(std::string_view pattern, std::string_view name) {
  if (!pattern.ends_with('*')) return pattern == name;
  return name.starts_with(pattern.substr(0, pattern.size() - 1));
}

struct PlaceName {
  std::string_view name;
  Point point;
  std::string_view shown;
};
constexpr PlaceName kPlaces[] = {
    {"", Point::kCall, "a function"},
    {"flash", Point::kFlash, "the flash"},
    {"zeroize", Point::kZeroize, "a destruction of keys"},
    {"entropy", Point::kEntropy, "the noise source"},
    {"signature", Point::kSignature, "a signature"},
};

Parsed<void> AddCalls(std::string_view pattern, Rule& rule) {
  bool any = false;
  for (const spec::CallRow& row : spec::kCalls) {
    if (!IsFunction(row) || !Matches(pattern, row.name)) continue;
    rule.calls.set(spec::Index(row.id));
    any = true;
  }
  if (!any)
    return Failure{Quoted(pattern) +
                   " is no function of PKCS#11, nor \"flash\", \"zeroize\", \"entropy\" or \"signature\""};
  return {};
}

Parsed<void> ParsePlace(std::string_view word, Rule& rule) {
  for (const PlaceName& place : kPlaces) {
    if (word.empty() || word != place.name) continue;
    rule.point = place.point;
    return {};
  }
  for (std::size_t begin = 0; begin <= word.size();) {
    const std::size_t end = std::min(word.find(',', begin), word.size());
    RETURN_IF_ERROR(AddCalls(word.substr(begin, end - begin), rule));
    begin = end + 1;
  }
  return {};
}

// ---- When

// Whether the next words were a condition.
Parsed<bool> ParseCondition(Words& words, Rule& rule) {
  if (words.TakeIf("skip")) {
    ASSIGN_OR_RETURN(rule.skip, ParseNumber(words.Take(), 0, kCountMax));
  } else if (words.TakeIf("every")) {
    ASSIGN_OR_RETURN(rule.every, ParseNumber(words.Take(), 1, kCountMax));
  } else if (words.TakeIf("times")) {
    ASSIGN_OR_RETURN(rule.times, ParseNumber(words.Take(), 1, kCountMax));
  } else if (words.TakeIf("chance")) {
    ASSIGN_OR_RETURN(rule.chance, ParseChance(words.Take()));
  } else if (words.TakeIf("from")) {
    ASSIGN_OR_RETURN(rule.from, ParseDuration(words.Take()));
  } else if (words.TakeIf("until")) {
    ASSIGN_OR_RETURN(rule.until, ParseDuration(words.Take()));
  } else if (rule.point == Point::kFlash && words.TakeIf("step")) {
    ASSIGN_OR_RETURN(const std::uint64_t step, ParseNumber(words.Take(), 1, kStepMax));
    rule.step = static_cast<std::uint32_t>(step);
  } else {
    return false;
  }
  return true;
}

// ---- What

void ParseWhen(Words& words, Rule& rule) {
  if (words.TakeIf("after"))
    rule.when = When::kAfter;
  else
    (void)words.TakeIf("before");
}

Parsed<void> ParseReturn(Words& words, Rule& rule) {
  const std::string_view name = words.Take();
  const spec::ReturnValueRow* row = spec::FindReturnValue(name);
  if (row == nullptr || row->rv == CKR_OK) return Failure{Quoted(name) + " is no error of PKCS#11"};
  rule.rv = row->rv;
  if (rule.point == Point::kCall) ParseWhen(words, rule);
  return {};
}

Parsed<void> ParseDelay(Words& words, Rule& rule) {
  static constexpr std::array<std::pair<std::string_view, Spread>, 3> kSpreads = {
      {{"uniform", Spread::kUniform}, {"normal", Spread::kNormal}, {"exponential", Spread::kExponential}}};
  for (const auto& [name, spread] : kSpreads) {
    if (words.TakeIf(name)) rule.spread = spread;
  }
  ASSIGN_OR_RETURN(rule.first, ParseDuration(words.Take()));
  if (rule.spread != Spread::kUniform && rule.spread != Spread::kNormal) return {};
  ASSIGN_OR_RETURN(rule.second, ParseDuration(words.Take()));
  if (rule.spread == Spread::kUniform && rule.second < rule.first)
    return Failure{Problem("the longest delay is shorter than the shortest")};
  return {};
}

// "+3", "-1", "=0".
Parsed<void> ParseLength(Words& words, Rule& rule) {
  const std::string_view word = words.Take();
  const char sign = word.empty() ? '\0' : word.front();
  if (sign != '+' && sign != '-' && sign != '=')
    return Failure{"expected a length such as +1, -4 or =0, not " + Quoted(word)};
  ASSIGN_OR_RETURN(const std::uint64_t value, ParseNumber(word.substr(1), 0, kLengthMax));
  rule.length = static_cast<std::int64_t>(value) * (sign == '-' ? -1 : 1);
  rule.length_is_absolute = sign == '=';
  rule.when = When::kAfter;
  return {};
}

Parsed<void> ParseAction(Words& words, Rule& rule) {
  const std::string_view name = words.Take();
  static constexpr std::uint8_t kCalls = 1, kMemory = 2, kSource = 4, kSums = 8;
  struct Row {
    std::string_view name;
    Action action;
    std::uint8_t places;
    Noise noise;
  };
  static constexpr Row kActions[] = {
      {"return", Action::kReturn, kCalls | kMemory, Noise::kSound},
      {"delay", Action::kDelay, kCalls | kMemory, Noise::kSound},
      {"length", Action::kLength, kCalls, Noise::kSound},
      {"drop-sessions", Action::kDropSessions, kCalls, Noise::kSound},
      {"logout", Action::kLogout, kCalls, Noise::kSound},
      {"power-cut", Action::kPowerCut, kCalls | kMemory, Noise::kSound},
      {"tamper", Action::kTamper, kCalls, Noise::kSound},
      {"stuck", Action::kNoise, kSource, Noise::kStuck},
      {"biased", Action::kNoise, kSource, Noise::kBiased},
      {"dead", Action::kNoise, kSource, Noise::kDead},
      {"flip", Action::kFlip, kSums, Noise::kSound},
  };
  const auto* row =
      std::find_if(std::begin(kActions), std::end(kActions), [&](const Row& r) { return r.name == name; });
  if (row == std::end(kActions)) return Failure{Quoted(name) + " is neither a condition nor an action"};
  const std::uint8_t place = rule.point == Point::kCall        ? kCalls
                             : rule.point == Point::kEntropy   ? kSource
                             : rule.point == Point::kSignature ? kSums
                                                               : kMemory;
  if ((row->places & place) == 0)
    return Failure{Quoted(name) + " cannot happen to " +
                   std::string(kPlaces[static_cast<std::size_t>(rule.point)].shown)};
  rule.action = row->action;
  rule.noise = row->noise;
  switch (rule.action) {
    case Action::kReturn: return ParseReturn(words, rule);
    case Action::kDelay: return ParseDelay(words, rule);
    case Action::kLength: return ParseLength(words, rule);
    case Action::kDropSessions:
    case Action::kLogout:
    case Action::kPowerCut:
    case Action::kTamper:
      if (rule.point == Point::kCall) ParseWhen(words, rule);
      return {};
    case Action::kNoise:
    case Action::kFlip: return {};
  }
  return {};
}

Parsed<Rule> ParseRule(Words& words) {
  Rule rule;
  RETURN_IF_ERROR(ParsePlace(words.Take(), rule));
  for (;;) {
    ASSIGN_OR_RETURN(const bool was_condition, ParseCondition(words, rule));
    if (!was_condition) break;
  }
  if (rule.until <= rule.from) return Failure{Problem("it ends before it begins")};
  RETURN_IF_ERROR(ParseAction(words, rule));
  if (!words.AtEnd()) return Failure{Quoted(words.Peek()) + " is too much"};
  return rule;
}

Parsed<void> ParseLine(std::string_view line, std::uint32_t number, Script& script) {
  Words words(line.substr(0, std::min(line.find('#'), line.size())));
  if (words.AtEnd()) return {};
  const std::string_view verb = words.Take();
  if (verb == "seed") {
    ASSIGN_OR_RETURN(script.seed, ParseNumber(words.Take(), 0, std::numeric_limits<std::uint64_t>::max()));
    if (!words.AtEnd()) return Failure{Quoted(words.Peek()) + " is too much"};
    return {};
  }
  if (verb != "on") return Failure{"a line begins with \"on\" or \"seed\", not with " + Quoted(verb)};
  if (script.rules.size() == kRulesMax) return Failure{"more than " + std::to_string(kRulesMax) + " rules"};
  ASSIGN_OR_RETURN(Rule rule, ParseRule(words));
  rule.line = number;
  script.rules.push_back(rule);
  return {};
}

}  // namespace

Result<Script, ScriptError> ParseScript(std::string_view text) {
  if (text.size() > kScriptBytesMax)
    return Failure{ScriptError{0, "longer than " + std::to_string(kScriptBytesMax) + " bytes"}};
  Script script;
  std::uint32_t number = 1;
  for (std::size_t begin = 0; begin < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (auto parsed = ParseLine(line, number, script); !parsed.ok())
      return Failure{ScriptError{number, std::move(parsed.error())}};
    begin = end + 1;
  }
  return script;
}

}  // namespace cmkd::sim::faults

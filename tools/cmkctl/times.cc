// From RFC 3339 to local time.
#include "tools/cmkctl/times.h"

#include <time.h>

#include <array>
#include <cctype>

namespace cmkd::tools {

namespace {

enum class Precision { kMinutes, kSeconds };

std::string Format(std::int64_t seconds, Precision precision) {
  const time_t t = static_cast<time_t>(seconds);
  tm local{};
  std::array<char, 64> text{};
  if (::localtime_r(&t, &local) == nullptr) return std::to_string(seconds);
  const std::size_t size = precision == Precision::kSeconds
                               ? ::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local)
                               : ::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M", &local);
  return {text.data(), size};
}

std::string Shown(std::string_view utc, Precision precision) {
  const std::optional<std::int64_t> seconds = ParseUtc(utc);
  return seconds ? Format(*seconds, precision) : std::string(utc);
}

}  // namespace

std::optional<std::int64_t> ParseUtc(std::string_view text) {
  // yyyy-mm-ddThh:mm:ss, then perhaps a fraction, then Z.
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  if (text.size() <= kShape.size() || text.back() != 'Z') return std::nullopt;
  for (std::size_t i = 0; i < kShape.size(); ++i) {
    const bool fits = kShape[i] == '0' ? std::isdigit(static_cast<unsigned char>(text[i])) != 0 : text[i] == kShape[i];
    if (!fits) return std::nullopt;
  }
  const std::string_view fraction = text.substr(kShape.size(), text.size() - kShape.size() - 1);
  if (!fraction.empty() &&
      (fraction[0] != '.' || fraction.find_first_not_of("0123456789", 1) != std::string_view::npos)) {
    return std::nullopt;
  }
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (std::size_t i = at; i < at + digits; ++i) value = value * 10 + (text[i] - '0');
    return value;
  };
  tm utc{};
  utc.tm_year = number(0, 4) - 1900;
  utc.tm_mon = number(5, 2) - 1;
  utc.tm_mday = number(8, 2);
  utc.tm_hour = number(11, 2);
  utc.tm_min = number(14, 2);
  utc.tm_sec = number(17, 2);
  return static_cast<std::int64_t>(::timegm(&utc));
}

std::string LocalTime(std::string_view utc) { return Shown(utc, Precision::kMinutes); }
std::string LocalTimeWithSeconds(std::string_view utc) { return Shown(utc, Precision::kSeconds); }
std::string LocalTimeOf(std::int64_t nanoseconds) { return Format(nanoseconds / 1'000'000'000, Precision::kSeconds); }

std::string Span(std::int64_t seconds) {
  struct Unit {
    std::int64_t seconds;
    const char* name;
  };
  constexpr std::array kUnits = {Unit{86400, " d"}, Unit{3600, " h"}, Unit{60, " min"}, Unit{1, " s"}};
  for (std::size_t i = 0; i < kUnits.size(); ++i) {
    if (seconds < kUnits[i].seconds && i + 1 < kUnits.size()) continue;
    std::string text = std::to_string(seconds / kUnits[i].seconds) + kUnits[i].name;
    const std::int64_t rest = seconds % kUnits[i].seconds;
    if (i + 1 < kUnits.size() && rest >= kUnits[i + 1].seconds) {
      text += ' ' + std::to_string(rest / kUnits[i + 1].seconds) + kUnits[i + 1].name;
    }
    return text;
  }
  return "0 s";
}

}  // namespace cmkd::tools

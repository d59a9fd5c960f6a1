// Widths, padding and colours.
#include "tools/cmkctl/table.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace cmkd::tools {

namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// Characters that combine with the one before, and those that East Asian Width (Unicode Annex 11) calls wide, in ranges
// rough enough to be short.
constexpr std::array kCombining = {Range{0x0300, 0x036F}, Range{0x200B, 0x200F}, Range{0x20D0, 0x20FF},
                                   Range{0xFE00, 0xFE0F}, Range{0xFE20, 0xFE2F}};
constexpr std::array kWide = {Range{0x1100, 0x115F},   Range{0x2E80, 0x303E},  Range{0x3041, 0xA4CF},
                              Range{0xAC00, 0xD7A3},   Range{0xF900, 0xFAFF},  Range{0xFE30, 0xFE6F},
                              Range{0xFF00, 0xFF60},   Range{0xFFE0, 0xFFE6},  Range{0x1F300, 0x1F64F},
                              Range{0x1F900, 0x1F9FF}, Range{0x20000, 0x3FFFD}};

template <std::size_t n>
bool IsIn(char32_t c, const std::array<Range, n>& ranges) {
  return std::any_of(ranges.begin(), ranges.end(), [c](const Range& r) { return c >= r.first && c <= r.last; });
}

constexpr char32_t kBroken = 0xFFFFFFFF;

// Takes one character off the front; kBroken (one byte is taken) when no well-formed UTF-8 stands there.
char32_t TakeCharacter(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  const std::size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
  char32_t value = length <= 1 ? lead : static_cast<char32_t>(lead & (0x7F >> length));
  bool good = length != 0 && length <= text.size() && lead < 0xF5;
  for (std::size_t i = 1; good && i < length; ++i) {
    good = (byte(i) & 0xC0) == 0x80;
    value = value << 6 | (byte(i) & 0x3F);
  }
  constexpr std::array<char32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  good = good && value >= kLeast[length] && value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF);
  text.remove_prefix(good ? length : 1);
  return good ? value : kBroken;
}

// Controls, and the marks that turn the direction of writing round.
bool IsObeyed(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) ||
         c == kBroken;
}

std::string_view CodeOf(Tone tone) {
  switch (tone) {
    case Tone::kGood: return "32";
    case Tone::kCaution: return "33";
    case Tone::kBad: return "31";
    case Tone::kFaint: return "2";
    case Tone::kStrong: return "1";
    case Tone::kPlain: break;
  }
  return {};
}

Cell Shown(const Cell& cell) {
  return cell.text.empty() ? Cell("-", Tone::kFaint) : Cell(Harmless(cell.text), cell.tone);
}

void Append(std::string& line, const Cell& cell, std::size_t width, bool right, bool colour) {
  const std::string padding(width - std::min(width, DisplayWidth(cell.text)), ' ');
  if (right) line += padding;
  line += Painted(cell.text, cell.tone, colour);
  if (!right) line += padding;
}

}  // namespace

std::size_t DisplayWidth(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const char32_t c = TakeCharacter(text);
    width += IsIn(c, kCombining) ? 0 : IsIn(c, kWide) ? 2 : 1;
  }
  return width;
}

std::string Harmless(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    const std::string_view before = text;
    const char32_t c = TakeCharacter(text);
    if (IsObeyed(c)) {
      safe.push_back('?');
    } else {
      safe.append(before.substr(0, before.size() - text.size()));
    }
  }
  return safe;
}

std::string Painted(std::string_view text, Tone tone, bool colour) {
  const std::string_view code = CodeOf(tone);
  if (!colour || code.empty() || text.empty()) return std::string(text);
  return "\033[" + std::string(code) + "m" + std::string(text) + "\033[0m";
}

std::string Table::Print(bool colour) const {
  std::vector<std::vector<Cell>> lines(1);
  for (const Column& column : columns_) lines[0].emplace_back(column.title, Tone::kStrong);
  for (const std::vector<Cell>& row : rows_) {
    std::vector<Cell>& line = lines.emplace_back();
    for (std::size_t i = 0; i < columns_.size(); ++i) line.push_back(Shown(i < row.size() ? row[i] : Cell("")));
  }
  std::vector<std::size_t> widths(columns_.size(), 0);
  for (const std::vector<Cell>& line : lines) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(line[i].text));
  }
  std::string text;
  for (const std::vector<Cell>& cells : lines) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i != 0) line += "  ";
      Append(line, cells[i], widths[i], columns_[i].right, colour);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string Facts::Print(bool colour, std::string_view indent) const {
  std::size_t width = 0;
  for (const auto& [name, value] : rows_) width = std::max(width, value.text.empty() ? 0 : DisplayWidth(name));
  std::string text;
  for (const auto& [name, value] : rows_) {
    if (value.text.empty()) continue;
    text += indent;
    Append(text, Cell(name, Tone::kStrong), width, false, colour);
    text += "  " + Painted(Harmless(value.text), value.tone, colour) + '\n';
  }
  return text;
}

}  // namespace cmkd::tools

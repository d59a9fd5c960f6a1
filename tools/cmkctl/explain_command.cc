// cmkctl explain: what a return value, a detail code or a refusal means.
#include <algorithm>
#include <cctype>
#include <charconv>

#include "keystore/cmk/state.h"
#include "pkcs11/spec/return_values.h"
#include "pkcs11/spec/vendor.h"
#include "tools/cmkctl/commands.h"

namespace cmkd::tools {

namespace {

std::string Hexadecimal(std::uint64_t number) {
  std::string digits(16, '0');
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, 16).ptr;
  digits.erase(static_cast<std::size_t>(end - digits.data()));
  return "0x" + std::string(digits.size() < 8 ? 8 - digits.size() : 0, '0') + digits;
}

// Letters and digits alone, in capitals: pin-incorrect finds CKR_PIN_INCORRECT, key_preactive KEY_PRE_ACTIVE.
std::string Folded(std::string_view text) {
  std::string folded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) folded.push_back(static_cast<char>(std::toupper(byte)));
  }
  return folded;
}

// Everything that one code means.
struct Meanings {
  std::vector<Object> documents;
  std::string text;
};

void AddReturnValue(Meanings& meanings, const spec::ReturnValueRow& row, bool colour) {
  meanings.documents.push_back(std::move(Object()
                                             .Set("kind", "return value")
                                             .Set("name", row.name)
                                             .Set("number", std::uint64_t{row.rv})
                                             .Set("message", row.sentence)));
  meanings.text += Painted(row.name, Tone::kStrong, colour) + "  return value " + Hexadecimal(row.rv) + '\n';
  Facts facts;
  facts.Add("meaning", std::string(row.sentence));
  meanings.text += facts.Print(false, "  ");
}

std::uint64_t NumberOf(const cmk::RefusalRow& row) { return static_cast<std::uint64_t>(row.refusal); }

// The line above a reason: its name and the number that C_GetSessionInfo shows.
std::string ReasonTitle(std::string_view name, std::uint64_t number, bool colour) {
  return Painted(name, Tone::kStrong, colour) + "  reason for a refusal, ulDeviceError " + std::to_string(number) +
         '\n';
}

void AddRefusal(Meanings& meanings, const cmk::RefusalRow& row, bool colour) {
  meanings.documents.push_back(std::move(Object()
                                             .Set("kind", "reason")
                                             .Set("name", row.name)
                                             .Set("number", NumberOf(row))
                                             .Set("message", row.state)
                                             .Set("rule", row.rule)
                                             .Set("remedy", row.remedy)
                                             .Set("alarm", row.alarm)));
  Facts facts;
  facts.Add("state", std::string(row.state));
  facts.Add("rule", std::string(row.rule));
  facts.Add("remedy", std::string(row.remedy));
  if (row.alarm) facts.Add("alarm", "An attempt is recorded as an alarm.");
  meanings.text += ReasonTitle(row.name, NumberOf(row), colour) + facts.Print(false, "  ");
}

void AddDetail(Meanings& meanings, const spec::DetailRow& row, bool colour) {
  meanings.documents.push_back(std::move(Object()
                                             .Set("kind", "reason")
                                             .Set("name", row.name)
                                             .Set("number", std::uint64_t{row.code})
                                             .Set("message", row.sentence)));
  Facts facts;
  facts.Add("meaning", std::string(row.sentence));
  meanings.text += ReasonTitle(row.name, row.code, colour) + facts.Print(false, "  ");
}

std::optional<std::uint64_t> ParseNumber(std::string_view text) {
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  if (hexadecimal) text.remove_prefix(2);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, hexadecimal ? 16 : 10);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Every row that `wanted` wants, asked with name and number.
template <class Wanted>
void AddWhere(Meanings& meanings, bool colour, const Wanted& wanted) {
  for (const cmk::RefusalRow& row : cmk::Refusals()) {
    if (wanted(row.name, NumberOf(row))) AddRefusal(meanings, row, colour);
  }
  for (const spec::DetailRow& row : spec::kDetails) {
    if (wanted(row.name, std::uint64_t{row.code})) AddDetail(meanings, row, colour);
  }
  for (const spec::ReturnValueRow& row : spec::ReturnValues()) {
    if (wanted(row.name, std::uint64_t{row.rv})) AddReturnValue(meanings, row, colour);
  }
}

// A number may be a return value as well as a reason, and then both are shown.
Meanings Find(const std::string& code, bool colour) {
  Meanings found;
  if (code.empty()) {
    AddWhere(found, colour, [](std::string_view, std::uint64_t) { return true; });
  } else if (const std::optional<std::uint64_t> asked = ParseNumber(code)) {
    AddWhere(found, colour, [&](std::string_view, std::uint64_t number) { return number == *asked; });
  } else {
    const std::string folded = Folded(code);
    AddWhere(found, colour, [&](std::string_view name, std::uint64_t) {
      const std::string own = Folded(name);
      return own == folded || own == "CKR" + folded;
    });
  }
  return found;
}

// Names in which a word begins with what was typed.
std::string Similar(std::string_view typed) {
  const std::string folded = Folded(typed);
  std::string names;
  const auto consider = [&](std::string_view name) {
    for (std::string_view rest = name; folded.size() >= 3 && !rest.empty();) {
      if (Folded(rest).starts_with(folded)) {
        names.append(names.empty() ? "" : ", ").append(name);
        return;
      }
      const std::size_t blank = rest.find('_');
      rest = blank == std::string_view::npos ? std::string_view{} : rest.substr(blank + 1);
    }
  };
  for (const cmk::RefusalRow& row : cmk::Refusals()) consider(row.name);
  for (const spec::DetailRow& row : spec::kDetails) consider(row.name);
  for (const spec::ReturnValueRow& row : spec::ReturnValues()) consider(row.name);
  return names;
}

Problem Unknown(const std::string& code) {
  const std::string similar = Similar(code);
  return {ExitStatus::kUsage,
          "UNKNOWN_CODE",
          "Nothing is called \"" + code + "\".",
          {},
          similar.empty() ? "cmkctl explain without a code shows everything there is." : "There is: " + similar + "."};
}

}  // namespace

int Explain(const Context& context, const std::string& code) {
  const Meanings meanings = Find(code, context.screen.colour);
  if (meanings.documents.empty()) return Report(context.screen, Unknown(code));
  context.screen.Show(Object().Set("meanings", meanings.documents).ToValue(), meanings.text);
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace cmkd::tools

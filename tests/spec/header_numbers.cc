// A reader for #define lines, and the little arithmetic that PKCS#11 headers use in them.
#include "tests/spec/header_numbers.h"

#include <cctype>
#include <fstream>
#include <string_view>

namespace cmkd::spec::test {
namespace {

// Left to right without precedence, which is enough: headers put parentheses where it would matter.
class Expression {
 public:
  Expression(std::string_view text, const Numbers& known) : text_(text), known_(known) {}

  std::optional<unsigned long> Value() {
    const std::optional<unsigned long> value = Sum();
    Skip();
    return text_.empty() ? value : std::nullopt;
  }

 private:
  void Skip() {
    while (!text_.empty() && std::isspace(static_cast<unsigned char>(text_.front())) != 0) text_.remove_prefix(1);
  }

  bool Take(std::string_view token) {
    Skip();
    if (!text_.starts_with(token)) return false;
    text_.remove_prefix(token.size());
    return true;
  }

  std::string Word() {
    Skip();
    std::size_t length = 0;
    while (length < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[length])) != 0 || text_[length] == '_')) {
      ++length;
    }
    const std::string word(text_.substr(0, length));
    text_.remove_prefix(length);
    return word;
  }

  std::optional<unsigned long> Sum() {
    std::optional<unsigned long> value = Operand();
    while (value) {
      const bool either = Take("|");
      const bool shift = !either && Take("<<");
      if (!either && !shift && !Take("+")) break;
      const std::optional<unsigned long> right = Operand();
      if (!right) return std::nullopt;
      value = either ? *value | *right : shift ? *value << *right : *value + *right;
    }
    return value;
  }

  std::optional<unsigned long> Operand() {
    if (Take("(unsigned long)")) return Operand();
    if (Take("(")) {
      const std::optional<unsigned long> value = Sum();
      return Take(")") ? value : std::nullopt;
    }
    return Number(Word());
  }

  std::optional<unsigned long> Number(const std::string& word) const {
    if (word.empty()) return std::nullopt;
    if (std::isdigit(static_cast<unsigned char>(word[0])) == 0) {
      const auto found = known_.find(word);
      return found == known_.end() ? std::nullopt : std::optional(found->second);
    }
    std::size_t used = 0;
    const unsigned long value = std::stoul(word, &used, 0);
    const std::string suffix = word.substr(used);
    return suffix.find_first_not_of("uUlL") == std::string::npos ? std::optional(value) : std::nullopt;
  }

  std::string_view text_;
  const Numbers& known_;
};

std::string WithoutComment(std::string line) {
  for (const char* const mark : {"/*", "//"}) {
    if (const auto at = line.find(mark); at != std::string::npos) line.erase(at);
  }
  return line;
}

}  // namespace

std::optional<Numbers> ReadNumbers(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  Numbers numbers;
  for (std::string line; std::getline(file, line);) {
    line = WithoutComment(line);
    const auto name_at = line.find_first_not_of(" \t", 7);
    if (!line.starts_with("#define") || name_at == std::string::npos || !line.substr(name_at).starts_with("CK"))
      continue;
    const auto name_end = line.find_first_of(" \t", name_at);
    if (name_end == std::string::npos) continue;
    const std::optional<unsigned long> value = Expression(std::string_view(line).substr(name_end), numbers).Value();
    if (value) numbers[line.substr(name_at, name_end - name_at)] = *value;
  }
  return numbers;
}

}  // namespace cmkd::spec::test

// Reads the numbers of a PKCS#11 header as text, since the headers of different packages cannot be included together.
#pragma once

#include <map>
#include <optional>
#include <string>

namespace cmkd::spec::test {

// Name of a macro to its number.
using Numbers = std::map<std::string, unsigned long>;

// Every `#define CK…_ …` of the file whose value is made of numbers, other names of the file, |, +, <<, casts and
// parentheses. nullopt when the file cannot be read.
std::optional<Numbers> ReadNumbers(const std::string& path);

}  // namespace cmkd::spec::test

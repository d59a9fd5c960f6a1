// tests/ACCEPTANCE.md names the tests that hold the features of a key management service: each of them must be there.
#include <gtest/gtest.h>

#include <regex>
#include <set>

#include "tests/source/source_tree.h"

namespace cmkd::tests {
namespace {

// "Suite.Name" of every test in C++, and the path of every script below tests.
std::set<std::string> Tests() {
  std::set<std::string> names;
  const std::regex begin(R"(^TEST(_F|_P)?\((\w+), (\w+)\))");
  for (const SourceFile& file : SourceTree()) {
    if (!file.IsIn("tests")) continue;
    if (file.HasSuffix(".sh")) names.insert(file.path.substr(6));
    std::smatch found;
    for (const std::string& line : file.lines) {
      if (std::regex_search(line, found, begin)) names.insert(found[2].str() + "." + found[3].str());
    }
  }
  return names;
}

TEST(AcceptanceTable, NamesTestsThatAreThere) {
  const std::set<std::string> tests = Tests();
  const std::regex named(R"(`(\w+\.\w+|[\w/-]+\.sh)`)");
  std::size_t rows = 0, names = 0;
  for (const SourceFile& file : SourceTree()) {
    if (file.path != "tests/ACCEPTANCE.md") continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      if (!line.starts_with("| ") || line.starts_with("| row") || line.starts_with("| check")) continue;
      ++rows;
      const std::size_t before = names;
      for (auto it = std::sregex_iterator(line.begin(), line.end(), named); it != std::sregex_iterator(); ++it) {
        ++names;
        EXPECT_TRUE(tests.contains((*it)[1].str())) << Where(file, i) << (*it)[1].str();
      }
      EXPECT_GT(names, before) << Where(file, i) << "a row without a test";
    }
  }
  EXPECT_GE(rows, 60u);
}

}  // namespace
}  // namespace cmkd::tests

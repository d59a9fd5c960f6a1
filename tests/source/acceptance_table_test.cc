// Tables of documents that name the tests which hold what they say: each of them must be there.
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

struct Table {
  std::string_view path;
  std::size_t rows_min;
};
constexpr Table kTables[] = {
    {"tests/ACCEPTANCE.md", 60},   // the features of a key management service
    {"docs/firmware_sim.md", 20},  // what a validated device has to do
    {"tests/CONSUMERS.md", 25},    // the needs of real programs
};

bool IsHead(const std::string& line) {
  return line.starts_with("| row") || line.starts_with("| check") || line.starts_with("| requirement");
}

TEST(AcceptanceTable, NamesTestsThatAreThere) {
  const std::set<std::string> tests = Tests();
  const std::regex named(R"(`(\w+\.\w+|[\w/-]+\.sh)`)");
  for (const Table& table : kTables) {
    std::size_t rows = 0;
    for (const SourceFile& file : SourceTree()) {
      if (file.path != table.path) continue;
      bool in_table = false;
      for (std::size_t i = 0; i < file.lines.size(); ++i) {
        const std::string& line = file.lines[i];
        // A table of another kind, with another head, is none of ours.
        in_table = line.starts_with("|") && (in_table || IsHead(line));
        if (!in_table || IsHead(line) || !line.starts_with("| ")) continue;
        ++rows;
        std::size_t names = 0;
        for (auto it = std::sregex_iterator(line.begin(), line.end(), named); it != std::sregex_iterator(); ++it) {
          ++names;
          EXPECT_TRUE(tests.contains((*it)[1].str())) << Where(file, i) << (*it)[1].str();
        }
        EXPECT_GT(names, 0u) << Where(file, i) << "a row without a test";
      }
    }
    EXPECT_GE(rows, table.rows_min) << table.path;
  }
}

// The other way round: a test of a quirk that no row names protects nobody in particular.
TEST(AcceptanceTable, EveryQuirkIsInTheTableOfPrograms) {
  std::string table;
  for (const SourceFile& file : SourceTree()) {
    if (file.path != "tests/CONSUMERS.md") continue;
    for (const std::string& line : file.lines) table += line;
  }
  for (const std::string& test : Tests()) {
    const bool quirk = test.starts_with("Quirk.") || test.starts_with("KeyQuirk.");
    EXPECT_TRUE(!quirk || table.find('`' + test + '`') != std::string::npos) << test;
  }
}

}  // namespace
}  // namespace cmkd::tests

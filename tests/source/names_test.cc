// Small rules for every file that people write: how it begins, what it is called, and what it must not say.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <string>
#include <string_view>

#include "tests/source/source_tree.h"

namespace cmkd::tests {
namespace {

// Each word is typed in two halves, so that this file may say what no file may say.
constexpr std::string_view kUnfinished[] = {
    "TO"
    "DO",
    "FIX"
    "ME",
    "XX"
    "X",
    "HA"
    "CK"};
constexpr std::string_view kUnfinishedInCode[] = {
    "st"
    "ub",
    "St"
    "ub"};
constexpr std::string_view kPlacesOfOneMachine[] = {
    "/wo"
    "rk/",
    "/ro"
    "ot/",
    "/tmp/"
    "build-",
    "/tmp/"
    "brief"};

std::string_view FileName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool IsSnakeCase(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return std::islower(static_cast<unsigned char>(c)) != 0 || std::isdigit(static_cast<unsigned char>(c)) != 0 ||
           c == '_';
  });
}

// How a comment begins in this kind of file; empty when the kind has no comments or needs none.
std::string_view CommentMark(const SourceFile& file) {
  if (file.IsCpp() || file.HasSuffix(".java") || file.HasSuffix(".c")) return "//";
  for (const std::string_view suffix : {".sh", ".cmake", ".toml", ".py", "CMakeLists.txt", ".ci/run"}) {
    if (file.HasSuffix(suffix)) return "#";
  }
  return {};
}

bool BeginsWithComment(const SourceFile& file, std::string_view mark) {
  std::size_t first = 0;
  if (!file.lines.empty() && file.lines[0].starts_with("#!")) first = 1;
  return file.lines.size() > first && file.lines[first].starts_with(mark) && file.lines[first].size() > mark.size() + 1;
}

void ExpectNoWord(const SourceFile& file, std::string_view word) {
  for (std::size_t i = 0; i < file.lines.size(); ++i) EXPECT_FALSE(HasWord(file.lines[i], word)) << Where(file, i);
}

TEST(Names, WordsAreFoundWholeAndCodeWithoutItsComment) {
  EXPECT_TRUE(HasWord("a word, alone", "word"));
  EXPECT_FALSE(HasWord("swords and words", "word"));
  EXPECT_TRUE(HasWord("words, then word", "word"));
  EXPECT_EQ(CodeOf("x = 1;  // assert"), "x = 1;  ");
  EXPECT_EQ(CodeOf("Print(\"assert // \\\" \");"), "Print(\");");
}

TEST(Names, EverySourceBeginsWithACommentThatSaysWhatItIsFor) {
  for (const SourceFile& file : SourceTree()) {
    const std::string_view mark = CommentMark(file);
    EXPECT_TRUE(mark.empty() || BeginsWithComment(file, mark)) << file.path;
  }
}

TEST(Names, FilesOfCodeAreNamedInSnakeCase) {
  for (const SourceFile& file : SourceTree()) {
    if (!file.IsCpp()) continue;
    const std::string_view name = FileName(file.path);
    EXPECT_TRUE(IsSnakeCase(name.substr(0, name.rfind('.')))) << file.path;
  }
}

TEST(Names, HeadersAreIncludedOnceAndOpenNoNamespaceForOthers) {
  for (const SourceFile& file : SourceTree()) {
    if (!file.IsHeader()) continue;
    EXPECT_NE(std::find(file.lines.begin(), file.lines.end(), "#pragma once"), file.lines.end()) << file.path;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      EXPECT_FALSE(file.lines[i].starts_with("using namespace")) << Where(file, i);
    }
  }
}

// The name of the type that a line begins to define at the outermost level; empty when it defines none.
std::string_view DefinedType(std::string_view line) {
  for (const std::string_view begin : {"struct ", "class ", "enum class ", "union "}) {
    if (!line.starts_with(begin)) continue;
    const std::string_view rest = line.substr(begin.size());
    const auto end = std::find_if(rest.begin(), rest.end(),
                                  [](char c) { return c != '_' && std::isalnum(static_cast<unsigned char>(c)) == 0; });
    const auto after = static_cast<std::size_t>(end - rest.begin());
    // Specialisations of others' templates, and members of types that are defined elsewhere.
    const bool qualified = rest.substr(after).starts_with("::") || rest.substr(after).starts_with("<");
    return line.find('{') == std::string_view::npos || qualified ? std::string_view() : rest.substr(0, after);
  }
  return {};
}

// C++'s one-definition rule: no compiler tells of two types of one name, and the linker takes either's functions.
TEST(Names, ATypeOfANamespaceIsDefinedInOneHeader) {
  std::map<std::string, std::string> places;
  for (const SourceFile& file : SourceTree()) {
    if (!file.IsHeader() || file.IsIn("tests") || file.IsIn("conformance")) continue;
    std::string space;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      if (line.starts_with("namespace ")) space = line;
      const std::string_view type = DefinedType(line);
      if (type.empty()) continue;
      const auto [first, only] = places.emplace(space + std::string(type), Where(file, i));
      EXPECT_TRUE(only) << Where(file, i) << "\n" << first->second;
    }
  }
  EXPECT_GT(places.size(), 300u);
}

TEST(Names, NothingIsLeftUnfinished) {
  for (const SourceFile& file : SourceTree()) {
    for (const std::string_view word : kUnfinished) ExpectNoWord(file, word);
    if (!file.IsCpp()) continue;
    for (const std::string_view word : kUnfinishedInCode) ExpectNoWord(file, word);
  }
}

TEST(Names, NothingSpeaksOfOneMachine) {
  for (const SourceFile& file : SourceTree()) {
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      for (const std::string_view place : kPlacesOfOneMachine) {
        EXPECT_EQ(file.lines[i].find(place), std::string::npos) << Where(file, i);
      }
    }
  }
}

}  // namespace
}  // namespace cmkd::tests

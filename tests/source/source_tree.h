// The project's own files, as the tests of this folder read them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cmkd::tests {

// One text file of the tree.
struct SourceFile {
  std::string path;                // relative to the root, with '/'
  std::vector<std::string> lines;  // without line ends

  bool HasSuffix(std::string_view suffix) const { return std::string_view(path).ends_with(suffix); }
  bool IsHeader() const { return HasSuffix(".h"); }
  bool IsCpp() const { return IsHeader() || HasSuffix(".cc"); }
  // True for files in `folder` or below it, and for the file `folder` itself.
  bool IsIn(std::string_view folder) const;
};

// Every text file of the project that people write: no build trees, no hidden folders but .ci, no test vectors. Sorted
// by path; read once per process.
const std::vector<SourceFile>& SourceTree();

// True when a file with this root-relative path exists.
bool ExistsInTree(std::string_view path);

// "path:line: text", the way compilers say it, so that editors can jump there. `line` counts from 0.
std::string Where(const SourceFile& file, std::size_t line);

// True when `word` stands in `text` with no letter, digit or underscore on either side.
bool HasWord(std::string_view text, std::string_view word);

// The code of a line: what stands before a // comment, without the content of string literals.
std::string CodeOf(std::string_view line);

}  // namespace cmkd::tests

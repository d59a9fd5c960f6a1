// Reads the project's tree for the tests of this folder.
#include "tests/source/source_tree.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>

namespace cmkd::tests {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 16> kTextSuffixes = {".h",    ".cc",   ".c",      ".cmake",  ".txt",  ".sh",
                                                            ".py",   ".java", ".md",     ".toml",   ".conf", ".json",
                                                            ".yaml", ".in",   ".module", ".service"};

const fs::path& Root() {
  static const fs::path root = CMKD_SOURCE_DIR;
  return root;
}

bool IsSkippedFolder(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (name.starts_with('.')) return name != ".ci";
  return name == "vectors" || name == "seeds" || name == "__pycache__" ||
         (name.starts_with("build") && folder.parent_path() == Root());
}

bool IsText(const fs::path& file) {
  const std::string suffix = file.extension().string();
  if (suffix.empty()) return file.parent_path().filename() == ".ci";
  return std::find(kTextSuffixes.begin(), kTextSuffixes.end(), suffix) != kTextSuffixes.end();
}

SourceFile ReadSource(const fs::path& path) {
  SourceFile source;
  source.path = fs::relative(path, Root()).generic_string();
  std::ifstream stream(path);
  for (std::string line; std::getline(stream, line);) source.lines.push_back(line);
  return source;
}

std::vector<SourceFile> ReadTree() {
  std::vector<SourceFile> files;
  auto walk = fs::recursive_directory_iterator(Root());
  for (const auto& entry : walk) {
    if (entry.is_directory() && IsSkippedFolder(entry.path())) walk.disable_recursion_pending();
    if (entry.is_regular_file() && IsText(entry.path())) files.push_back(ReadSource(entry.path()));
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

bool IsWordCharacter(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

}  // namespace

bool SourceFile::IsIn(std::string_view folder) const {
  const std::string_view view = path;
  return view.starts_with(folder) && (view.size() == folder.size() || view[folder.size()] == '/');
}

const std::vector<SourceFile>& SourceTree() {
  static const std::vector<SourceFile> tree = ReadTree();
  return tree;
}

bool ExistsInTree(std::string_view path) { return fs::is_regular_file(Root() / path); }

std::string Where(const SourceFile& file, std::size_t line) {
  return file.path + ":" + std::to_string(line + 1) + ": " + file.lines[line];
}

bool HasWord(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !IsWordCharacter(text[at - 1])) && (end == text.size() || !IsWordCharacter(text[end]))) return true;
  }
  return false;
}

std::string CodeOf(std::string_view line) {
  std::string code;
  bool in_string = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (in_string) {
      if (line[i] == '\\')
        ++i;
      else if (line[i] == '"')
        in_string = false;
      continue;
    }
    if (line[i] == '/' && i + 1 < line.size() && line[i + 1] == '/') break;
    if (line[i] == '"') in_string = i == 0 || line[i - 1] != '\'';
    code.push_back(line[i]);
  }
  return code;
}

}  // namespace cmkd::tests

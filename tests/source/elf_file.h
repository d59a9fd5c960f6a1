// What a shared object asks of the process that loads it, and what it offers, read from its dynamic section.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cmkd::tests {

struct ElfFile {
  std::vector<std::string> exports;  // defined, not local
  std::vector<std::string> imports;  // undefined, weak ones left out
  std::vector<std::string> needed;   // libraries
  std::size_t destructors = 0;       // entries of the fini array
  bool binds_now = false;
  bool may_be_unloaded = true;  // false with DF_1_NODELETE
  bool has_text_relocations = false;
  bool has_executable_stack = false;
};

// Reads a 64-bit shared object; an empty result when `path` is none.
ElfFile ReadElf(const std::string& path);

}  // namespace cmkd::tests

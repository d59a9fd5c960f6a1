// Reads the dynamic section and the dynamic symbols of a 64-bit ELF file that we built ourselves.
#include "tests/source/elf_file.h"

#include <elf.h>

#include <cstring>
#include <fstream>

namespace cmkd::tests {
namespace {

class Image {
 public:
  explicit Image(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) return;
    bytes_.resize(static_cast<std::size_t>(file.tellg()));
    file.seekg(0);
    file.read(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
  }

  bool IsElf64() const {
    return bytes_.size() > sizeof(Elf64_Ehdr) && std::memcmp(bytes_.data(), ELFMAG, SELFMAG) == 0;
  }
  Elf64_Ehdr Header() const { return Get<Elf64_Ehdr>(0); }

  template <class T>
  T Get(std::size_t offset) const {
    T value{};
    if (offset + sizeof(T) <= bytes_.size()) std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }

  template <class T>
  std::vector<T> Table(const Elf64_Shdr& section) const {
    std::vector<T> rows;
    for (std::size_t at = 0; at + sizeof(T) <= section.sh_size; at += sizeof(T))
      rows.push_back(Get<T>(section.sh_offset + at));
    return rows;
  }

  std::string Text(const Elf64_Shdr& strings, std::size_t offset) const {
    const std::size_t at = strings.sh_offset + offset;
    return at < bytes_.size() ? std::string(bytes_.data() + at) : std::string();
  }

  std::vector<Elf64_Shdr> Sections() const {
    Elf64_Shdr all{};
    all.sh_offset = Header().e_shoff;
    all.sh_size = std::size_t{Header().e_shnum} * sizeof(Elf64_Shdr);
    return Table<Elf64_Shdr>(all);
  }

  std::vector<Elf64_Phdr> Segments() const {
    Elf64_Shdr all{};
    all.sh_offset = Header().e_phoff;
    all.sh_size = std::size_t{Header().e_phnum} * sizeof(Elf64_Phdr);
    return Table<Elf64_Phdr>(all);
  }

 private:
  std::vector<char> bytes_;
};

void ReadSymbols(const Image& image, const Elf64_Shdr& symbols, const Elf64_Shdr& strings, ElfFile& elf) {
  for (const Elf64_Sym& symbol : image.Table<Elf64_Sym>(symbols)) {
    const std::string name = image.Text(strings, symbol.st_name);
    const unsigned binding = ELF64_ST_BIND(symbol.st_info);
    if (name.empty() || binding == STB_LOCAL) continue;
    if (symbol.st_shndx != SHN_UNDEF)
      elf.exports.push_back(name);
    else if (binding != STB_WEAK)
      elf.imports.push_back(name);
  }
}

void ReadDynamic(const Image& image, const Elf64_Shdr& dynamic, const Elf64_Shdr& strings, ElfFile& elf) {
  for (const Elf64_Dyn& entry : image.Table<Elf64_Dyn>(dynamic)) {
    const auto value = entry.d_un.d_val;
    if (entry.d_tag == DT_NEEDED) elf.needed.push_back(image.Text(strings, value));
    if (entry.d_tag == DT_FINI_ARRAYSZ) elf.destructors = value / sizeof(Elf64_Addr);
    if (entry.d_tag == DT_BIND_NOW || (entry.d_tag == DT_FLAGS && (value & DF_BIND_NOW) != 0)) elf.binds_now = true;
    if (entry.d_tag == DT_TEXTREL) elf.has_text_relocations = true;
    if (entry.d_tag == DT_FLAGS_1 && (value & DF_1_NODELETE) != 0) elf.may_be_unloaded = false;
  }
}

}  // namespace

ElfFile ReadElf(const std::string& path) {
  ElfFile elf;
  const Image image(path);
  if (!image.IsElf64()) return elf;
  const std::vector<Elf64_Shdr> sections = image.Sections();
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_link >= sections.size()) continue;
    if (section.sh_type == SHT_DYNSYM) ReadSymbols(image, section, sections[section.sh_link], elf);
    if (section.sh_type == SHT_DYNAMIC) ReadDynamic(image, section, sections[section.sh_link], elf);
  }
  for (const Elf64_Phdr& segment : image.Segments()) {
    if (segment.p_type == PT_GNU_STACK && (segment.p_flags & PF_X) != 0) elf.has_executable_stack = true;
  }
  return elf;
}

}  // namespace cmkd::tests

// Holds every #include of the tree to the layers of ARCHITECTURE.md, and each heavy dependency to its one place.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "tests/source/source_tree.h"

namespace cmkd::tests {
namespace {

using Folders = std::vector<std::string_view>;

// A layer and the layers straight below it. What those may use, it may use too.
struct Layer {
  std::string_view folder;
  Folders uses;
};

const std::vector<Layer>& Layers() {
  static const std::vector<Layer> layers = {
      {"common", {}},
      {"pkcs11/spec", {"common"}},
      {"pkcs11/entry", {"pkcs11/spec"}},
      {"pkcs11/wire", {"pkcs11/spec"}},
      {"pkcs11/lane", {"pkcs11/wire"}},
      {"pkcs11/remote", {"pkcs11/entry", "pkcs11/lane"}},
      {"pkcs11/module", {"pkcs11/remote"}},
      {"keystore/cmk", {"common"}},
      {"keystore/store", {"keystore/cmk"}},
      {"firmware_sim/faults", {"pkcs11/spec"}},
      {"firmware_sim", {"pkcs11/entry", "firmware_sim/faults"}},
      {"daemon", {"pkcs11/remote", "pkcs11/wire", "keystore/store"}},
      {"tools", {"pkcs11/remote", "keystore/cmk", "firmware_sim/faults"}},  // of the keys, their states' names
      {"conformance", {"pkcs11/spec"}},
      {"tests", {"pkcs11/module", "keystore/store", "firmware_sim", "daemon", "tools", "conformance"}},
  };
  return layers;
}

// A file or folder that may include one header from across a line of the table, and why.
struct Exception {
  std::string_view from;
  std::string_view header;
};
constexpr Exception kExceptions[] = {
    // main chooses the implementations: this is where a software token meets the simulated device.
    {"daemon/main.cc", "firmware_sim/firmware_sim.h"},
    // The audit log is proved offline, without a daemon, by the code that reads it in the daemon: a second reader could
    // be wrong in its own way.
    {"tools/cmkctl", "daemon/audit/audit_reader.h"},
    // An HSM is examined without a daemon by the code that drives it in one.
    {"tools/cmkctl/hsm_command.cc", "daemon/hsm/examination.h"},
    {"tools/cmkctl/hsm_command.cc", "daemon/hsm/backend_factory.h"},
};

bool IsIn(std::string_view path, std::string_view folder) {
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

const Layer* LayerOf(std::string_view path) {
  for (const Layer& layer : Layers()) {
    if (IsIn(path, layer.folder)) return &layer;
  }
  return nullptr;
}

bool Reaches(const Layer& from, const Layer& to) {
  if (&from == &to) return true;
  return std::any_of(from.uses.begin(), from.uses.end(),
                     [&](std::string_view folder) { return Reaches(*LayerOf(folder), to); });
}

bool MayInclude(std::string_view file, std::string_view header) {
  for (const Exception& exception : kExceptions) {
    if (IsIn(file, exception.from) && header == exception.header) return true;
  }
  const Layer* from = LayerOf(file);
  const Layer* to = LayerOf(header);
  return from != nullptr && to != nullptr && Reaches(*from, *to);
}

// What stands between the quotes or brackets of an #include line; empty for any other line.
std::string_view IncludedBy(std::string_view line, char open, char close) {
  const std::size_t hash = line.find_first_not_of(" \t");
  if (hash == std::string_view::npos || line[hash] != '#') return {};
  const std::size_t word = line.find_first_not_of(" \t", hash + 1);
  if (word == std::string_view::npos || !line.substr(word).starts_with("include")) return {};
  const std::size_t begin = line.find(open, word);
  if (begin == std::string_view::npos) return {};
  const std::size_t end = line.find(close, begin + 1);
  return end == std::string_view::npos ? std::string_view{} : line.substr(begin + 1, end - begin - 1);
}
std::string_view OwnHeader(std::string_view line) { return IncludedBy(line, '"', '"'); }
std::string_view SystemHeader(std::string_view line) { return IncludedBy(line, '<', '>'); }

// A dependency and the only places that may include it. `headers_too` is false for those too heavy for any header of
// ours.
struct Dependency {
  std::string_view prefix;
  Folders places;
  bool headers_too;
};

const std::vector<Dependency>& Dependencies() {
  static const std::vector<Dependency> dependencies = {
      {"p11-kit/pkcs11.h", {"pkcs11/spec/cryptoki.h", "tests"}, true},
      {"p11-kit/", {"pkcs11/spec/cryptoki.h", "daemon", "tools", "tests"}, true},
      {"lmdb.h", {"keystore/store", "tests"}, true},
      {"openssl/", {"firmware_sim", "daemon/crypto", "tests", "conformance"}, true},
      {"dlfcn.h", {"daemon/hsm_host", "tests", "conformance"}, true},
      {"systemd/", {"daemon"}, true},
      {"seccomp.h", {"daemon"}, true},
      {"boost/", {"pkcs11/lane", "pkcs11/remote", "daemon", "firmware_sim", "tests"}, true},
      {"nlohmann/json_fwd.hpp", {"daemon", "tools", "tests", "conformance"}, true},
      {"nlohmann/", {"daemon", "tools", "tests", "conformance"}, false},
      {"toml++/", {"daemon", "tools", "tests"}, false},
      {"CLI/", {"tools", "daemon", "conformance", "tests/bench"}, false},
      {"gtest/", {"tests", "conformance"}, true},
      {"gmock/", {"tests", "conformance"}, true},
      {"benchmark/", {"tests"}, true},
      {"pugixml.hpp", {"conformance"}, false},
  };
  return dependencies;
}

bool MayUse(std::string_view file, std::string_view header) {
  for (const Dependency& dependency : Dependencies()) {
    if (!header.starts_with(dependency.prefix)) continue;
    if (!dependency.headers_too && file.ends_with(".h")) return false;
    return std::any_of(dependency.places.begin(), dependency.places.end(),
                       [&](std::string_view place) { return IsIn(file, place); });
  }
  return true;
}

// Names whose use in code ties a file to something outside its layer.
struct ForbiddenWord {
  std::string_view word;
  Folders allowed;    // empty: everywhere but in `forbidden`
  Folders forbidden;  // empty: everywhere but in `allowed`
  std::string_view because;
};

const std::vector<ForbiddenWord>& ForbiddenWords() {
  static const Folders kPure = {"common", "pkcs11/spec", "keystore/cmk", "firmware_sim/faults"};
  static const Folders kGuest = {"common",      "pkcs11/spec",   "pkcs11/entry", "pkcs11/wire",
                                 "pkcs11/lane", "pkcs11/remote", "pkcs11/module"};
  static const std::vector<ForbiddenWord> words = {
      {"dlopen", {"daemon/hsm_host", "tests", "conformance"}, {}, "foreign code is loaded in the HSM host only"},
      {"dlmopen", {"daemon/hsm_host", "tests", "conformance"}, {}, "foreign code is loaded in the HSM host only"},
      {"system_clock",
       {"daemon/system", "firmware_sim/tool", "firmware_sim/device_clock.cc", "tests", "tools", "conformance"},
       {},
       "the time of day is a parameter (common/time.h)"},
      {"steady_clock", {}, kPure, "pure code takes the time as a parameter"},
      {"clock_gettime", {}, kPure, "pure code takes the time as a parameter"},
      {"fstream", {}, kPure, "pure code does no I/O"},
      {"iostream", {}, kGuest, "it brings static destructors into other people's processes"},
      {"assert", {}, kGuest, "it would end other people's processes"},
      {"atexit", {}, kGuest, "the module must be loadable again after dlclose"},
  };
  return words;
}

bool Violates(const SourceFile& file, const ForbiddenWord& rule) {
  const auto covers = [&](std::string_view folder) { return file.IsIn(folder); };
  if (!rule.allowed.empty()) return std::none_of(rule.allowed.begin(), rule.allowed.end(), covers);
  return std::any_of(rule.forbidden.begin(), rule.forbidden.end(), covers);
}

std::vector<const SourceFile*> CppFiles() {
  std::vector<const SourceFile*> files;
  for (const SourceFile& file : SourceTree()) {
    if (file.IsCpp()) files.push_back(&file);
  }
  return files;
}

TEST(Layering, TheRuleItselfTellsUpFromDown) {
  EXPECT_TRUE(MayInclude("pkcs11/module/module.cc", "pkcs11/remote/remote.h"));
  EXPECT_TRUE(MayInclude("pkcs11/module/module.cc", "pkcs11/spec/error.h"));
  EXPECT_TRUE(MayInclude("daemon/main.cc", "firmware_sim/firmware_sim.h"));
  EXPECT_FALSE(MayInclude("daemon/main.cc", "firmware_sim/device.h"));
  EXPECT_TRUE(MayInclude("tools/cmkctl/audit_commands.cc", "daemon/audit/audit_reader.h"));
  EXPECT_FALSE(MayInclude("tools/cmkctl/audit_commands.cc", "daemon/audit/audit_log.h"));
  EXPECT_FALSE(MayInclude("daemon/service/keys.cc", "firmware_sim/firmware_sim.h"));
  EXPECT_FALSE(MayInclude("pkcs11/spec/error.h", "pkcs11/entry/entry.h"));
  EXPECT_FALSE(MayInclude("pkcs11/wire/frame.cc", "pkcs11/entry/entry.h"));
  EXPECT_FALSE(MayInclude("pkcs11/module/module.cc", "daemon/server/server.h"));
  EXPECT_FALSE(MayInclude("keystore/cmk/cmk.h", "pkcs11/spec/error.h"));
  EXPECT_FALSE(MayInclude("firmware_sim/device.cc", "keystore/cmk/cmk.h"));
  EXPECT_FALSE(MayInclude("conformance/runner.cc", "daemon/server/server.h"));
  EXPECT_FALSE(MayInclude("elsewhere/file.cc", "common/bytes.h"));
}

TEST(Layering, TheRuleItselfKnowsEachDependencysPlace) {
  EXPECT_TRUE(MayUse("keystore/store/lmdb_store.cc", "lmdb.h"));
  EXPECT_FALSE(MayUse("daemon/custody/custodian.cc", "lmdb.h"));
  EXPECT_TRUE(MayUse("daemon/crypto/seal.cc", "openssl/evp.h"));
  EXPECT_FALSE(MayUse("daemon/audit/log.cc", "openssl/evp.h"));
  EXPECT_TRUE(MayUse("daemon/config/config.cc", "toml++/toml.h"));
  EXPECT_FALSE(MayUse("daemon/config/config.h", "toml++/toml.h"));
  EXPECT_EQ(OwnHeader("#include \"common/bytes.h\"  // views"), "common/bytes.h");
  EXPECT_EQ(SystemHeader("  #  include <openssl/evp.h>"), "openssl/evp.h");
  EXPECT_EQ(SystemHeader("// #include <openssl/evp.h>"), "");
}

TEST(Layering, EveryFileOfCodeHasALayer) {
  ASSERT_GT(CppFiles().size(), 20u) << "the tree was not found under " CMKD_SOURCE_DIR;
  for (const SourceFile* file : CppFiles()) {
    EXPECT_NE(LayerOf(file->path), nullptr) << file->path << ": its folder has no row in Layers()";
  }
}

TEST(Layering, IncludesPointDownward) {
  for (const SourceFile* file : CppFiles()) {
    for (std::size_t i = 0; i < file->lines.size(); ++i) {
      const std::string_view header = OwnHeader(file->lines[i]);
      if (header.empty()) continue;
      EXPECT_TRUE(ExistsInTree(header)) << Where(*file, i) << "\n  includes are relative to the root";
      EXPECT_TRUE(MayInclude(file->path, header)) << Where(*file, i) << "\n  points up or across";
    }
  }
}

TEST(Layering, EachDependencyStaysInItsPlace) {
  for (const SourceFile* file : CppFiles()) {
    for (std::size_t i = 0; i < file->lines.size(); ++i) {
      const std::string_view header = SystemHeader(file->lines[i]);
      EXPECT_TRUE(header.empty() || MayUse(file->path, header)) << Where(*file, i);
    }
  }
}

TEST(Layering, CodeStaysOutOfWhatIsNotItsBusiness) {
  for (const SourceFile* file : CppFiles()) {
    for (const ForbiddenWord& rule : ForbiddenWords()) {
      if (!Violates(*file, rule)) continue;
      for (std::size_t i = 0; i < file->lines.size(); ++i) {
        EXPECT_FALSE(HasWord(CodeOf(file->lines[i]), rule.word)) << Where(*file, i) << "\n  " << rule.because;
      }
    }
  }
}

TEST(Layering, NoFolderOfTheTableUsesItselfThroughAnother) {
  for (const Layer& layer : Layers()) {
    for (const std::string_view below : layer.uses) {
      EXPECT_FALSE(Reaches(*LayerOf(below), layer)) << layer.folder << " and " << below << " use each other";
    }
  }
}

}  // namespace
}  // namespace cmkd::tests

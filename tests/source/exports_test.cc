// What the modules bring into other people's processes: the C_ names of the call table, libc, and nothing that stays
// behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "pkcs11/spec/call_table.h"
#include "tests/source/elf_file.h"

namespace cmkd::tests {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAreArray;

#ifdef CMKD_SANITIZED
constexpr bool kSanitized = true;  // the sanitizer's runtime comes along, with all that it needs
#else
constexpr bool kSanitized = false;
#endif

ElfFile Module() { return ReadElf(CMKD_BUILD_DIR "/lib/libcmkd-pkcs11.so"); }
ElfFile Simulator() { return ReadElf(CMKD_BUILD_DIR "/lib/libcmkd-firmware-sim.so"); }

std::vector<std::string> NamesOfTheStandard() {
  std::vector<std::string> names;
  for (const spec::CallRow& row : spec::kCalls) {
    if (row.arity != 0) names.emplace_back(row.name);
  }
  return names;
}

TEST(Exports, TheModuleOffersExactlyTheCallsOfTheTable) {
  EXPECT_THAT(Module().exports, UnorderedElementsAreArray(NamesOfTheStandard()));
}

TEST(Exports, TheSimulatorOffersNothingBeyondTheTable) {
  const std::vector<std::string> names = NamesOfTheStandard();
  const std::set<std::string> allowed(names.begin(), names.end());
  const ElfFile simulator = Simulator();
  EXPECT_THAT(simulator.exports, Contains("C_GetFunctionList"));
  for (const std::string& name : simulator.exports) EXPECT_TRUE(allowed.contains(name)) << name;
}

TEST(Exports, TheModuleNeedsOnlyLibc) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs its own libraries";
  for (const std::string& library : Module().needed) {
    EXPECT_TRUE(library == "libc.so.6" || library.starts_with("ld-linux")) << library;
  }
}

TEST(Exports, TheModuleLeavesNothingBehindWhenItIsUnloaded) {
  const ElfFile module = Module();
  EXPECT_TRUE(module.may_be_unloaded);
  if (kSanitized) GTEST_SKIP() << "a sanitizer registers its own";
  EXPECT_EQ(module.destructors, 1u) << "the compiler's own start-up code has one entry; more are static destructors";
  for (const char* name : {"atexit", "__cxa_atexit", "__cxa_thread_atexit_impl", "on_exit", "at_quick_exit"}) {
    EXPECT_THAT(module.imports, Not(Contains(name)));
  }
}

TEST(Exports, TheModuleStartsNoThreadAndNoProgramAndLoadsNothing) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer does some of this";
  const ElfFile module = Module();
  for (const char* name : {"pthread_create", "thrd_create", "fork", "vfork", "execve", "system", "popen", "posix_spawn",
                           "dlopen", "exit", "_exit", "signal", "sigaction"}) {
    EXPECT_THAT(module.imports, Not(Contains(name)));
  }
}

TEST(Exports, BothModulesAreHardened) {
  for (const ElfFile& elf : {Module(), Simulator()}) {
    EXPECT_THAT(elf.exports, Not(IsEmpty()));
    EXPECT_TRUE(elf.binds_now);
    EXPECT_FALSE(elf.has_text_relocations);
    EXPECT_FALSE(elf.has_executable_stack);
  }
}

}  // namespace
}  // namespace cmkd::tests

// Loading: C_GetInterface for the newest list, else C_GetFunctionList.
#include "conformance/module.h"

#include <dlfcn.h>

#include <cstring>

namespace cmkd::conformance {
namespace {

template <class... Arguments>
CK_RV NotOffered(Arguments...) {
  return CKR_FUNCTION_NOT_SUPPORTED;
}

CK_FUNCTION_LIST_3_2 EmptyList() {
  CK_FUNCTION_LIST_3_2 list{};
#define CMKD_NOT_OFFERED(name, ...) list.name = &NotOffered;
  CMKD_STANDARD_CALLS(CMKD_NOT_OFFERED)
#undef CMKD_NOT_OFFERED
  return list;
}

// A list of an older version is a prefix of a newer one.
std::size_t CallsOf(CK_VERSION version) {
  if (version.major < 3) return spec::Index(spec::CallId::C_WaitForSlotEvent) + 1;
  if (version.major == 3 && version.minor < 2) return spec::Index(spec::CallId::C_MessageVerifyFinal) + 1;
  return spec::kStandardCallCount;
}

const void* NewestInterface(CK_RV (*get)(CK_UTF8CHAR*, CK_VERSION*, CK_INTERFACE**, CK_FLAGS)) {
  CK_UTF8CHAR name[] = "PKCS 11";
  CK_VERSION versions[] = {{3, 2}, {3, 1}, {3, 0}};
  CK_INTERFACE* found = nullptr;
  for (CK_VERSION& version : versions) {
    if (get(name, &version, &found, 0) == CKR_OK && found != nullptr) return found->pFunctionList;
  }
  return get(nullptr, nullptr, &found, 0) == CKR_OK && found != nullptr ? found->pFunctionList : nullptr;
}

}  // namespace

Result<Module, std::string> Module::Load(const std::string& path) {
  Module module;
  module.library_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module.library_ == nullptr) return Failure{std::string(::dlerror())};
  const void* list = nullptr;
  if (void* symbol = module.Symbol("C_GetInterface")) {
    list = NewestInterface(reinterpret_cast<decltype(&C_GetInterface)>(symbol));
    module.has_interfaces_ = list != nullptr;
  }
  if (list == nullptr) {
    void* symbol = module.Symbol("C_GetFunctionList");
    if (symbol == nullptr) return Failure{path + " exports no C_GetFunctionList"};
    CK_FUNCTION_LIST* old = nullptr;
    if (reinterpret_cast<CK_C_GetFunctionList>(symbol)(&old) != CKR_OK || old == nullptr)
      return Failure{path + ": C_GetFunctionList gives no list"};
    list = old;
  }
  module.Take(list);
  return module;
}

void Module::Take(const void* list) {
  CK_VERSION version{};
  std::memcpy(&version, list, sizeof version);
  calls_ = CallsOf(version);
  CK_FUNCTION_LIST_3_2 taken = EmptyList();
  std::memcpy(&taken, list, offsetof(CK_FUNCTION_LIST_3_2, C_Initialize) + calls_ * sizeof taken.C_Initialize);
  list_ = EmptyList();
  list_.version = version;
  // A list may have holes; they stay ours.
#define CMKD_TAKE(name, ...) \
  if (taken.name != nullptr) list_.name = taken.name;
  CMKD_STANDARD_CALLS(CMKD_TAKE)
#undef CMKD_TAKE
}

void* Module::Symbol(const char* name) const { return ::dlsym(library_, name); }

CK_RV Initialise(const Module& module, const Settings& settings) {
  // NSS declares its initialise arguments with one more member at the end, and wants it NULL.
  struct {
    CK_C_INITIALIZE_ARGS standard{};
    void* beyond = nullptr;
  } arguments;
  arguments.standard.flags = CKF_OS_LOCKING_OK;
  if (!settings.initialise_with.empty())
    arguments.standard.pReserved = const_cast<char*>(settings.initialise_with.c_str());
  return module->C_Initialize(&arguments.standard);
}

}  // namespace cmkd::conformance

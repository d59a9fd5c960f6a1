// A PKCS#11 module loaded by its path, with the newest function list that it gives.
#pragma once

#include <string>

#include "common/result.h"
#include "conformance/settings.h"
#include "pkcs11/spec/call_table.h"

namespace cmkd::conformance {

// One module. Calls that its function list does not have answer CKR_FUNCTION_NOT_SUPPORTED here, so that a case needs
// no look at versions.
class Module {
 public:
  // Errors: why the file cannot be loaded or has no function list.
  static Result<Module, std::string> Load(const std::string& path);

  const CK_FUNCTION_LIST_3_2* operator->() const { return &list_; }
  const CK_FUNCTION_LIST_3_2& list() const { return list_; }
  bool Has(spec::CallId id) const { return spec::Index(id) < calls_; }
  CK_VERSION version() const { return list_.version; }
  bool has_interfaces() const { return has_interfaces_; }
  // An exported name, or nullptr.
  void* Symbol(const char* name) const;

 private:
  Module() = default;
  void Take(const void* list);

  void* library_ = nullptr;
  CK_FUNCTION_LIST_3_2 list_{};
  std::size_t calls_ = 0;  // how many of the standard's calls the list has: it is a prefix of the newest
  bool has_interfaces_ = false;
};

// C_Initialize with the operating system's locks and whatever the settings say. Any state.
CK_RV Initialise(const Module& module, const Settings& settings);

}  // namespace cmkd::conformance

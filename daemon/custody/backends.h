// Backends: the configured HSMs by name.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "daemon/hsm/backend.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

class Backends {
 public:
  // The first is the home: it keeps the root key.
  void Add(std::unique_ptr<Backend> backend) {
    const std::string name = backend->name();
    if (by_name_.empty()) home_ = backend.get();
    by_name_[name] = std::move(backend);
  }
  // CKR_DEVICE_ERROR when the configuration has no HSM of this name (any more).
  Fallible<Backend*> Get(const std::string& name) const {
    const auto it = by_name_.find(name);
    if (it == by_name_.end()) {
      return Fail(CKR_DEVICE_ERROR, "the configuration has no HSM named " + name, spec::kHsmUnavailable);
    }
    return it->second.get();
  }
  const Backend* home() const { return home_; }
  const std::map<std::string, std::unique_ptr<Backend>>& all() const { return by_name_; }

 private:
  std::map<std::string, std::unique_ptr<Backend>> by_name_;
  Backend* home_ = nullptr;
};

}  // namespace cmkd::daemon

// Backends: the configured HSMs by name, and the devices of a mirrored token as one.
#pragma once

#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "daemon/hsm/backend.h"
#include "daemon/hsm/mirror_set.h"
#include "keystore/store/store_records.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {

// CKA_ID of the keys by which the devices of a token send it wrapping keys.
Bytes TransportIdOf(const cmk::TokenId& token);

class Backends {
 public:
  // The first is the home: it keeps the root key. All of them are added before anybody asks.
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
  // Where a token's keys are made and used: its HSM, or all of its mirrors as one. Errors: as above.
  Fallible<Backend*> Of(const store::TokenRecord& token) const {
    if (token.mirrors.empty()) return Get(token.hsm);
    return MirrorsOf(token);
  }
  // The mirrors of a token that has some; nullptr of one that has not. As long-lived as this.
  MirrorSet* MirrorsOf(const store::TokenRecord& token) const;

  const Backend* home() const { return home_; }
  const std::map<std::string, std::unique_ptr<Backend>>& all() const { return by_name_; }

 private:
  struct Mirrored {
    std::vector<store::TokenMirror> mirrors;
    MirrorSet* set = nullptr;
  };
  struct Sets {
    std::shared_mutex mutex;
    std::map<cmk::TokenId, Mirrored> by_token;
    // Also those of before: somebody may be at work with one when an operator changes the list.
    std::vector<std::unique_ptr<MirrorSet>> all;
  };

  std::map<std::string, std::unique_ptr<Backend>> by_name_;
  Backend* home_ = nullptr;
  std::unique_ptr<Sets> sets_ = std::make_unique<Sets>();  // goes first
};

}  // namespace cmkd::daemon

// The store at start: made on a first start, opened and believed only with its own root key otherwise.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/time.h"
#include "daemon/crypto/sealer.h"
#include "daemon/hsm/backend.h"
#include "keystore/store/store.h"

namespace cmkd::daemon {

struct OpenedStore {
  // The sealers outlive the store.
  std::unique_ptr<AesGcmSealer> store_sealer;
  std::unique_ptr<AesGcmSealer> ticket_sealer;
  std::unique_ptr<AesGcmSealer> object_sealer;
  SecretBytes rejection_key;
  std::unique_ptr<store::Store> store;
};

// The error is a sentence for the operator: half made, foreign, older than it may be, damaged, or in use.
// `known_generation`: what the audit log says the store had reached; an older store is a copy from before and refused.
// 0: nothing is known.
Result<OpenedStore, std::string> OpenStore(const std::string& state_directory, Backend& home, const Clock& clock,
                                           std::uint64_t known_generation);

}  // namespace cmkd::daemon

// The store at start: made on a first start, opened and believed only with its own root key otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/time.h"
#include "daemon/crypto/sealer.h"
#include "daemon/custody/anchor.h"
#include "daemon/hsm/backend.h"
#include "keystore/store/store.h"

namespace cmkd::daemon {

struct OpenedStore {
  // The sealers outlive the store.
  std::unique_ptr<AesGcmSealer> store_sealer;
  std::unique_ptr<AesGcmSealer> ticket_sealer;
  std::unique_ptr<AesGcmSealer> object_sealer;
  SecretBytes rejection_key;
  std::unique_ptr<Anchor> anchor;
  std::unique_ptr<store::Store> store;
};

// Whether a store that is older than the HSM and the audit log remember is opened.
enum class OlderStore : std::uint8_t {
  kRefused,
  // An operator has put a backup in place. Its generation is raised above everything that was seen, so that from then
  // on it is the newest, and the one that it replaced is the old copy.
  kAccepted,
};

// What the check of all entries found, which for a large store goes on after OpenStore: nothing when all are right, a
// sentence for the operator when the store is damaged and refuses everything from then on. Called once, from any
// thread; not for a small store.
using StoreChecked = std::function<void(const std::optional<std::string>& damage)>;

// The error is a sentence for the operator: half made, foreign, older than it may be, damaged, or in use.
// `known_generation`: what the audit log says the store had reached; 0: nothing is known. `home`, the HSM that keeps
// the root key, remembers the same (Anchor); `notes`: so do all of these, instead of `home` alone.
Result<OpenedStore, std::string> OpenStore(const std::string& state_directory, Backend& home, const Clock& clock,
                                           std::uint64_t known_generation, OlderStore older = OlderStore::kRefused,
                                           StoreChecked checked = {}, Backend* notes = nullptr);

}  // namespace cmkd::daemon

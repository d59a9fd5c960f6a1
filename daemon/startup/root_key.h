// The root key: 32 bytes from which the keys are derived that seal the store, tickets and session objects. It is made
// in the first configured HSM, wrapped there, and kept wrapped in the state directory; the daemon reads it into locked
// memory at start. So a copy of the state directory is of no use without the HSM.
//
// It is the one key whose clear form the daemon holds: records are sealed with every request, and asking the HSM each
// time would put it into every look-up.
#pragma once

#include <map>
#include <string>

#include "common/secret.h"
#include "daemon/hsm/backend.h"

namespace cmkd::daemon {

// What there is in the state directory.
enum class RootKeyState : std::uint8_t {
  kNone,     // nothing: a first start
  kPending,  // made, but the store was not finished
  kReady,
};
RootKeyState FindRootKey(const std::string& state_directory);

// Makes a root key and keeps it as pending, on disk before the call returns. The error is a sentence.
Result<SecretBytes, std::string> MakeRootKey(const std::string& state_directory, Backend& backend);
// Reads the root key, pending or ready.
Result<SecretBytes, std::string> LoadRootKey(const std::string& state_directory, Backend& backend, RootKeyState state);
// CKA_ID of the key that wraps it, by the name of the HSM: the one in which it was made, and those with which it was
// shared.
std::map<std::string, Bytes> RootKeyReferences(const std::string& state_directory);
// Keeps it wrapped by another HSM, too, in a file of its own, so that the daemon can start with either. Nothing when it
// is kept so already.
Result<void, std::string> ShareRootKey(const std::string& state_directory, Backend& from, Backend& to);
// The store that goes with the pending key is whole: the key is ready.
Result<void, std::string> ConfirmRootKey(const std::string& state_directory);

}  // namespace cmkd::daemon

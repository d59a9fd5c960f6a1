// What a key may be used for: one table over key state, version state and validity dates, in SP 800-57's own verbs.
// Pure. Who may use it is policy, and elsewhere.
#pragma once

#include <cstdint>

#include "common/result.h"
#include "common/time.h"
#include "keystore/cmk/cmk.h"
#include "keystore/cmk/state.h"

namespace cmkd::cmk {

enum class Use : std::uint8_t {
  kProtect,   // apply protection: encrypt, sign, MAC, wrap, make a data key, encapsulate
  kProcess,   // process what is protected: decrypt, verify, unwrap, decapsulate, derive
  kDescribe,  // show the key, its public part and its attributes to those who use it
};

// Success, or the one reason to name: the key's state first, then its dates, then the version's state. Describing asks
// nothing of the version. A key that waits for deletion or is gone is not even described; operators read the store.
Result<void, Refusal> CheckUse(const Cmk& cmk, VersionState version, Use use, Timestamp now);
// The same for a version with its own dates: a retired one that goes on protecting for an overlap, imported material
// that has expired, a compromised one that policy lets process.
Result<void, Refusal> CheckUse(const Cmk& cmk, const KeyVersion& version, Use use, Timestamp now);

}  // namespace cmkd::cmk

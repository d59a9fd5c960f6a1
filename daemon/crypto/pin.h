// PIN verifiers (slow on purpose) and the memory that makes the many logins of one run cheap. A PIN is never stored:
// not on disk, not in the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/bytes.h"

namespace cmkd::daemon {

// CK_TOKEN_INFO shows these as ulMinPinLen and ulMaxPinLen. The minimum can be raised in the configuration.
inline constexpr std::size_t kPinBytesMin = 4;
inline constexpr std::size_t kPinBytesMax = 255;

// True when `pin` may become a PIN: its length in bytes is within [bytes_min, kPinBytesMax]. PKCS#11 asks for UTF-8,
// yet real programs send other bytes, so content is not judged. A PIN that fails is CKR_PIN_LEN_RANGE.
bool IsAcceptablePin(ByteView pin, std::size_t bytes_min = kPinBytesMin);

// What is stored in place of a PIN: version, scrypt parameters (N = 2^14, r = 8, p = 1), random salt, result; 52 bytes.
// Takes about 50 ms and 16 MiB on purpose, at most four at a time in the process. Any thread. Empty only when memory
// has run out (CKR_HOST_MEMORY).
Bytes MakePinVerifier(ByteView pin);

// True when `pin` is the one `verifier` was made of. As slow as making it, whatever the answer; false for a verifier
// that is not well formed, asks for absurd parameters, or when memory has run out. Any thread.
bool CheckPin(ByteView verifier, ByteView pin);

// Remembers, under a key that lives as long as the process, that a PIN was found right. A wrong PIN is never in it, so
// guessing always takes the slow way. Safe from any thread.
class PinCache {
 public:
  // At most `entries_max` PINs are remembered; the oldest makes room.
  explicit PinCache(std::size_t entries_max = 4096);
  ~PinCache();
  PinCache(const PinCache&) = delete;
  PinCache& operator=(const PinCache&) = delete;

  // CheckPin with a memory: microseconds after the first success with this verifier, slow otherwise. What is remembered
  // is HMAC(process key, verifier ‖ PIN). Each verifier has a salt of its own, so it stands for token, role and
  // generation of the PIN at once: nothing is remembered across a change of the PIN, or from one token to another.
  bool Check(ByteView verifier, ByteView pin);

  // Forgets everything: for instance when a token is locked.
  void Clear();

  // How many checks took the slow way since the start.
  std::uint64_t SlowChecks() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cmkd::daemon

// scrypt (RFC 7914) verifiers of PINs, and the cache of those found right.
//
// Verifier: version 1 (1 byte) ‖ log2 N (1) ‖ r (1) ‖ p (1) ‖ salt (16) ‖ scrypt result (32).
#include "daemon/crypto/pin.h"

#include <openssl/evp.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <semaphore>
#include <set>

#include "common/secret.h"
#include "daemon/crypto/digest.h"
#include "daemon/crypto/random.h"

namespace cmkd::daemon {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kSaltBytes = 16;
constexpr std::size_t kResultBytes = 32;
constexpr std::size_t kVerifierBytes = 4 + kSaltBytes + kResultBytes;

struct Cost {
  std::uint8_t log2_n = 14;
  std::uint8_t r = 8;
  std::uint8_t p = 1;
  std::uint64_t MemoryBytes() const { return (std::uint64_t{128} * r) << log2_n; }
};

// What a verifier may ask for: it comes from the store, and a damaged or planted one must not stop the daemon.
constexpr std::uint64_t kMemoryBytesMax = 256 << 20;
bool IsReasonable(const Cost& cost) {
  return cost.log2_n >= 10 && cost.log2_n <= 20 && cost.r >= 1 && cost.p >= 1 && cost.p <= 16 &&
         cost.MemoryBytes() <= kMemoryBytesMax;
}

// Bounds memory and processor time that a crowd of logins can claim.
std::counting_semaphore<4> g_turns{4};

std::optional<Digest> Stretch(ByteView pin, ByteView salt, const Cost& cost) {
  Digest result;
  g_turns.acquire();
  const int done = EVP_PBE_scrypt(reinterpret_cast<const char*>(pin.data()), pin.size(), salt.data(), salt.size(),
                                  std::uint64_t{1} << cost.log2_n, cost.r, cost.p, 2 * kMemoryBytesMax, result.data(),
                                  result.size());
  g_turns.release();
  if (done != 1) return std::nullopt;
  return result;
}

}  // namespace

bool IsAcceptablePin(ByteView pin, std::size_t bytes_min) {
  return pin.size() >= std::max<std::size_t>(bytes_min, 1) && pin.size() <= kPinBytesMax;
}

Bytes MakePinVerifier(ByteView pin) {
  const Cost cost;
  const Id16 salt = RandomId();
  const std::optional<Digest> result = Stretch(pin, salt, cost);
  if (!result) return {};
  Bytes verifier = {kVersion, cost.log2_n, cost.r, cost.p};
  verifier.reserve(kVerifierBytes);
  verifier.insert(verifier.end(), salt.begin(), salt.end());
  verifier.insert(verifier.end(), result->begin(), result->end());
  return verifier;
}

bool CheckPin(ByteView verifier, ByteView pin) {
  if (verifier.size() != kVerifierBytes || verifier[0] != kVersion || pin.empty() || pin.size() > kPinBytesMax)
    return false;
  const Cost cost{verifier[1], verifier[2], verifier[3]};
  if (!IsReasonable(cost)) return false;
  const std::optional<Digest> result = Stretch(pin, verifier.subspan(4, kSaltBytes), cost);
  return result && ConstantTimeEqual(*result, verifier.subspan(4 + kSaltBytes));
}

struct PinCache::State {
  explicit State(std::size_t entries) : entries_max(std::max<std::size_t>(entries, 1)) {}

  bool Knows(const Digest& proof) {
    const std::lock_guard lock(mutex);
    return known.contains(proof);
  }

  void Remember(const Digest& proof) {
    const std::lock_guard lock(mutex);
    if (!known.insert(proof).second) return;
    oldest_first.push_back(proof);
    if (oldest_first.size() <= entries_max) return;
    known.erase(oldest_first.front());
    oldest_first.pop_front();
  }

  std::atomic<std::uint64_t> slow_checks{0};
  const std::size_t entries_max;
  const SecretBytes key = RandomKey(32);
  std::mutex mutex;
  std::set<Digest> known;
  std::deque<Digest> oldest_first;
};

PinCache::PinCache(std::size_t entries_max) : state_(std::make_unique<State>(entries_max)) {}
PinCache::~PinCache() = default;

bool PinCache::Check(ByteView verifier, ByteView pin) {
  // The verifier's length is fixed by CheckPin, so the two pieces cannot run into each other.
  const Digest proof = HmacSha256(state_->key.view(), {verifier, pin});
  if (state_->Knows(proof)) return true;
  ++state_->slow_checks;
  if (!CheckPin(verifier, pin)) return false;
  state_->Remember(proof);
  return true;
}

std::uint64_t PinCache::SlowChecks() const { return state_->slow_checks; }

void PinCache::Clear() {
  const std::lock_guard lock(state_->mutex);
  state_->known.clear();
  state_->oldest_first.clear();
}

}  // namespace cmkd::daemon

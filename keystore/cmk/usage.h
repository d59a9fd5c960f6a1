// How often one version of a key may be used, and what is due on the way there. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

namespace cmkd::cmk {

// NIST SP 800-38D, 8.3: with random initialisation vectors a key of AES-GCM serves at most 2^32 invocations.
inline constexpr std::uint64_t kRandomIvLimit = std::uint64_t{1} << 32;

enum class UsageVerdict : std::uint8_t {
  kFine,
  kAlarm,   // half of it is gone: somebody should know
  kRotate,  // seven tenths (2^31.5 of 2^32): a new version is due
  kStop,    // none is left: no further use of this version
};

// `limit` 0: there is none.
constexpr UsageVerdict CheckUsage(std::uint64_t uses, std::uint64_t limit) {
  if (limit == 0) return UsageVerdict::kFine;
  if (uses >= limit) return UsageVerdict::kStop;
  if (uses >= limit - limit * 3 / 10) return UsageVerdict::kRotate;
  return uses >= limit / 2 ? UsageVerdict::kAlarm : UsageVerdict::kFine;
}

// The limit that counts: the key's own, or the mechanism's, whichever is lower.
constexpr std::uint64_t EffectiveLimit(std::uint64_t own, bool random_iv) {
  const std::uint64_t mechanisms = random_iv ? kRandomIvLimit : 0;
  if (own == 0 || mechanisms == 0) return own + mechanisms;
  return std::min(own, mechanisms);
}

// How many uses to set aside at once: they are written down before they are made, so that a crash loses none of them
// from the count. A quarter of what was counted so far: writing becomes rare, and a crash makes the count wrong by a
// fifth at most, or by the smallest block. Of a limit it wastes little.
constexpr std::uint64_t BlockFor(std::uint64_t limit, std::uint64_t counted) {
  constexpr std::uint64_t kSmallest = 16, kLargest = 65'536;
  const std::uint64_t block = std::clamp(counted / 4, kSmallest, kLargest);
  return limit == 0 ? block : std::clamp<std::uint64_t>(limit / 1024, 1, block);
}

// The same for bytes.
constexpr std::uint64_t ByteBlockFor(std::uint64_t counted) {
  constexpr std::uint64_t kSmallest = std::uint64_t{64} << 10, kLargest = std::uint64_t{256} << 20;
  return std::clamp(counted / 4, kSmallest, kLargest);
}

}  // namespace cmkd::cmk

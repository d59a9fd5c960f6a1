// See rsa_rejection.h.
#include "firmware_sim/rsa_rejection.h"

#include <algorithm>
#include <array>
#include <memory>

#include "firmware_sim/key.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {
namespace {

// Masks of all ones or all zeros; no branch looks at them.
using Mask = std::uint32_t;
Mask IfZero(std::uint32_t x) { return 0 - ((~x & (x - 1)) >> 31); }
Mask IfEqual(std::uint32_t a, std::uint32_t b) { return IfZero(a ^ b); }
Mask IfLess(std::uint32_t a, std::uint32_t b) { return 0 - ((a ^ ((a ^ b) | ((a - b) ^ b))) >> 31); }
std::uint32_t Choose(Mask mask, std::uint32_t yes, std::uint32_t no) { return (mask & yes) | (~mask & no); }

class HmacSha256 {
 public:
  static Fallible<HmacSha256> With(ByteView key) {
    ASSIGN_OR_RETURN(KeyPtr made, Key::Secret(CKK_GENERIC_SECRET, SecretBytes(key)));
    return HmacSha256(std::move(made));
  }
  Fallible<std::array<std::uint8_t, 32>> Of(std::initializer_list<ByteView> parts) const {
    const CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    ASSIGN_OR_RETURN(const auto mac, MakeSignature(*spec::FindMechanism(CKM_SHA256_HMAC), mechanism, *key_));
    for (const ByteView part : parts) RETURN_IF_ERROR(mac->Update(part));
    std::array<std::uint8_t, 32> out{};
    ASSIGN_OR_RETURN(const std::size_t n, mac->Sign(out));
    (void)n;
    return out;
  }

 private:
  explicit HmacSha256(KeyPtr key) : key_(std::move(key)) {}
  KeyPtr key_;
};

std::array<std::uint8_t, 2> TwoBytes(std::size_t value) {
  return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

// IRPRF of the draft, section 7.1: HMAC over counter, label and the wanted length in bits.
Fallible<Bytes> Stretch(const HmacSha256& prf, std::string_view label, std::size_t bytes) {
  Bytes out;
  const auto bits = TwoBytes(bytes * 8);
  for (std::size_t counter = 0; out.size() < bytes; ++counter) {
    ASSIGN_OR_RETURN(const auto block, prf.Of({TwoBytes(counter), AsBytes(label), bits}));
    out.insert(out.end(), block.begin(), block.end());
  }
  out.resize(bytes);
  return out;
}

// The length of the made-up message: the last of 128 candidates that is short enough (draft, section 7.2 step 6).
std::uint32_t MadeUpLength(ByteView candidates, std::uint32_t longest_plus_one) {
  std::uint32_t mask = longest_plus_one - 1;
  for (unsigned shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
  std::uint32_t length = 0;
  for (std::size_t i = 0; i + 1 < candidates.size(); i += 2) {
    const std::uint32_t candidate = (static_cast<std::uint32_t>(candidates[i]) << 8 | candidates[i + 1]) & mask;
    length = Choose(IfLess(candidate, longest_plus_one), candidate, length);
  }
  return length;
}

// Where the message starts if the padding is right: 00 02, eight bytes or more that are not zero, 00.
struct Found {
  Mask good;
  std::uint32_t start;
};
Found FindMessage(ByteView encoded) {
  Mask good = IfZero(encoded[0]) & IfEqual(encoded[1], 2);
  Mask found = 0;
  std::uint32_t zero_at = 0;
  for (std::uint32_t i = 2; i < encoded.size(); ++i) {
    const Mask is_zero = IfZero(encoded[i]);
    zero_at = Choose(~found & is_zero, i, zero_at);
    found |= is_zero;
  }
  good &= found & ~IfLess(zero_at, 2 + 8);
  return {good, zero_at + 1};
}

}  // namespace

Fallible<RejectedOrMessage> RemovePkcs1(ByteView encoded, ByteView secret, ByteView ciphertext,
                                        std::optional<std::size_t> message_bytes) {
  const auto size = static_cast<std::uint32_t>(encoded.size());
  if (size < 12 || message_bytes.value_or(0) > size - 11)
    return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "no room for padding");
  ASSIGN_OR_RETURN(const HmacSha256 with_secret, HmacSha256::With(secret));
  ASSIGN_OR_RETURN(const auto derived, with_secret.Of({ciphertext}));
  ASSIGN_OR_RETURN(const HmacSha256 prf, HmacSha256::With(derived));
  ASSIGN_OR_RETURN(Bytes result, Stretch(prf, "message", size));
  ASSIGN_OR_RETURN(const Bytes candidates, Stretch(prf, "length", 256));

  Found found = FindMessage(encoded);
  std::uint32_t made_up_start = size - MadeUpLength(candidates, size - 10);
  if (message_bytes) {
    made_up_start = size - static_cast<std::uint32_t>(*message_bytes);
    found.good &= IfEqual(found.start, made_up_start);
  }
  const std::uint32_t start = Choose(found.good, found.start, made_up_start);
  for (std::uint32_t i = 0; i < size; ++i) {
    result[i] = static_cast<std::uint8_t>(Choose(found.good, encoded[i], result[i]));
  }
  return RejectedOrMessage(std::move(result), start);
}

}  // namespace cmkd::sim

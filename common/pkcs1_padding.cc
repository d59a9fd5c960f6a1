// Masks instead of branches.
#include "common/pkcs1_padding.h"

#include <array>

namespace cmkd {
namespace {

// All ones or all zeros.
using Mask = std::uint32_t;
Mask IfZero(std::uint32_t x) { return 0 - ((~x & (x - 1)) >> 31); }
Mask IfEqual(std::uint32_t a, std::uint32_t b) { return IfZero(a ^ b); }
Mask IfLess(std::uint32_t a, std::uint32_t b) { return 0 - ((a ^ ((a ^ b) | ((a - b) ^ b))) >> 31); }
std::uint32_t Choose(Mask mask, std::uint32_t yes, std::uint32_t no) { return (mask & yes) | (~mask & no); }

std::array<std::uint8_t, 2> TwoBytes(std::size_t value) {
  return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

// IRPRF of the draft, section 7.1: HMAC over counter, label and the wanted length in bits.
Bytes Stretch(const RejectionPrf& prf, std::string_view label, std::size_t bytes) {
  Bytes out;
  const auto bits = TwoBytes(bytes * 8);
  for (std::size_t counter = 0; out.size() < bytes; ++counter) {
    const Bytes block = prf({TwoBytes(counter), AsBytes(label), bits});
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

Pkcs1Message RemovePkcs1Padding(ByteView encoded, const RejectionPrf& prf, std::optional<std::size_t> message_bytes) {
  const auto size = static_cast<std::uint32_t>(encoded.size());
  Bytes result = Stretch(prf, "message", size);
  const Bytes candidates = Stretch(prf, "length", 256);
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
  return {std::move(result), start};
}

}  // namespace cmkd

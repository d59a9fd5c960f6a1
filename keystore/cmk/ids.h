// The names of things: keys, tokens, versions and objects. Strong types, so that one cannot be passed for another.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/bytes.h"

namespace cmkd::cmk {

// Sixteen bytes, random where they are made (never here: this folder has no source of randomness). Ordered as bytes, so
// that the order of a listing is the order of the store's keys.
template <class Tag>
struct Id {
  static constexpr std::size_t kBytes = 16;

  std::array<std::uint8_t, kBytes> bytes{};

  auto operator<=>(const Id&) const = default;

  ByteView view() const { return {bytes.data(), bytes.size()}; }
  bool IsZero() const { return *this == Id{}; }
  // 32 lower-case characters.
  std::string ToHex() const { return Hex(view()); }

  // Nothing unless `view` has exactly sixteen bytes.
  static std::optional<Id> FromBytes(ByteView view) {
    if (view.size() != kBytes) return std::nullopt;
    Id id;
    std::memcpy(id.bytes.data(), view.data(), kBytes);
    return id;
  }

  // Nothing unless `text` is exactly 32 hexadecimal characters of either case.
  static std::optional<Id> FromHex(std::string_view text) {
    if (text.size() != 2 * kBytes) return std::nullopt;
    Id id;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const int digit = HexDigit(text[i]);
      if (digit < 0) return std::nullopt;
      id.bytes[i / 2] = static_cast<std::uint8_t>((id.bytes[i / 2] << 4) | digit);
    }
    return id;
  }

 private:
  static constexpr int HexDigit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }
};

using CmkId = Id<struct CmkIdTag>;
using TokenId = Id<struct TokenIdTag>;

// One generation of key material. Counted from 1 within a CMK, never reused; 0 is no version.
struct KeyVersionNumber {
  std::uint32_t value = 0;
  auto operator<=>(const KeyVersionNumber&) const = default;
};

// The persistent number of a token object: its PKCS#11 handle, the same in every process and after every restart, never
// reused. 0 is no object.
struct ObjectSerial {
  std::uint64_t value = 0;
  auto operator<=>(const ObjectSerial&) const = default;
};

}  // namespace cmkd::cmk

template <class Tag>
struct std::hash<cmkd::cmk::Id<Tag>> {
  // The bytes are random: any eight of them will do.
  std::size_t operator()(const cmkd::cmk::Id<Tag>& id) const noexcept {
    std::size_t value = 0;
    std::memcpy(&value, id.bytes.data(), sizeof value);
    return value;
  }
};

template <>
struct std::hash<cmkd::cmk::ObjectSerial> {
  std::size_t operator()(const cmkd::cmk::ObjectSerial& serial) const noexcept {
    return std::hash<std::uint64_t>{}(serial.value);
  }
};

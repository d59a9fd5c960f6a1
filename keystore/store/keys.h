// The keys of the store's tree, built in place and without allocation. The formats are in schema.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/bytes.h"
#include "common/time.h"
#include "keystore/cmk/ids.h"
#include "keystore/store/schema.h"

namespace cmkd::store {

class Key {
 public:
  explicit Key(Database database) { Add(static_cast<std::uint8_t>(database)); }

  Key& Add(std::uint8_t byte) {
    bytes_[size_++] = byte;
    return *this;
  }
  Key& Add(ByteView view) {
    std::memcpy(bytes_.data() + size_, view.data(), view.size());
    size_ += view.size();
    return *this;
  }
  template <class Tag>
  Key& Add(const cmk::Id<Tag>& id) {
    return Add(id.view());
  }
  Key& Add(std::uint64_t number) {
    for (int shift = 56; shift >= 0; shift -= 8) Add(static_cast<std::uint8_t>(number >> shift));
    return *this;
  }
  Key& Add(cmk::ObjectSerial serial) { return Add(serial.value); }
  // With the sign bit inverted, times before 1970 sort before those after.
  Key& Add(Timestamp time) { return Add(static_cast<std::uint64_t>(time.seconds) ^ kSignBit); }

  ByteView view() const { return {bytes_.data(), size_}; }

  // Reads the eight bytes at the end or in the middle of a key back.
  static std::uint64_t NumberAt(ByteView key, std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) value = (value << 8) | key[at + i];
    return value;
  }
  static Timestamp TimeAt(ByteView key, std::size_t at) {
    return {static_cast<std::int64_t>(NumberAt(key, at) ^ kSignBit)};
  }

 private:
  static constexpr std::uint64_t kSignBit = std::uint64_t{1} << 63;

  std::array<std::uint8_t, kKeyBytesMax> bytes_{};
  std::size_t size_ = 0;
};

// The longest is 0x22 or 0x32: database, token, tag, cmk.
static_assert(1 + 16 + 16 + 16 <= kKeyBytesMax);

}  // namespace cmkd::store

// ShortBytes: bytes of which most have few. What fits lies within the value itself, without an allocation; the values
// of attributes are flags and numbers mostly, and an object has thirty of them. Wiped when they go, since some are
// keys.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "common/bytes.h"

namespace cmkd {

// A value: one thread at a time while it changes. Views of it are good until it changes or moves.
class ShortBytes {
 public:
  ShortBytes() = default;
  explicit ShortBytes(ByteView content) : size_(static_cast<std::uint32_t>(content.size())) {
    if (size_ > kWithin) Point(new std::uint8_t[size_]);
    std::copy(content.begin(), content.end(), data());
  }
  ShortBytes(const ShortBytes& other) : ShortBytes(ByteView(other)) {}
  ShortBytes(ShortBytes&& other) noexcept { Take(other); }
  ShortBytes& operator=(const ShortBytes& other) {
    if (this != &other) *this = ShortBytes(other);
    return *this;
  }
  ShortBytes& operator=(ShortBytes&& other) noexcept {
    if (this != &other) {
      Release();
      Take(other);
    }
    return *this;
  }
  ~ShortBytes() { Release(); }

  std::uint8_t* data() { return size_ > kWithin ? Elsewhere() : within_; }
  const std::uint8_t* data() const { return size_ > kWithin ? Elsewhere() : within_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const std::uint8_t* begin() const { return data(); }
  const std::uint8_t* end() const { return data() + size_; }
  std::uint8_t front() const { return data()[0]; }
  std::uint8_t back() const { return data()[size_ - 1]; }
  std::uint8_t operator[](std::size_t index) const { return data()[index]; }
  bool operator==(const ShortBytes& other) const { return Equal(*this, other); }
  bool operator==(ByteView other) const { return Equal(*this, other); }

 private:
  static constexpr std::uint32_t kWithin = 20;

  // Where longer ones are: in the place of the bytes.
  std::uint8_t* Elsewhere() const {
    std::uint8_t* at = nullptr;
    std::memcpy(&at, within_, sizeof at);
    return at;
  }
  void Point(std::uint8_t* at) { std::memcpy(within_, &at, sizeof at); }
  void Take(ShortBytes& other) {
    std::memcpy(within_, other.within_, kWithin);
    size_ = std::exchange(other.size_, 0);
    Wipe(other.within_);
  }
  void Release() {
    if (size_ > kWithin) {
      Wipe({data(), size_});
      delete[] Elsewhere();
    }
    size_ = 0;
    Wipe(within_);
  }

  alignas(std::uint8_t*) std::uint8_t within_[kWithin] = {};  // so that leak checkers see where longer ones are
  std::uint32_t size_ = 0;
};

}  // namespace cmkd

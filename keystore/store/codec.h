// Bytes of records, written and read forward. The reader is bounded, fails for good at the first mistake, and accepts
// one encoding of each value only, so that what decodes is what would be encoded.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/bytes.h"
#include "common/time.h"

namespace cmkd::store {

class Writer {
 public:
  void U8(std::uint8_t value) { bytes_.push_back(value); }
  void U32(std::uint32_t value) { Number(value); }
  void U64(std::uint64_t value) { Number(value); }
  void Bool(bool value) { U8(value ? 1 : 0); }
  void Time(Timestamp value) { U64(static_cast<std::uint64_t>(value.seconds)); }
  void Span(Duration value) { U64(static_cast<std::uint64_t>(value.seconds)); }
  // As they are: for values of fixed length.
  void Raw(ByteView view) { bytes_.insert(bytes_.end(), view.begin(), view.end()); }
  // Four bytes of length, then the bytes.
  void Block(ByteView view) {
    U32(static_cast<std::uint32_t>(view.size()));
    Raw(view);
  }
  void Text(std::string_view text) { Block(AsBytes(text)); }
  template <class Enum>
  void Enum8(Enum value) {
    U8(static_cast<std::uint8_t>(value));
  }
  // One byte that says whether there is a value, then the value.
  template <class T, std::invocable<const T&> Write>
  void Optional(const std::optional<T>& value, Write write) {
    Bool(value.has_value());
    if (value) write(*value);
  }

  Bytes Take() && { return std::move(bytes_); }

 private:
  template <std::unsigned_integral T>
  void Number(T value) {
    for (int shift = static_cast<int>(sizeof(T) * 8) - 8; shift >= 0; shift -= 8)
      bytes_.push_back(static_cast<std::uint8_t>(value >> shift));
  }

  Bytes bytes_;
};

class Reader {
 public:
  explicit Reader(ByteView bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  // Nothing went wrong and nothing is left.
  bool Done() const { return ok_ && rest_.empty(); }
  void Fail() { ok_ = false; }

  std::uint8_t U8() { return Number<std::uint8_t>(); }
  std::uint32_t U32() { return Number<std::uint32_t>(); }
  std::uint64_t U64() { return Number<std::uint64_t>(); }
  Timestamp Time() { return {static_cast<std::int64_t>(U64())}; }
  Duration Span() { return {static_cast<std::int64_t>(U64())}; }
  bool Bool() {
    const std::uint8_t value = U8();
    if (value > 1) Fail();
    return value == 1;
  }
  // Borrowed; `size` zero bytes' worth of nothing after a failure.
  ByteView Raw(std::size_t size) {
    if (!ok_ || size > rest_.size()) {
      Fail();
      return {};
    }
    const ByteView view = rest_.first(size);
    rest_ = rest_.subspan(size);
    return view;
  }
  ByteView Block(std::size_t bytes_max) {
    const std::uint32_t size = U32();
    if (size > bytes_max) Fail();
    return Raw(size);
  }
  Bytes BlockCopy(std::size_t bytes_max) { return ToBytes(Block(bytes_max)); }
  std::string Text(std::size_t bytes_max) { return std::string(AsText(Block(bytes_max))); }
  // How many items follow. Each takes at least one byte, so a lie is found before anything is allocated for it.
  std::size_t Count(std::size_t items_max) {
    const std::uint32_t count = U32();
    if (count > items_max || count > rest_.size()) Fail();
    return ok_ ? count : 0;
  }
  // An enumeration without gaps from `first` to `last`.
  template <class Enum>
  Enum Enum8(Enum first, Enum last) {
    const std::uint8_t value = U8();
    if (value < static_cast<std::uint8_t>(first) || value > static_cast<std::uint8_t>(last)) {
      Fail();
      return first;
    }
    return static_cast<Enum>(value);
  }
  template <std::invocable Read>
  auto Optional(Read read) -> std::optional<decltype(read())> {
    if (!Bool() || !ok_) return std::nullopt;
    return read();
  }

 private:
  template <std::unsigned_integral T>
  T Number() {
    const ByteView view = Raw(sizeof(T));
    std::uint64_t value = 0;
    for (const std::uint8_t byte : view) value = (value << 8) | byte;
    return static_cast<T>(value);
  }

  ByteView rest_;
  bool ok_ = true;
};

}  // namespace cmkd::store

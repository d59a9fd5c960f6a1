// Reader: takes numbers and bytes from the front of a view. Every step is bounds-checked; the first failure sticks, and
// what is read after it is zero or empty. A message counts only when it was read to its end: ok() && AtEnd().
#pragma once

#include <cstdint>

#include "common/bytes.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::wire {

class Reader {
 public:
  explicit Reader(ByteView bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && rest_.empty(); }
  std::size_t remaining() const { return rest_.size(); }
  void Fail() {
    ok_ = false;
    rest_ = {};
  }

  std::uint8_t U8() { return Get<std::uint8_t>(); }
  std::uint16_t U16() { return Get<std::uint16_t>(); }
  std::uint32_t U32() { return Get<std::uint32_t>(); }
  std::uint64_t U64() { return Get<std::uint64_t>(); }
  ByteView Raw(std::size_t count) {
    if (count > rest_.size()) {
      Fail();
      return {};
    }
    const ByteView taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  // Bytes written by Writer::Blob; `is_null` tells NULL from empty.
  ByteView Blob(bool* is_null = nullptr) {
    const std::uint32_t length = U32();
    const bool null = length == kNullLength;
    if (is_null != nullptr) *is_null = null;
    return null ? ByteView{} : Raw(length);
  }

 private:
  template <class T>
  T Get() {
    const ByteView taken = Raw(sizeof(T));
    T v = 0;
    if (ok_) std::memcpy(&v, taken.data(), sizeof v);
    return v;
  }

  ByteView rest_;
  bool ok_ = true;
};

}  // namespace cmkd::wire

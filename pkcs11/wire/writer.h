// Writer: appends numbers and bytes to a Buffer. Numbers are little endian on the wire and both ends share a machine,
// so they are copied as they are.
#pragma once

#include <cstdint>

#include "common/limits.h"
#include "pkcs11/wire/buffer.h"

namespace cmkd::wire {

static_assert(sizeof(unsigned long) == 8, "the wire carries 64-bit CK_ULONGs");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers travel in little-endian order");

// Stands for a NULL pointer where a length is written.
inline constexpr std::uint32_t kNullLength = 0xFFFFFFFF;

class Writer {
 public:
  explicit Writer(Buffer& buffer) : buffer_(buffer) {}

  void U8(std::uint8_t v) { Put(v); }
  void U16(std::uint16_t v) { Put(v); }
  void U32(std::uint32_t v) { Put(v); }
  void U64(std::uint64_t v) { Put(v); }
  // Bytes whose number the reader knows.
  void Raw(ByteView bytes) {
    if (!bytes.empty()) std::memcpy(buffer_.Extend(bytes.size()), bytes.data(), bytes.size());
  }
  // Length and bytes; a NULL pointer stays one.
  void Blob(const void* data, std::size_t length) {
    if (data == nullptr) return U32(kNullLength);
    if (length > limits::kFrameBytesMax) {
      overflow_ = true;
      length = 0;
    }
    U32(static_cast<std::uint32_t>(length));
    Raw({static_cast<const std::uint8_t*>(data), length});
  }
  void Blob(ByteView bytes) {
    static const std::uint8_t empty = 0;
    Blob(bytes.empty() ? &empty : bytes.data(), bytes.size());
  }
  std::size_t size() const { return buffer_.size(); }
  // Something was longer than any frame: what was written must not be sent.
  bool overflow() const { return overflow_; }

 private:
  template <class T>
  void Put(T v) {
    std::memcpy(buffer_.Extend(sizeof v), &v, sizeof v);
  }

  Buffer& buffer_;
  bool overflow_ = false;
};

}  // namespace cmkd::wire

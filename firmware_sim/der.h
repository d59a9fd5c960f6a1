// The few DER types that keys are made of: a writer that builds from the inside out and a reader that goes forward and
// stops at the first doubt. Definite lengths only, minimal lengths only (X.690 section 10).
#pragma once

#include <cstddef>
#include <initializer_list>

#include "common/secret.h"

namespace cmkd::sim::der {

enum Tag : std::uint8_t {
  kInteger = 0x02,
  kBitString = 0x03,
  kOctetString = 0x04,
  kNull = 0x05,
  kOid = 0x06,
  kSequence = 0x30,
  kContext0 = 0xa0,
  kContext1 = 0xa1,
};

// Writes backwards into a buffer of a fixed size, so that every length is known when its header is written. Overflow is
// sticky.
class Writer {
 public:
  explicit Writer(MutableBytes buffer) : buffer_(buffer), start_(buffer.size()) {}

  // Bytes written so far; a mark for Wrap().
  std::size_t size() const { return buffer_.size() - start_; }
  bool ok() const { return ok_; }
  ByteView written() const { return ByteView(buffer_).subspan(start_); }

  void Raw(ByteView bytes);
  void Byte(std::uint8_t byte) { Raw({&byte, 1}); }
  // Puts a header before everything written since `mark`.
  void Wrap(std::uint8_t tag, std::size_t mark);
  void Value(std::uint8_t tag, ByteView content) {
    const std::size_t mark = size();
    Raw(content);
    Wrap(tag, mark);
  }
  // A non-negative INTEGER from unsigned big-endian bytes.
  void Integer(ByteView number);

 private:
  MutableBytes buffer_;
  std::size_t start_;
  bool ok_ = true;
};

class Reader {
 public:
  explicit Reader(ByteView bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && rest_.empty(); }
  // Whether the next element has this tag.
  bool Next(std::uint8_t tag) const { return ok_ && !rest_.empty() && rest_[0] == tag; }
  // The content of the next element, which must have this tag; empty and a sticky failure otherwise.
  ByteView Value(std::uint8_t tag);
  // The next element with its header.
  ByteView Element(std::uint8_t tag);
  Reader Enter(std::uint8_t tag) {
    Reader inner(Value(tag));
    inner.ok_ = ok_;
    return inner;
  }
  // A non-negative INTEGER without its leading zero; zero is one zero byte.
  ByteView Integer();

 private:
  ByteView rest_;
  bool ok_ = true;
};

}  // namespace cmkd::sim::der

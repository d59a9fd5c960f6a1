// Reading and writing the small binary records that the flash keeps: numbers little endian, byte strings with a length
// before them.
#pragma once

#include "common/bytes.h"

namespace cmkd::sim {

class RecordWriter {
 public:
  ~RecordWriter() { Wipe(bytes_); }
  void Number(std::uint64_t value) {
    for (int i = 0; i < 8; ++i, value >>= 8) bytes_.push_back(static_cast<std::uint8_t>(value));
  }
  void String(ByteView content) {
    Number(content.size());
    bytes_.insert(bytes_.end(), content.begin(), content.end());
  }
  ByteView bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

// Failure is sticky; what is read after it is zero or empty.
class RecordReader {
 public:
  explicit RecordReader(ByteView bytes) : rest_(bytes) {}
  std::uint64_t Number() {
    const ByteView bytes = Take(8);
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
    return value;
  }
  ByteView String() { return Take(Number()); }
  bool AtEnd() const { return ok_ && rest_.empty(); }
  bool ok() const { return ok_; }

 private:
  ByteView Take(std::uint64_t count) {
    if (!ok_ || count > rest_.size()) {
      ok_ = false;
      return {};
    }
    const ByteView taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  ByteView rest_;
  bool ok_ = true;
};

}  // namespace cmkd::sim

// See der.h.
#include "firmware_sim/der.h"

namespace cmkd::sim::der {

void Writer::Raw(ByteView bytes) {
  if (bytes.size() > start_) ok_ = false;
  if (!ok_ || bytes.empty()) return;
  start_ -= bytes.size();
  std::memcpy(buffer_.data() + start_, bytes.data(), bytes.size());
}

void Writer::Wrap(std::uint8_t tag, std::size_t mark) {
  std::size_t length = size() - mark;
  if (length < 0x80) {
    Byte(static_cast<std::uint8_t>(length));
  } else {
    std::uint8_t count = 0;
    for (; length != 0; length >>= 8, ++count) Byte(static_cast<std::uint8_t>(length));
    Byte(static_cast<std::uint8_t>(0x80 | count));
  }
  Byte(tag);
}

void Writer::Integer(ByteView number) {
  while (number.size() > 1 && number[0] == 0) number = number.subspan(1);
  const std::size_t mark = size();
  if (number.empty()) {
    Byte(0);
  } else {
    Raw(number);
    if ((number[0] & 0x80) != 0) Byte(0);
  }
  Wrap(kInteger, mark);
}

ByteView Reader::Element(std::uint8_t tag) {
  const ByteView whole = rest_;
  const ByteView content = Value(tag);
  if (!ok_) return {};
  return whole.first(whole.size() - rest_.size())
      .first(static_cast<std::size_t>(content.data() - whole.data()) + content.size());
}

ByteView Reader::Value(std::uint8_t tag) {
  const auto fail = [this] {
    ok_ = false;
    return ByteView{};
  };
  if (!Next(tag) || rest_.size() < 2) return fail();
  std::size_t header = 2;
  std::size_t length = rest_[1];
  if (length >= 0x80) {
    const std::size_t count = length & 0x7f;
    if (count == 0 || count > 4 || rest_.size() < 2 + count) return fail();
    length = 0;
    for (std::size_t i = 0; i < count; ++i) length = length << 8 | rest_[2 + i];
    // A length that would have fitted a shorter form is not DER.
    if (length < 0x80 || rest_[2] == 0) return fail();
    header += count;
  }
  if (rest_.size() - header < length) return fail();
  const ByteView content = rest_.subspan(header, length);
  rest_ = rest_.subspan(header + length);
  return content;
}

ByteView Reader::Integer() {
  const ByteView content = Value(kInteger);
  if (!ok_) return {};
  if (content.empty() || (content[0] & 0x80) != 0) {
    ok_ = false;
    return {};
  }
  if (content.size() == 1 || content[0] != 0) return content;
  // A leading zero must be there for the sign.
  if ((content[1] & 0x80) == 0) {
    ok_ = false;
    return {};
  }
  return content.subspan(1);
}

}  // namespace cmkd::sim::der

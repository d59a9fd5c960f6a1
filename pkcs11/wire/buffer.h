// Buffer: the growable bytes of a frame. Growing does not zero; whatever was in it is wiped when it is reused or
// released, because any frame may carry a PIN or a plaintext.
#pragma once

#include <cstdlib>
#include <new>
#include <utility>

#include "common/bytes.h"

namespace cmkd::wire {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { Swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    Clear();
    std::free(data_);
  }

  std::uint8_t* data() { return data_; }
  const std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }
  ByteView view() const { return {data_, size_}; }

  // Makes room for `count` more bytes, not initialised, and returns where they begin.
  std::uint8_t* Extend(std::size_t count) {
    if (size_ + count > capacity_) Grow(size_ + count);
    std::uint8_t* begin = data_ + size_;
    size_ += count;
    return begin;
  }
  // Forgets the tail.
  void Shrink(std::size_t size) {
    if (size >= size_) return;
    Wipe({data_ + size, size_ - size});
    size_ = size;
  }
  // Empty and wiped; keeps up to kKeptBytes for the next frame.
  void Clear() {
    if (size_ != 0) Wipe({data_, size_});
    size_ = 0;
    if (capacity_ > kKeptBytes) {
      std::free(data_);
      data_ = nullptr;
      capacity_ = 0;
    }
  }

 private:
  static constexpr std::size_t kKeptBytes = std::size_t{1} << 17;

  void Grow(std::size_t needed) {
    std::size_t capacity = capacity_ == 0 ? 1024 : capacity_ * 2;
    if (capacity < needed) capacity = needed;
    // Not realloc: it may leave a copy of the old content behind.
    auto* grown = static_cast<std::uint8_t*>(std::malloc(capacity));
    if (grown == nullptr) throw std::bad_alloc();
    if (size_ != 0) {
      std::memcpy(grown, data_, size_);
      Wipe({data_, size_});
    }
    std::free(data_);
    data_ = grown;
    capacity_ = capacity;
  }
  void Swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace cmkd::wire

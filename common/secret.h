// SecretBytes: the one type that owns key bytes, PINs and sealing keys. Wiped when it goes, never copied by accident,
// never printed, left out of core dumps and, as far as the process may, out of swap.
#pragma once

#include <algorithm>
#include <utility>

#include "common/bytes.h"
#include "common/secret_pages.h"

namespace cmkd {

class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size) : size_(size), taken_(size) {
    if (size != 0) data_ = secret_pages::Take(size);
  }
  explicit SecretBytes(ByteView content) : SecretBytes(content.size()) {
    std::copy(content.begin(), content.end(), data_);
  }
  SecretBytes(SecretBytes&& other) noexcept { Swap(other); }
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
      Release();
      Swap(other);
    }
    return *this;
  }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { Release(); }

  SecretBytes Clone() const { return SecretBytes(view()); }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  ByteView view() const { return {data_, size_}; }
  MutableBytes bytes() { return {data_, size_}; }
  // Forgets the tail; the bytes beyond `size` are wiped.
  void Truncate(std::size_t size) {
    if (size >= size_) return;
    Wipe({data_ + size, size_ - size});
    size_ = size;
  }

 private:
  void Swap(SecretBytes& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(taken_, other.taken_);
  }
  void Release() {
    if (data_ == nullptr) return;
    Wipe({data_, size_});  // what Truncate cut off is wiped already
    secret_pages::Give(data_, taken_);
    data_ = nullptr;
    size_ = taken_ = 0;
  }

  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t taken_ = 0;
};

}  // namespace cmkd

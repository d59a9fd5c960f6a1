// SecretBytes: the one type that owns key bytes, PINs and sealing keys. Wiped when it goes, never copied by accident,
// never printed, left out of core dumps and, as far as the process may, out of swap.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

#include "common/bytes.h"

namespace cmkd {

class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size) : size_(size), mapped_(Round(size)) {
    if (mapped_ == 0) return;
    void* memory = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<std::uint8_t*>(memory);
    // Refusal of the lock (RLIMIT_MEMLOCK) is not fatal: the daemon says at start whether it could lock memory.
    (void)::mlock(data_, mapped_);
    (void)::madvise(data_, mapped_, MADV_DONTDUMP);
    (void)::madvise(data_, mapped_, MADV_WIPEONFORK);
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
  static std::size_t Round(std::size_t size) { return (size + 4095) / 4096 * 4096; }
  void Swap(SecretBytes& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapped_, other.mapped_);
  }
  void Release() {
    if (data_ == nullptr) return;
    Wipe({data_, mapped_});
    ::munmap(data_, mapped_);
    data_ = nullptr;
    size_ = mapped_ = 0;
  }

  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t mapped_ = 0;
};

}  // namespace cmkd

// Arena: memory of one call for what a decoder builds: templates, mechanism parameters, output buffers. All of it goes
// at once.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "common/bytes.h"

namespace cmkd::wire {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    Reset();
    std::free(first_);
  }

  // `count` bytes, aligned for any object, not initialised. Never NULL, also for 0 bytes.
  std::uint8_t* Allocate(std::size_t count) {
    const std::size_t rounded = (count + 15) / 16 * 16 + (count == 0 ? 16 : 0);
    if (first_ == nullptr) first_ = Take(kFirstBytes);
    if (used_ + rounded <= kFirstBytes) {
      std::uint8_t* begin = first_ + used_;
      used_ += rounded;
      return begin;
    }
    more_.push_back({Take(rounded), rounded});
    return more_.back().data;
  }
  // An array of plain structures, all bytes zero.
  template <class T>
  T* New(std::size_t count = 1) {
    std::uint8_t* memory = Allocate(count * sizeof(T));
    std::memset(memory, 0, count * sizeof(T));
    return reinterpret_cast<T*>(memory);
  }
  // Keeps a value alive for as long as the memory.
  template <class T>
  T* Keep(T value) {
    auto kept = std::make_shared<T>(std::move(value));
    kept_.push_back(kept);
    return kept.get();
  }
  // Wipes and forgets everything; the first block is kept.
  void Reset() {
    if (used_ != 0) Wipe({first_, used_});
    used_ = 0;
    for (const Block& block : more_) {
      Wipe({block.data, block.size});
      std::free(block.data);
    }
    more_.clear();
    kept_.clear();
  }

 private:
  static constexpr std::size_t kFirstBytes = std::size_t{1} << 14;
  struct Block {
    std::uint8_t* data;
    std::size_t size;
  };

  static std::uint8_t* Take(std::size_t count) {
    auto* memory = static_cast<std::uint8_t*>(std::malloc(count));
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  }

  std::uint8_t* first_ = nullptr;
  std::size_t used_ = 0;
  std::vector<Block> more_;
  std::vector<std::shared_ptr<void>> kept_;
};

}  // namespace cmkd::wire

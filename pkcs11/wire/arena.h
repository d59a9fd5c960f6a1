// Arena: memory of one call for what a decoder builds: templates, mechanism parameters, output buffers. All of it goes
// at once.
//
// All memory comes zeroed, so that an answer can never carry what another call left. A request of a few bytes may ask
// for a buffer of 64 MiB; such a buffer is address space only, and costs memory as far as somebody writes to it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
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

  // `count` bytes, aligned for any object, all zero. Never NULL, also for 0 bytes.
  std::uint8_t* Allocate(std::size_t count) {
    const std::size_t rounded = (count + 15) / 16 * 16 + (count == 0 ? 16 : 0);
    if (first_ == nullptr) first_ = Take(kFirstBytes);
    if (used_ + rounded <= kFirstBytes) {
      std::uint8_t* begin = first_ + used_;
      used_ += rounded;
      return begin;
    }
    if (more_.size() == more_.capacity()) more_.reserve(2 * more_.size() + 8);
    const bool map = rounded >= kHeapBytesMax || (rounded >= kMappedBytesMin && heap_ + rounded > kHeapBytesMax);
    more_.push_back({map ? Map(rounded) : Take(rounded), rounded, map});
    if (!map) heap_ += rounded;
    return more_.back().data;
  }
  // An array of plain structures, all bytes zero.
  template <class T>
  T* New(std::size_t count = 1) {
    return reinterpret_cast<T*>(Allocate(count * sizeof(T)));
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
      if (block.mapped) {
        WipeTouched(block);
        ::munmap(block.data, block.size);
      } else {
        Wipe({block.data, block.size});
        std::free(block.data);
      }
    }
    more_.clear();
    heap_ = 0;
    kept_.clear();
  }
  // Bytes handed out since the last Reset, address space included.
  std::size_t size() const {
    std::size_t bytes = used_;
    for (const Block& block : more_) bytes += block.size;
    return bytes;
  }

 private:
  static constexpr std::size_t kFirstBytes = std::size_t{1} << 14;
  // Blocks up to this much in all are of the heap, which is quicker; what is more, and not small, is mapped.
  static constexpr std::size_t kHeapBytesMax = std::size_t{4} << 20;
  static constexpr std::size_t kMappedBytesMin = std::size_t{1} << 16;
  struct Block {
    std::uint8_t* data;
    std::size_t size;
    bool mapped;
  };

  static std::uint8_t* Take(std::size_t count) {
    auto* memory = static_cast<std::uint8_t*>(std::calloc(count, 1));
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  }
  static std::uint8_t* Map(std::size_t count) {
    void* memory = ::mmap(nullptr, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return static_cast<std::uint8_t*>(memory);
  }
  // Pages that nobody wrote to are not in memory; wiping those would bring them there.
  static void WipeTouched(const Block& block) {
    constexpr std::size_t kStepPages = 1024;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    unsigned char present[kStepPages];
    for (std::size_t at = 0; at < block.size; at += kStepPages * page) {
      const std::size_t bytes = std::min(kStepPages * page, block.size - at);
      const bool known = ::mincore(block.data + at, bytes, present) == 0;
      for (std::size_t i = 0; i * page < bytes; ++i) {
        if (!known || (present[i] & 1) != 0) Wipe({block.data + at + i * page, std::min(page, bytes - i * page)});
      }
    }
  }

  std::uint8_t* first_ = nullptr;
  std::size_t used_ = 0;
  std::size_t heap_ = 0;
  std::vector<Block> more_;
  std::vector<std::shared_ptr<void>> kept_;
};

}  // namespace cmkd::wire

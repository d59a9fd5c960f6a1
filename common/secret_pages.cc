// One list of free blocks for each size, threaded through the blocks themselves. The heads are in a page that a fork
// empties like all the others: the child begins with nothing, and with no lock held by a thread that it does not have.
#include "common/secret_pages.h"

#include <sched.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <new>

namespace cmkd::secret_pages {

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kSlab = 16 * kPage;
constexpr std::size_t kSizes[] = {64, 256, 1024, kSharedBytesMax};

struct Free {
  Free* next;
};
struct Heads {
  std::atomic<bool> locked;
  Free* of_size[sizeof kSizes / sizeof *kSizes];
};

std::size_t Rounded(std::size_t size) { return (size + kPage - 1) / kPage * kPage; }

std::uint8_t* Map(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // Refusal of the lock (RLIMIT_MEMLOCK) is not fatal: the daemon says at start whether it could lock memory.
  (void)::mlock(memory, bytes);
  (void)::madvise(memory, bytes, MADV_DONTDUMP);
  (void)::madvise(memory, bytes, MADV_WIPEONFORK);
  return static_cast<std::uint8_t*>(memory);
}

// Made once and never unmapped: a secret may outlive every destructor.
Heads& TheHeads() {
  static std::atomic<Heads*> heads{nullptr};
  if (Heads* made = heads.load(std::memory_order_acquire); made != nullptr) return *made;
  std::uint8_t* page = Map(kPage);
  auto* mine = new (page) Heads{};
  Heads* first = nullptr;
  if (heads.compare_exchange_strong(first, mine, std::memory_order_acq_rel)) return *mine;
  ::munmap(page, kPage);
  return *first;
}

// Held for a few instructions, or for the making of a slab.
class Lock {
 public:
  explicit Lock(Heads& heads) : heads_(heads) {
    while (heads_.locked.exchange(true, std::memory_order_acquire)) ::sched_yield();
  }
  ~Lock() { heads_.locked.store(false, std::memory_order_release); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  Heads& heads_;
};

std::size_t ClassOf(std::size_t size) {
  std::size_t number = 0;
  while (kSizes[number] < size) ++number;
  return number;
}

Free* CutSlab(std::size_t block) {
  std::uint8_t* slab = Map(kSlab);
  Free* first = nullptr;
  for (std::size_t at = kSlab; at != 0; at -= block) first = new (slab + at - block) Free{first};
  return first;
}

}  // namespace

std::uint8_t* Take(std::size_t size) {
  if (size > kSharedBytesMax) return Map(Rounded(size));
  Heads& heads = TheHeads();
  const std::size_t number = ClassOf(size);
  const Lock lock(heads);
  Free*& head = heads.of_size[number];
  if (head == nullptr) head = CutSlab(kSizes[number]);
  Free* block = head;
  head = block->next;
  block->next = nullptr;
  return reinterpret_cast<std::uint8_t*>(block);
}

void Give(std::uint8_t* memory, std::size_t size) {
  if (size > kSharedBytesMax) {
    ::munmap(memory, Rounded(size));
    return;
  }
  Heads& heads = TheHeads();
  const Lock lock(heads);
  Free*& head = heads.of_size[ClassOf(size)];
  head = new (memory) Free{head};
}

}  // namespace cmkd::secret_pages

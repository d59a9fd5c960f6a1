// The memory of a lane and the two halves in it.
#include "pkcs11/lane/lane.h"

#include <boost/interprocess/mapped_region.hpp>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>
#include <exception>

namespace cmkd::lane {

namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kWordsBytes = 4096;
constexpr std::size_t kLaneBytes = kWordsBytes + 2 * kFrameBytesMax;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// Both processes share the word, so not FUTEX_PRIVATE_FLAG.
void FutexWait(std::uint32_t* word, std::uint32_t seen, std::chrono::milliseconds timeout) {
  timespec limit{timeout.count() / 1000, (timeout.count() % 1000) * 1'000'000};
  ::syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout.count() == 0 ? nullptr : &limit, nullptr, 0);
}

void FutexWake(std::uint32_t* word) { ::syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

std::uint32_t Load(std::uint32_t& word) { return std::atomic_ref(word).load(std::memory_order_seq_cst); }
void Store(std::uint32_t& word, std::uint32_t value) { std::atomic_ref(word).store(value, std::memory_order_seq_cst); }

// What boost::interprocess::mapped_region maps.
struct Descriptor {
  int fd;
  boost::interprocess::mapping_handle_t get_mapping_handle() const { return {fd, false}; }
};

}  // namespace

// Each word on a line of its own: the two processes do not disturb each other's.
struct Lane::Half::Words {
  alignas(kLine) std::uint32_t turn;    // counts frames; the futex
  alignas(kLine) std::uint32_t place;   // of the frame of this turn
  alignas(kLine) std::uint32_t sleeps;  // the reader wants to be woken
  alignas(kLine) std::uint32_t taken;   // the turn whose frame the reader has copied
  alignas(kLine) std::uint32_t cpu;     // where the writer ran
};

struct Lane::Memory {
  struct Words {
    Half::Words requests;
    Half::Words responses;
    alignas(kLine) std::uint32_t may_spin;
  };
  static_assert(sizeof(Words) <= kWordsBytes);
  boost::interprocess::mapped_region region;
  Words& words() { return *static_cast<Words*>(region.get_address()); }
  std::uint8_t* area(std::size_t number) {
    return static_cast<std::uint8_t*>(region.get_address()) + kWordsBytes + number * kFrameBytesMax;
  }
};

Lane::Lane(std::unique_ptr<Memory> memory) : memory_(std::move(memory)) {
  requests_.words_ = &memory_->words().requests;
  requests_.area_ = memory_->area(0);
  responses_.words_ = &memory_->words().responses;
  responses_.area_ = memory_->area(1);
}

Lane::~Lane() = default;

std::unique_ptr<Lane> Lane::Make(wire::Socket& descriptor) {
  wire::Socket fd(::memfd_create("cmkd lane", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid() || ::ftruncate(fd.fd(), kLaneBytes) != 0 || ::fcntl(fd.fd(), F_ADD_SEALS, kSeals) != 0)
    return nullptr;
  std::unique_ptr<Lane> lane = Map(fd.fd());
  if (lane != nullptr) descriptor = std::move(fd);
  return lane;
}

std::unique_ptr<Lane> Lane::Map(int descriptor) {
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0 || facts.st_size != static_cast<off_t>(kLaneBytes)) return nullptr;
  if ((::fcntl(descriptor, F_GET_SEALS) & F_SEAL_SHRINK) == 0) return nullptr;
  try {
    namespace bi = boost::interprocess;
    auto memory = std::make_unique<Memory>();
    memory->region = bi::mapped_region(Descriptor{descriptor}, bi::read_write, 0, kLaneBytes);
    void* address = memory->region.get_address();
    // Frames carry PINs and plaintexts: neither in dumps, nor in children, nor, where the limit allows, in swap.
    ::madvise(address, kLaneBytes, MADV_DONTDUMP);
    ::madvise(address, kLaneBytes, MADV_DONTFORK);
    ::mlock2(address, kWordsBytes + kSmallBytesMax, MLOCK_ONFAULT);
    ::mlock2(memory->area(1), kSmallBytesMax, MLOCK_ONFAULT);
    return std::unique_ptr<Lane>(new Lane(std::move(memory)));
  } catch (const std::exception&) {
    return nullptr;
  }
}

bool Lane::may_spin() const { return Load(memory_->words().may_spin) != 0; }

void Lane::set_may_spin(bool may) {
  std::uint32_t& word = memory_->words().may_spin;
  if ((Load(word) != 0) != may) Store(word, may ? 1 : 0);
}

void Lane::Half::Announce(Place place) {
  const auto relaxed = [](std::uint32_t& word, std::uint32_t value) {
    std::atomic_ref(word).store(value, std::memory_order_relaxed);
  };
  relaxed(words_->place, static_cast<std::uint32_t>(place));
  relaxed(words_->cpu, ThisProcessor());
  Store(words_->turn, Load(words_->turn) + 1);
  if (Load(words_->sleeps) != 0) FutexWake(&words_->turn);
}

void Lane::Half::Post(ByteView frame) {
  if (frame.size() > kSmallBytesMax) long_frames_ = true;
  std::memcpy(area_, frame.data(), frame.size());
  Announce(Place::kLane);
}

void Lane::Half::PostElsewhere() { Announce(Place::kSocket); }

std::uint32_t Lane::Half::turn() const { return Load(words_->turn); }

Place Lane::Half::place() const { return Load(words_->place) == 0 ? Place::kLane : Place::kSocket; }

std::uint32_t Lane::Half::cpu() const { return std::atomic_ref(words_->cpu).load(std::memory_order_relaxed); }

bool Lane::Half::Take(wire::FrameHeader& header, wire::Buffer& payload) {
  std::memcpy(&header, area_, sizeof header);
  if (header.payload_bytes > kFrameBytesMax - sizeof header) return false;
  payload.Clear();
  if (header.payload_bytes != 0) {
    std::memcpy(payload.Extend(header.payload_bytes), area_ + sizeof header, header.payload_bytes);
  }
  Wipe({area_, sizeof header + header.payload_bytes});
  Store(words_->taken, Load(words_->turn));
  return true;
}

void Lane::Half::ReleaseMemory() {
  // A reader who lies about what he has taken spoils his own answer.
  if (!long_frames_ || Load(words_->taken) != Load(words_->turn)) return;
  ::madvise(area_ + kSmallBytesMax, kFrameBytesMax - kSmallBytesMax, MADV_REMOVE);
  long_frames_ = false;
}

void Lane::Half::Sleep(std::uint32_t seen, std::chrono::milliseconds timeout) {
  Store(words_->sleeps, 1);
  // The kernel compares once more: a turn that came in between does not wait.
  FutexWait(&words_->turn, seen, timeout);
  Store(words_->sleeps, 0);
}

void Lane::Half::Nudge() {
  std::atomic_ref(words_->turn).fetch_add(0x8000'0000u, std::memory_order_seq_cst);
  FutexWake(&words_->turn);
}

std::uint32_t ThisProcessor() { return static_cast<std::uint32_t>(::sched_getcpu()); }

void Patience::Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

}  // namespace cmkd::lane

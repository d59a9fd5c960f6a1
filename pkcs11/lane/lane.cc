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

#include <algorithm>
#include <climits>
#include <exception>
#include <thread>

namespace cmkd::lane {

namespace {

constexpr std::size_t kLine = 64;
// The size of a lane is its layout's version: one of another size is not mapped, and the connection stays on its
// socket.
constexpr std::size_t kWordsBytes = 8192;
constexpr std::size_t kLaneBytes = kWordsBytes + 2 * kFrameBytesMax;
// So much of a long frame is written, or read, at a time; both processors' caches hold it.
constexpr std::size_t kStepBytes = 32 * 1024;
// A writer who has stopped in the middle is waited for without sleep, then a while leaving the processor to others,
// then with sleeps, for who stops on purpose shall not cost a processor; and so long in all.
constexpr int kStallPauses = 4000;
constexpr std::chrono::milliseconds kStallAwake{1};
constexpr std::chrono::microseconds kStallNap{200};
constexpr std::chrono::seconds kStallLongest{10};

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
  alignas(kLine) std::uint32_t filled;  // so many bytes of this turn's frame are there; of long frames
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

void Lane::Half::Post(Pieces frame) {
  std::size_t all = 0;
  for (const ByteView piece : frame) all += piece.size();
  const bool is_long = all > kSmallBytesMax;
  if (is_long) long_frames_ = true;
  std::size_t at = 0;
  bool announced = false;
  for (ByteView piece : frame) {
    while (!piece.empty()) {
      const ByteView part = piece.first(is_long ? std::min(piece.size(), kStepBytes) : piece.size());
      std::memcpy(area_ + at, part.data(), part.size());
      at += part.size();
      piece = piece.subspan(part.size());
      if (!is_long) continue;
      Store(words_->filled, static_cast<std::uint32_t>(at));
      if (!announced) Announce(Place::kLane);
      announced = true;
    }
  }
  if (!announced) Announce(Place::kLane);
}

void Lane::Half::PostElsewhere() { Announce(Place::kSocket); }

std::uint32_t Lane::Half::turn() const { return Load(words_->turn); }

Place Lane::Half::place() const { return Load(words_->place) == 0 ? Place::kLane : Place::kSocket; }

std::uint32_t Lane::Half::cpu() const { return std::atomic_ref(words_->cpu).load(std::memory_order_relaxed); }

// How far the frame of this turn, of `all` bytes, has been written, which is beyond `beyond`; 0 when no more will come.
std::size_t Lane::Half::AwaitMore(std::size_t beyond, std::size_t all, Alive alive) {
  for (int pauses = 0; pauses < kStallPauses; ++pauses) {
    if (const std::size_t filled = Load(words_->filled); filled > beyond) return std::min(filled, all);
    Pause();
  }
  const auto begin = std::chrono::steady_clock::now();
  std::chrono::nanoseconds waited{0};
  do {
    waited < kStallAwake ? LeaveProcessor() : std::this_thread::sleep_for(kStallNap);
    if (const std::size_t filled = Load(words_->filled); filled > beyond) return std::min(filled, all);
    waited = std::chrono::steady_clock::now() - begin;
  } while (alive.still(alive.context) && waited < kStallLongest);
  return 0;
}

// Copies what stands from `at` on out and wipes it there, as it is written.
bool Lane::Half::Follow(std::size_t at, MutableBytes into, std::size_t all, Alive alive) {
  while (!into.empty()) {
    const std::size_t ready = AwaitMore(at, all, alive);
    if (ready <= at) return false;
    const std::size_t part = std::min({into.size(), ready - at, kStepBytes});
    std::memcpy(into.data(), area_ + at, part);
    Wipe({area_ + at, part});
    at += part;
    into = into.subspan(part);
  }
  return true;
}

bool Lane::Half::Take(wire::FrameHeader& header, wire::Buffer& payload, Alive alive, Landing* landing) {
  std::memcpy(&header, area_, sizeof header);
  if (header.payload_bytes > kFrameBytesMax - sizeof header) return false;
  payload.Clear();
  const std::size_t all = sizeof header + header.payload_bytes;
  if (all <= kSmallBytesMax) {
    if (header.payload_bytes != 0) {
      std::memcpy(payload.Extend(header.payload_bytes), area_ + sizeof header, header.payload_bytes);
    }
    Wipe({area_, all});
  } else {
    Wipe({area_, sizeof header});
    std::size_t at = sizeof header;
    if (landing != nullptr) {
      if (!Follow(at, {payload.Extend(landing->head), landing->head}, all, alive)) return false;
      at += landing->head;
      const MutableBytes room = landing->place(landing->context, payload.view(), header.payload_bytes);
      landing->landed = std::min(room.size(), all - at);
      if (!Follow(at, room.first(landing->landed), all, alive)) return false;
      at += landing->landed;
    }
    if (at != all && !Follow(at, {payload.Extend(all - at), all - at}, all, alive)) return false;
  }
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

void LeaveProcessor() { ::sched_yield(); }

bool Patience::MayYield() {
  if (no_yield_ != 0) {
    --no_yield_;
    return false;
  }
  // Now and then a sleep all the same: whoever wakes up may be put on another processor, and then both can spin.
  return ++beside_ % kMoveAfter != 0;
}

void Patience::Yield() {
  const auto left = Clock::now();
  LeaveProcessor();
  if (Clock::now() - left > kTooLate) no_yield_ = kNoYieldFor;
}

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

}  // namespace cmkd::lane

// Lane: shared memory in which the two ends of a connection hand each other frames, one at a time in each direction
// (DESIGN section 4; PROTOCOL.md, "Lanes").
//
// It holds frames and counters: no lock, no pointer, no length that is believed. What a peer wrote is copied before it
// is looked at. The memory is sealed against shrinking, so touching it never faults.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>

#include "common/bytes.h"
#include "pkcs11/wire/socket.h"

namespace cmkd::lane {

// Frames up to this size, header included, travel in the lane; longer ones over the socket, announced in the lane. A
// lane costs memory only as far as frames have reached into it.
inline constexpr std::size_t kFrameBytesMax = (1024 + 64) * 1024;
// Of each direction; this much stays locked in memory, and what lies behind is given back to the system after a rest.
inline constexpr std::size_t kSmallBytesMax = 64 * 1024;

// A frame whose bytes lie in several places; the first piece has at least the header.
using Pieces = std::span<const ByteView>;

// Whether it is worth waiting for the rest of a long frame, whose writer may have died.
struct Alive {
  bool (*still)(void* context);
  void* context;
};

// Where a long payload's bulk goes without being copied twice: after `head` bytes, which `place` is shown, as many as
// it gives room for go there; what is before and behind them into the payload's buffer.
struct Landing {
  std::size_t head;
  MutableBytes (*place)(void* context, ByteView head, std::size_t payload_bytes);
  void* context;
  std::size_t landed = 0;  // set by Take
};

// Where the frame of a turn is.
enum class Place : std::uint32_t { kLane = 0, kSocket = 1 };

// The processor that the caller runs on.
std::uint32_t ThisProcessor();
// Between two looks at memory that another processor writes.
void Pause();
// Lets another thread run here.
void LeaveProcessor();

// Whether to wait for the other side without sleeping: when that has lately brought it, and for no longer than a sleep
// and its wake-up would take. One for each waiting place; one thread.
class Patience {
 public:
  // Calls `arrived` until it says true; false after a while, or at once when waiting has not been worth it lately: then
  // the caller sleeps. `allowed` says for how long (Awake), and is asked again and again. `cpu`: where the other side
  // ran when it was last heard of.
  template <class Allowed, class Arrived>
  bool Spin(Allowed allowed, std::uint32_t cpu, Arrived arrived);

 private:
  using Clock = std::chrono::steady_clock;
  // Longer than it takes the other side to wake up: two that both sleep between turns would else never meet awake.
  static constexpr std::chrono::nanoseconds kLongest{60'000};
  static constexpr int kLooks = 16;           // between two looks at the clock
  static constexpr unsigned kWorstScore = 4;  // vain waits until there are no more
  static constexpr unsigned kRetryAfter = 32;
  // Who comes back from a yield so late left the processor to a program that has its own use for it.
  static constexpr std::chrono::nanoseconds kTooLate{400'000};
  static constexpr unsigned kNoYieldFor = 256;  // waits after such a one
  static constexpr unsigned kMoveAfter = 4;
  bool MayYield();
  void Yield();

  unsigned vain_ = 0;      // of the last waits; one that was not takes one off
  unsigned slept_ = 0;     // since the last try
  unsigned no_yield_ = 0;  // waits until the next one may yield
  unsigned beside_ = 0;    // waits on the other side's processor
};

class Lane {
 public:
  // New shared memory, and its descriptor to be passed to the other process. Null when the system has none.
  static std::unique_ptr<Lane> Make(wire::Socket& descriptor);
  // The memory behind a descriptor from the other process. Null unless it has the size of a lane and is sealed.
  static std::unique_ptr<Lane> Map(int descriptor);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // One direction's half; each is written by one process and read by the other.
  class Half {
   public:
    // The writer: the frame, or the word that it comes over the socket; then wakes the reader if he sleeps. A long
    // frame is announced with its first bytes, and the reader follows while the rest is written.
    void Post(Pieces frame);
    void Post(ByteView frame) { Post(Pieces(&frame, 1)); }
    void PostElsewhere();
    // The reader: the counter of turns, to be compared with the one seen before.
    std::uint32_t turn() const;
    Place place() const;
    // Where the writer ran when it posted this turn.
    std::uint32_t cpu() const;
    // Copies the frame of this turn out, wipes it there, and says that it was taken. False when it is not one, or its
    // writer stopped in the middle. Every byte is read once.
    bool Take(wire::FrameHeader& header, wire::Buffer& payload, Alive alive, Landing* landing = nullptr);
    // Sleeps until the turn is not `seen` any more, a wake-up, or the timeout (0: for ever).
    void Sleep(std::uint32_t seen, std::chrono::milliseconds timeout);
    // The writer, when nobody has anything to do: gives the memory of long frames back. Not while a frame waits there.
    void ReleaseMemory();
    // Ends a Sleep of another thread of this process, now or when it begins.
    void Nudge();

   private:
    friend class Lane;
    struct Words;
    Words* words_ = nullptr;
    std::uint8_t* area_ = nullptr;
    bool long_frames_ = false;  // posted here since the last ReleaseMemory
    void Announce(Place place);
    bool Follow(std::size_t at, MutableBytes into, std::size_t all, Alive alive);
    std::size_t AwaitMore(std::size_t beyond, std::size_t all, Alive alive);
  };
  Half& requests() { return requests_; }
  Half& responses() { return responses_; }

  // Whether the server thinks that there are processors to wait on; a hint to the client, written by the server.
  bool may_spin() const;
  void set_may_spin(bool may);

 private:
  struct Memory;
  explicit Lane(std::unique_ptr<Memory> memory);

  std::unique_ptr<Memory> memory_;
  Half requests_;
  Half responses_;
};

template <class Allowed, class Arrived>
bool Patience::Spin(Allowed allowed, std::uint32_t cpu, Arrived arrived) {
  if (arrived()) return true;
  if (!allowed()) return false;
  // Who spins on the processor that the other side wants waits for himself: it is left to him between two looks.
  const bool beside = cpu == ThisProcessor();
  if (beside && !MayYield()) return false;
  if (vain_ >= kWorstScore && ++slept_ < kRetryAfter) return false;
  slept_ = 0;
  const auto begin = Clock::now();
  for (bool over = false; !over;) {
    if (beside) {
      Yield();
    } else {
      for (int i = 0; i < kLooks && !arrived(); ++i) Pause();
    }
    if (arrived()) {
      if (vain_ != 0) --vain_;
      return true;
    }
    over = !allowed() || Clock::now() - begin > kLongest;
  }
  if (vain_ < kWorstScore) ++vain_;
  return false;
}

}  // namespace cmkd::lane

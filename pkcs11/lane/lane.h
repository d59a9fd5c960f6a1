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

#include "common/bytes.h"
#include "pkcs11/wire/socket.h"

namespace cmkd::lane {

// Frames up to this size, header included, travel in the lane; longer ones over the socket, announced in the lane.
inline constexpr std::size_t kFrameBytesMax = 64 * 1024;

// Where the frame of a turn is.
enum class Place : std::uint32_t { kLane = 0, kSocket = 1 };

// How long it has paid to wait for the other side without sleeping. One for each waiting place; one thread.
class Patience {
 public:
  // Calls `arrived` until it says true, or for as long as that has lately been worth it. `allowed`: a processor is
  // free.
  template <class Arrived>
  bool Spin(bool allowed, Arrived arrived);

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::nanoseconds kLongest{20'000};
  static constexpr std::chrono::nanoseconds kShortest{1'000};
  static constexpr int kLooks = 16;            // between two looks at the clock
  static constexpr unsigned kRetryAfter = 32;  // waits that slept before spinning is tried once more
  static void Pause();

  std::chrono::nanoseconds budget_ = kLongest;
  unsigned slept_ = 0;
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
    // The writer: the frame, or the word that it comes over the socket; then wakes the reader if he sleeps.
    void Post(ByteView frame);
    void PostElsewhere();
    // The reader: the counter of turns, to be compared with the one seen before.
    std::uint32_t turn() const;
    Place place() const;
    // Copies the frame of this turn out and wipes it there. False when it is not one.
    bool Take(wire::FrameHeader& header, wire::Buffer& payload);
    // Sleeps until the turn is not `seen` any more, a wake-up, or the timeout (0: for ever).
    void Sleep(std::uint32_t seen, std::chrono::milliseconds timeout);
    // Ends a Sleep of another thread of this process, now or when it begins.
    void Nudge();

   private:
    friend class Lane;
    struct Words;
    Words* words_ = nullptr;
    std::uint8_t* area_ = nullptr;
    void Announce(Place place);
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

template <class Arrived>
bool Patience::Spin(bool allowed, Arrived arrived) {
  if (arrived()) return true;
  if (!allowed) return false;
  if (budget_ < kShortest && ++slept_ < kRetryAfter) return false;
  slept_ = 0;
  const auto budget = std::max(budget_, kShortest);
  const auto begin = Clock::now();
  do {
    for (int i = 0; i < kLooks; ++i) {
      if (arrived()) {
        budget_ = std::min(kLongest, budget * 2);
        return true;
      }
      Pause();
    }
  } while (Clock::now() - begin < budget);
  budget_ = budget / 2;
  return false;
}

}  // namespace cmkd::lane

// Room on the disk kept for the day when it is full: a file that holds it, and gives it back a piece at a time to what
// must go on then (a key is disabled, a deletion cancelled).
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "common/result.h"

namespace cmkd::daemon {

// Any thread.
class SpareRoom {
 public:
  static constexpr std::uint64_t kPiece = std::uint64_t{1} << 20;
  static constexpr std::uint64_t kBytes = 16 * kPiece;

  // The file `path` holds the room, mode 0600; its bytes mean nothing. `bytes` is a multiple of kPiece.
  explicit SpareRoom(std::string path, std::uint64_t bytes = kBytes) : path_(std::move(path)), bytes_(bytes) {}
  ~SpareRoom();
  SpareRoom(const SpareRoom&) = delete;
  SpareRoom& operator=(const SpareRoom&) = delete;

  // Takes what is missing of the room, as much as there is. Quick when nothing is missing.
  void Take();
  // Gives one piece back to the disk. False when there is none left to give.
  bool Give();
  // Bytes held.
  std::uint64_t held() const;

  // Does `work` (a Fallible) again, with a piece more each time, as long as `is_full` says of its error that the disk
  // had no room; nothing may have changed then. What was not needed is taken back.
  template <class Work, class IsFull>
  auto Lend(Work work, IsFull is_full) {
    auto done = work();
    while (!done.ok() && is_full(done.error()) && Give()) done = work();
    Take();
    return done;
  }

 private:
  bool Open();

  const std::string path_;
  const std::uint64_t bytes_;
  mutable std::mutex mutex_;
  int file_ = -1;
  std::uint64_t held_ = 0;
};

}  // namespace cmkd::daemon

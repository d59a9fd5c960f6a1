// The file that holds the room.
#include "daemon/system/spare_room.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace cmkd::daemon {

SpareRoom::~SpareRoom() {
  if (file_ >= 0) ::close(file_);
}

// What is there from the last run counts, but not more than is wanted now.
bool SpareRoom::Open() {
  if (file_ >= 0) return true;
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file_ < 0) return false;
  struct stat status {};
  // Holes hold no room.
  const bool known = ::fstat(file_, &status) == 0;
  const std::uint64_t real = known ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
  held_ = std::min({static_cast<std::uint64_t>(status.st_size), real, bytes_}) / kPiece * kPiece;
  if (::ftruncate(file_, static_cast<off_t>(held_)) != 0) held_ = 0;
  return true;
}

void SpareRoom::Take() {
  const std::lock_guard lock(mutex_);
  if (!Open()) return;
  while (held_ < bytes_ && ::fallocate(file_, 0, static_cast<off_t>(held_), kPiece) == 0) held_ += kPiece;
  // A piece that came in part is no piece.
  struct stat status {};
  if (held_ < bytes_ && ::fstat(file_, &status) == 0 && static_cast<std::uint64_t>(status.st_size) != held_)
    (void)!::ftruncate(file_, static_cast<off_t>(held_));
}

bool SpareRoom::Give() {
  const std::lock_guard lock(mutex_);
  if (!Open() || held_ == 0) return false;
  if (::ftruncate(file_, static_cast<off_t>(held_ - kPiece)) != 0) return false;
  held_ -= kPiece;
  return true;
}

std::uint64_t SpareRoom::held() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

}  // namespace cmkd::daemon

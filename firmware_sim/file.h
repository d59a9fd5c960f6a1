// What the device's memory is made of on this side: files, their descriptors, and the names that are no records.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/bytes.h"

namespace cmkd::sim {

inline constexpr char kDeviceKeyFile[] = "device.key";
inline constexpr char kLockFile[] = "lock";
inline constexpr char kFaultCountsFile[] = "fault-counts";
inline constexpr char kLastFailureFile[] = "last-failure";
inline constexpr char kTemporary[] = ".tmp";

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

inline bool WriteAll(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace cmkd::sim

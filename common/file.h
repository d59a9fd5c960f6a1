// Files as everything that lasts needs them: descriptors that close themselves, files read whole within a bound, and
// files replaced so that after a power cut the old one is there or the new one, and nothing between.
//
// What fails leaves its reason in errno. Any thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "common/bytes.h"

namespace cmkd {

// Owns a descriptor; negative is none.
class File {
 public:
  explicit File(int fd = -1) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { Close(); }

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }
  // It is the caller's from now on.
  int Release() { return std::exchange(fd_, -1); }
  // errno stays what it was.
  void Close();

 private:
  int fd_;
};

// What cannot be done, and why, by errno: "cannot read /a: No such file or directory".
std::string WithReason(const std::string& what);

// Every byte, however many calls that takes.
bool WriteAll(int fd, ByteView bytes);

// From where the descriptor stands to the end. Nothing when that is more than `bytes_max` (errno is EFBIG).
std::optional<Bytes> ReadAll(int fd, std::size_t bytes_max);

// The content of a file; symbolic links are not followed.
std::optional<Bytes> ReadFile(const std::string& path, std::size_t bytes_max);

// A file of this content and mode at `path`, in the place of what is there: written beside it under the same name with
// this ending, put on the disk, renamed. Whoever makes the same file at the same time may fail.
inline constexpr char kDraftEnding[] = ".new";
bool ReplaceFile(const std::string& path, ByteView content, mode_t mode = 0600);

// What was made, renamed and removed in a folder is on the disk.
bool SyncFolder(const std::string& folder);
// The folder that a path is in; "." where it names none.
std::string FolderOf(const std::string& path);

}  // namespace cmkd

// Reading, writing and replacing files.
#include "common/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace cmkd {

void File::Close() {
  if (fd_ < 0) return;
  const int reason = errno;
  ::close(std::exchange(fd_, -1));
  errno = reason;
}

std::string WithReason(const std::string& what) { return what + ": " + ::strerrordesc_np(errno); }

bool WriteAll(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

std::optional<Bytes> ReadAll(int fd, std::size_t bytes_max) {
  Bytes content(bytes_max + 1);
  std::size_t have = 0;
  while (have < content.size()) {
    const ssize_t got = ::read(fd, content.data() + have, content.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  if (have > bytes_max) {
    errno = EFBIG;
    return std::nullopt;
  }
  content.resize(have);
  return content;
}

std::optional<Bytes> ReadFile(const std::string& path, std::size_t bytes_max) {
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return std::nullopt;
  return ReadAll(file.get(), bytes_max);
}

bool ReplaceFile(const std::string& path, ByteView content, mode_t mode) {
  const std::string draft = path + kDraftEnding;
  ::unlink(draft.c_str());  // of a replacement that was interrupted
  const File file(::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file.valid()) return false;
  if (WriteAll(file.get(), content) && ::fsync(file.get()) == 0 && ::rename(draft.c_str(), path.c_str()) == 0)
    return SyncFolder(FolderOf(path));
  const int reason = errno;
  ::unlink(draft.c_str());
  errno = reason;
  return false;
}

bool SyncFolder(const std::string& folder) {
  const File file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return file.valid() && ::fsync(file.get()) == 0;
}

std::string FolderOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace cmkd

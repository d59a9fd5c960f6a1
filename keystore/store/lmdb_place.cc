// Directories, owners, locks and the rename that makes a store appear.
#include "keystore/store/lmdb_place.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "common/file.h"
#include "keystore/store/lmdb_error.h"

namespace cmkd::store {
namespace {

// File systems on which locks or ordered writes are somebody else's business (statfs(2)).
constexpr std::uint32_t kUnfitFileSystems[] = {
    0x6969,      // NFS
    0x517B,      // SMB
    0xFE534D42,  // SMB 2
    0xFF534D42,  // CIFS
    0x65735546,  // FUSE
    0x01021997,  // 9P
    0x5346414F,  // AFS
    0x73757245,  // Coda
    0x00C36400,  // Ceph
    0x0BD00BD0,  // Lustre
    0x7461636F,  // OCFS2
    0x786F4256,  // VirtualBox shared folders
};

File Open(const std::string& path, int flags, mode_t mode = 0) {
  return File(::open(path.c_str(), flags | O_CLOEXEC, mode));
}

Failure<StoreError> Unsafe(const std::string& sentence) { return Refuse(StoreErrorKind::kUnsafe, sentence); }

StoreResult<void> CheckFileSystem(int fd, const std::string& path) {
  struct statfs status {};
  if (::fstatfs(fd, &status) != 0) return SystemFailure(errno, "cannot look at the file system of " + path);
  for (const std::uint32_t unfit : kUnfitFileSystems)
    if (static_cast<std::uint32_t>(status.f_type) == unfit)
      return Unsafe(path +
                    " is on a network or user-space file system, which does not keep the promises a store is built "
                    "on; use a local disk");
  return {};
}

StoreResult<void> CheckOwner(int fd, const std::string& path, mode_t kind) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return SystemFailure(errno, "cannot look at " + path);
  if ((status.st_mode & S_IFMT) != kind) return Unsafe(path + " is not what a store is made of");
  if (status.st_uid != ::geteuid()) return Unsafe(path + " belongs to another user");
  if ((status.st_mode & 077) != 0)
    return Unsafe(path + " is open to other users; chmod it to 0700 (directory) or 0600 (file)");
  if (kind == S_IFREG && status.st_nlink != 1) return Unsafe(path + " has another name somewhere");
  return {};
}

StoreResult<void> Sync(const std::string& path, int flags) {
  const File file = Open(path, flags);
  if (file.get() < 0) return SystemFailure(errno, "cannot open " + path);
  if (::fsync(file.get()) != 0) return SystemFailure(errno, "cannot put " + path + " on disk");
  return {};
}

// "/a/b/" and "b" both have a parent.
std::string ParentOf(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string Beside(std::string path, const char* suffix) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path + suffix;
}

StoreResult<void> RemoveMaking(const std::string& making) {
  for (const char* name : {"/data.mdb", "/lock.mdb"})
    if (::unlink((making + name).c_str()) != 0 && errno != ENOENT && errno != ENOTDIR)
      return SystemFailure(errno, "cannot remove what an interrupted making left in " + making);
  if (::rmdir(making.c_str()) != 0 && errno != ENOENT) return SystemFailure(errno, "cannot remove " + making);
  return {};
}

}  // namespace

StoreResult<PlaceLock> PlaceLock::Take(const std::string& path) {
  const std::string name = Beside(path, ".lock");
  File file = Open(name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (file.get() < 0) return SystemFailure(errno, "cannot open the lock " + name);
  RETURN_IF_ERROR(CheckOwner(file.get(), name, S_IFREG));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return PlaceLock(file.Release());
  if (errno != EWOULDBLOCK) return SystemFailure(errno, "cannot lock " + name);
  return Refuse(StoreErrorKind::kLocked, "the store " + path + " is open already, here or in another process");
}

PlaceLock::~PlaceLock() {
  if (fd_ >= 0) ::close(fd_);
}

StoreResult<bool> IsVacant(const std::string& path) {
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr && errno == ENOENT) return true;
  if (directory == nullptr && errno == ENOTDIR) return Refuse(StoreErrorKind::kForeign, path + " is not a directory");
  if (directory == nullptr) return SystemFailure(errno, "cannot look into " + path);
  bool vacant = true;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") vacant = false;
  }
  ::closedir(directory);
  return vacant;
}

StoreResult<void> CheckPlace(const std::string& path, bool allow_any_file_system) {
  ASSIGN_OR_RETURN(const bool vacant, IsVacant(path));
  if (vacant) return Refuse(StoreErrorKind::kNotFound, "there is no store at " + path);
  const File directory = Open(path, O_RDONLY | O_DIRECTORY);
  if (directory.get() < 0) return SystemFailure(errno, "cannot open " + path);
  const std::string data = DataFile(path);
  const File file = Open(data, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (file.get() < 0 && errno == ENOENT)
    return Refuse(StoreErrorKind::kForeign, path + " holds something, but no store");
  if (file.get() < 0 && errno == ELOOP) return Unsafe(data + " is a symbolic link");
  if (file.get() < 0) return SystemFailure(errno, "cannot open " + data);
  RETURN_IF_ERROR(CheckOwner(directory.get(), path, S_IFDIR));
  RETURN_IF_ERROR(CheckOwner(file.get(), data, S_IFREG));
  if (!allow_any_file_system) RETURN_IF_ERROR(CheckFileSystem(file.get(), path));
  return {};
}

StoreResult<std::string> BeginMaking(const std::string& path, bool allow_any_file_system) {
  const std::string making = Beside(path, ".making");
  RETURN_IF_ERROR(RemoveMaking(making));
  if (::mkdir(making.c_str(), 0700) != 0) return SystemFailure(errno, "cannot make " + making);
  const File directory = Open(making, O_RDONLY | O_DIRECTORY);
  if (directory.get() < 0) return SystemFailure(errno, "cannot open " + making);
  if (!allow_any_file_system) RETURN_IF_ERROR(CheckFileSystem(directory.get(), path));
  return making;
}

StoreResult<void> FinishMaking(const std::string& making, const std::string& path) {
  RETURN_IF_ERROR(Sync(DataFile(making), O_RDONLY));
  RETURN_IF_ERROR(Sync(making, O_RDONLY | O_DIRECTORY));
  // Replaces an empty directory and nothing else.
  if (::rename(making.c_str(), Beside(path, "").c_str()) != 0)
    return SystemFailure(errno, "cannot name the store " + path);
  return Sync(ParentOf(path), O_RDONLY | O_DIRECTORY);
}

}  // namespace cmkd::store

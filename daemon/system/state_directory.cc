// Making and judging the state directory.
#include "daemon/system/state_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace cmkd::daemon {
namespace {

Failure<std::string> Refuse(const std::string& path, const std::string& what) { return Failure{path + ": " + what}; }

Failure<std::string> Refuse(const std::string& path, const char* what, int reason) {
  return Refuse(path, std::string(what) + ": " + ::strerrordesc_np(reason));
}

Result<void, std::string> MakeParents(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (::mkdir(parent.c_str(), 0755) == 0) {
      // Whatever the umask: a parent that only we can enter would surprise everybody else.
      (void)::chmod(parent.c_str(), 0755);
    } else if (errno != EEXIST) {
      return Refuse(parent, "cannot be made", errno);
    }
  }
  return {};
}

}  // namespace

Result<void, std::string> PrepareStateDirectory(const std::string& path) {
  RETURN_IF_ERROR(MakeParents(path));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Refuse(path, "cannot be made", errno);
  const int file = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (file < 0) return Refuse(path, "is not a directory that can be opened (symbolic links are not followed)", errno);
  struct stat status {};
  const bool known = ::fstat(file, &status) == 0;
  const bool ours = known && status.st_uid == ::geteuid();
  const bool closed = ours && ((status.st_mode & 077) == 0 || ::fchmod(file, 0700) == 0);
  ::close(file);
  if (!ours)
    return Refuse(path,
                  "belongs to user " + std::to_string(status.st_uid) + "; it must belong to the daemon's own user");
  if (!closed) return Refuse(path, "is open to other users and cannot be closed to them; run chmod 700");
  return {};
}

Result<int, std::string> LockStateDirectory(const std::string& path) {
  const std::string name = path + "/lock";
  const int file = ::open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) return Refuse(name, "cannot be opened", errno);
  struct flock whole {};
  whole.l_type = F_WRLCK;
  if (::fcntl(file, F_OFD_SETLK, &whole) == 0) return file;
  ::close(file);
  return Refuse(path, "another daemon uses this directory");
}

}  // namespace cmkd::daemon

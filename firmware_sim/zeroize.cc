// See zeroize.h.
#include "firmware_sim/zeroize.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "common/bytes.h"
#include "firmware_sim/file.h"
#include "firmware_sim/rehearsal.h"

namespace cmkd::sim {
namespace {

constexpr char kMarkFile[] = "mark";
constexpr char kMarkTemporary[] = "mark.tmp";
constexpr std::string_view kWords[] = {"", "zeroizing\n", "tampering\n", "tampered\n"};

Failure<Error> Problem(const std::string& what) {
  return Fail(CKR_DEVICE_ERROR, "zeroize: " + what + ": " + std::string(std::strerror(errno)));
}

// The steps of one destruction, for a script of faults that cuts the power at one of them.
class Steps {
 public:
  Status Next() {
    ++step_;
    Rehearsal* const rehearsal = Rehearsal::Current();
    return rehearsal == nullptr ? Status() : rehearsal->AtZeroizeStep(step_);
  }

 private:
  std::uint32_t step_ = 0;
};

Status WriteMark(int directory, Mark mark, Steps& steps) {
  RETURN_IF_ERROR(steps.Next());
  {
    const File file(::openat(directory, kMarkTemporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0) return Problem(kMarkTemporary);
    if (!WriteAll(file.get(), AsBytes(kWords[static_cast<std::size_t>(mark)])) || ::fsync(file.get()) != 0)
      return Problem(kMarkTemporary);
  }
  RETURN_IF_ERROR(steps.Next());
  if (::renameat(directory, kMarkTemporary, directory, kMarkFile) != 0 || ::fsync(directory) != 0)
    return Problem(kMarkFile);
  return {};
}

// On a real medium the old blocks may live on; a real device has its key in a cell that it can cut off.
Status Destroy(int directory, const std::string& name, Steps& steps) {
  RETURN_IF_ERROR(steps.Next());
  {
    const File file(::openat(directory, name.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    struct stat status {};
    if (file.get() >= 0 && ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode)) {
      const Bytes zeros(static_cast<std::size_t>(std::min<off_t>(status.st_size, off_t{64} << 20)));
      if (!WriteAll(file.get(), zeros) || ::fsync(file.get()) != 0) return Problem(name);
    }
  }
  RETURN_IF_ERROR(steps.Next());
  if (::unlinkat(directory, name.c_str(), 0) != 0 && errno != ENOENT) return Problem(name);
  return {};
}

std::vector<std::string> FilesOf(const std::string& directory) {
  std::vector<std::string> names;
  DIR* const list = ::opendir(directory.c_str());
  if (list == nullptr) return names;
  while (const dirent* item = ::readdir(list)) {
    const std::string name = item->d_name;
    // The lock keeps others out until the end; a script's counts are no secret and outlive the device.
    const bool stays =
        name == "." || name == ".." || name == kLockFile || name == kMarkFile || name.starts_with(kFaultCountsFile);
    if (!stays) names.push_back(name);
  }
  ::closedir(list);
  // Without the device key all the others are noise.
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return std::pair(a != kDeviceKeyFile, a) < std::pair(b != kDeviceKeyFile, b);
  });
  return names;
}

File Open(const std::string& directory) { return File(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

}  // namespace

bool IsMark(const std::string& name) { return name == kMarkFile; }

Fallible<Mark> FindMark(const std::string& directory) {
  if (directory.empty()) return Mark::kNone;
  const File file(::open((directory + '/' + kMarkFile).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0 && errno == ENOENT) return Mark::kNone;
  if (file.get() < 0) return Problem(kMarkFile);
  char text[16] = {};
  const ssize_t got = ::read(file.get(), text, sizeof text - 1);
  if (got < 0) return Problem(kMarkFile);
  const std::string_view word(text, static_cast<std::size_t>(got));
  for (const Mark mark : {Mark::kZeroizing, Mark::kTampered}) {
    if (word == kWords[static_cast<std::size_t>(mark)]) return mark;
  }
  return Mark::kTampering;
}

Status MarkForZeroize(const std::string& directory, bool tampered) {
  const File folder = Open(directory);
  if (folder.get() < 0) return Problem(directory);
  Steps steps;
  return WriteMark(folder.get(), tampered ? Mark::kTampering : Mark::kZeroizing, steps);
}

Status FinishZeroize(const std::string& directory) {
  ASSIGN_OR_RETURN(const Mark mark, FindMark(directory));
  const File folder = Open(directory);
  if (folder.get() < 0) return Problem(directory);
  Steps steps;
  for (const std::string& name : FilesOf(directory)) RETURN_IF_ERROR(Destroy(folder.get(), name, steps));
  if (::fsync(folder.get()) != 0) return Problem(directory);
  if (mark == Mark::kTampering || mark == Mark::kTampered) return WriteMark(folder.get(), Mark::kTampered, steps);
  RETURN_IF_ERROR(steps.Next());
  return ClearTampered(directory);
}

Status ClearTampered(const std::string& directory) {
  const File folder = Open(directory);
  if (folder.get() < 0) return Problem(directory);
  if (::unlinkat(folder.get(), kMarkFile, 0) != 0 && errno != ENOENT) return Problem(kMarkFile);
  if (::fsync(folder.get()) != 0) return Problem(directory);
  return {};
}

}  // namespace cmkd::sim

// See last_failure.h.
#include "firmware_sim/last_failure.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "firmware_sim/device_clock.h"
#include "firmware_sim/file.h"

namespace cmkd::sim {
namespace {

constexpr std::size_t kLineBytesMax = 400;

}  // namespace

void KeepLastFailure(const std::string& directory, const std::string& why) {
  if (directory.empty()) return;
  std::string line = DeviceTimeText() + ' ' + why.substr(0, kLineBytesMax - 40);
  std::replace(line.begin(), line.end(), '\n', ' ');
  line += '\n';
  const std::string path = directory + '/' + kLastFailureFile;
  const std::string temporary = path + kTemporary;
  const File file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0 || !WriteAll(file.get(), AsBytes(line)) || ::fsync(file.get()) != 0) return;
  (void)::rename(temporary.c_str(), path.c_str());
}

std::string ReadLastFailure(const std::string& directory) {
  const File file(::open((directory + '/' + kLastFailureFile).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  char line[kLineBytesMax];
  const ssize_t bytes = file.get() < 0 ? 0 : ::read(file.get(), line, sizeof line);
  const std::string_view text(line, bytes < 0 ? 0 : static_cast<std::size_t>(bytes));
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace cmkd::sim

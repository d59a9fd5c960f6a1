// The file has two lines of 32 hexadecimal digits: the user's PIN and the security officer's.
#include "daemon/hsm/software_pins.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/file.h"
#include "daemon/crypto/random.h"

namespace cmkd::daemon {

namespace {

constexpr std::size_t kDigits = 32;
constexpr std::size_t kFileBytes = 2 * (kDigits + 1);

bool IsPinLine(ByteView line) {
  for (std::size_t i = 0; i < kDigits; ++i) {
    const bool digit = (line[i] >= '0' && line[i] <= '9') || (line[i] >= 'a' && line[i] <= 'f');
    if (!digit) return false;
  }
  return line[kDigits] == '\n';
}

SecretBytes MakeContent() {
  static constexpr char kHex[] = "0123456789abcdef";
  SecretBytes random(kDigits);
  FillSecretRandom(random.bytes());
  SecretBytes content(kFileBytes);
  MutableBytes out = content.bytes();
  for (std::size_t i = 0, at = 0; i < kDigits; ++i) {
    out[at++] = static_cast<std::uint8_t>(kHex[random.view()[i] >> 4]);
    out[at++] = static_cast<std::uint8_t>(kHex[random.view()[i] & 15]);
    if (i % (kDigits / 2) == kDigits / 2 - 1) out[at++] = '\n';
  }
  return content;
}

Result<SoftwarePins, std::string> Split(const SecretBytes& content, const std::string& path) {
  const ByteView bytes = content.view();
  if (bytes.size() != kFileBytes || !IsPinLine(bytes.first(kDigits + 1)) || !IsPinLine(bytes.subspan(kDigits + 1))) {
    return Failure{path + " does not hold the two PINs of the simulated device; restore it from a backup"};
  }
  return SoftwarePins{SecretBytes(bytes.first(kDigits)), SecretBytes(bytes.subspan(kDigits + 1, kDigits))};
}

}  // namespace

Result<SoftwarePins, std::string> ReadOrMakeSoftwarePins(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    if (errno != ENOENT) return Failure{WithReason("cannot open " + path)};
    const SecretBytes content = MakeContent();
    if (!ReplaceFile(path, content.view())) return Failure{WithReason("cannot write " + path)};
    return Split(content, path);
  }
  SecretBytes content(kFileBytes + 1);
  struct stat status {};
  const bool closed_to_others = ::fstat(fd, &status) == 0 && (status.st_mode & 0077) == 0;
  const ssize_t got = ::read(fd, content.bytes().data(), content.size());
  ::close(fd);
  if (!closed_to_others) return Failure{path + " is open to others; chmod 600 it, and think of its PINs as known"};
  if (got < 0) return Failure{WithReason("cannot read " + path)};
  content.Truncate(static_cast<std::size_t>(got));
  return Split(content, path);
}

}  // namespace cmkd::daemon

// See flash.h.
#include "firmware_sim/flash.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "firmware_sim/file.h"
#include "firmware_sim/primitives.h"
#include "firmware_sim/rehearsal.h"
#include "firmware_sim/zeroize.h"

namespace cmkd::sim {
namespace {

constexpr std::string_view kMagic = "cmkd-sim flash 1\n";
constexpr std::size_t kFileBytesMax = std::size_t{64} << 20;

Failure<Error> DeviceFailure(const std::string& what) {
  const bool full = errno == ENOSPC || errno == EDQUOT;
  return Fail(full ? CKR_DEVICE_MEMORY : CKR_DEVICE_ERROR, "flash: " + what + ": " + std::string(std::strerror(errno)));
}

// The name is part of what is sealed: a file cannot stand in for another.
Bytes SealContext(const std::string& name) { return ToBytes(AsBytes(std::string(kMagic) + name)); }

// Before each step of a write. Only a script of faults has anything to say then.
Status Step(std::uint32_t step) {
  Rehearsal* const rehearsal = Rehearsal::Current();
  return rehearsal == nullptr ? Status() : rehearsal->AtFlashStep(step);
}

}  // namespace

Fallible<std::unique_ptr<Flash>> Flash::Open(const std::string& directory) {
  if (directory.empty()) return Fail(CKR_DEVICE_ERROR, "flash: no directory configured");
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return DeviceFailure(directory);
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return DeviceFailure(directory);
  std::unique_ptr<Flash> flash(new Flash(directory, fd));
  RETURN_IF_ERROR(flash->Lock());
  RETURN_IF_ERROR(flash->LoadDeviceKey());
  return flash;
}

Flash::~Flash() {
  if (lock_fd_ >= 0) {
    // A forked child has a copy of the descriptor; closing ours alone would leave the lock with it.
    (void)::flock(lock_fd_, LOCK_UN);
    ::close(lock_fd_);
  }
  ::close(directory_fd_);
}

// A chip has one owner. Two processes on one directory would each overwrite what the other has written.
Status Flash::Lock() {
  lock_fd_ = ::openat(directory_fd_, kLockFile, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0) return DeviceFailure(kLockFile);
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) return DeviceFailure("in use by another process");
  return {};
}

Status Flash::LoadDeviceKey() {
  ASSIGN_OR_RETURN(std::optional<Bytes> found, ReadFile(kDeviceKeyFile));
  if (found) {
    if (found->size() != 32) return Fail(CKR_DEVICE_ERROR, "flash: the device key is damaged");
    device_key_ = SecretBytes(*found);
    Wipe(*found);
    return {};
  }
  // A new key would make everything that is there unreadable: only an empty device gets one.
  ASSIGN_OR_RETURN(const std::vector<std::string> names, List(""));
  if (!names.empty()) return Fail(CKR_DEVICE_ERROR, "flash: the device key is missing");
  device_key_ = SecretBytes(32);
  RETURN_IF_ERROR(RandomBytes(device_key_.bytes()));
  return WriteFile(kDeviceKeyFile, device_key_.view());
}

Fallible<std::optional<Bytes>> Flash::ReadFile(const std::string& name) const {
  const File file(::openat(directory_fd_, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0) {
    if (errno == ENOENT) return std::optional<Bytes>();
    return DeviceFailure(name);
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return DeviceFailure(name);
  if (!S_ISREG(status.st_mode) || status.st_size < 0 || static_cast<std::size_t>(status.st_size) > kFileBytesMax) {
    return Fail(CKR_DEVICE_ERROR, "flash: " + name + " is no file of ours");
  }
  Bytes bytes(static_cast<std::size_t>(status.st_size));
  std::size_t got = 0;
  while (got < bytes.size()) {
    const ssize_t n = ::read(file.get(), bytes.data() + got, bytes.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return DeviceFailure(name);
    got += static_cast<std::size_t>(n);
  }
  return std::optional<Bytes>(std::move(bytes));
}

Status Flash::WriteFile(const std::string& name, ByteView bytes) {
  const std::string temporary = name + kTemporary;
  RETURN_IF_ERROR(Step(1));
  {
    const File file(
        ::openat(directory_fd_, temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0) return DeviceFailure(temporary);
    RETURN_IF_ERROR(Step(2));
    if (!WriteAll(file.get(), bytes)) return DeviceFailure(temporary);
    RETURN_IF_ERROR(Step(3));
    if (::fsync(file.get()) != 0) return DeviceFailure(temporary);
  }
  RETURN_IF_ERROR(Step(4));
  if (::renameat(directory_fd_, temporary.c_str(), directory_fd_, name.c_str()) != 0) return DeviceFailure(name);
  RETURN_IF_ERROR(Step(5));
  if (::fsync(directory_fd_) != 0) return DeviceFailure(name);
  return {};
}

void Flash::Forget() {
  const std::unique_lock lock(key_mutex_);
  device_key_ = SecretBytes();
}

Fallible<std::optional<SecretBytes>> Flash::Read(const std::string& name) const {
  const std::shared_lock lock(key_mutex_);
  if (device_key_.empty()) return Fail(CKR_DEVICE_ERROR, "flash: destroyed");
  ASSIGN_OR_RETURN(const std::optional<Bytes> file, ReadFile(name));
  if (!file) return std::optional<SecretBytes>();
  const ByteView bytes = *file;
  if (bytes.size() < kMagic.size() || !Equal(bytes.first(kMagic.size()), AsBytes(kMagic))) {
    return Fail(CKR_DEVICE_ERROR, "flash: " + name + " is damaged");
  }
  auto plain = Unseal(device_key_.view(), SealContext(name), bytes.subspan(kMagic.size()));
  if (!plain.ok()) return Fail(CKR_DEVICE_ERROR, "flash: " + name + " is damaged");
  return std::optional<SecretBytes>(std::move(*plain));
}

Status Flash::Write(const std::string& name, ByteView content) {
  const std::shared_lock lock(key_mutex_);
  if (device_key_.empty()) return Fail(CKR_DEVICE_ERROR, "flash: destroyed");
  ASSIGN_OR_RETURN(const Bytes sealed, Seal(device_key_.view(), SealContext(name), content));
  Bytes file = ToBytes(AsBytes(kMagic));
  file.insert(file.end(), sealed.begin(), sealed.end());
  return WriteFile(name, file);
}

Status Flash::Remove(const std::string& name) {
  const std::shared_lock lock(key_mutex_);
  if (device_key_.empty()) return Fail(CKR_DEVICE_ERROR, "flash: destroyed");
  RETURN_IF_ERROR(Step(6));
  if (::unlinkat(directory_fd_, name.c_str(), 0) != 0 && errno != ENOENT) return DeviceFailure(name);
  RETURN_IF_ERROR(Step(7));
  if (::fsync(directory_fd_) != 0) return DeviceFailure(name);
  return {};
}

Fallible<std::vector<std::string>> Flash::List(const std::string& prefix) const {
  DIR* directory = ::opendir(directory_.c_str());
  if (directory == nullptr) return DeviceFailure(directory_);
  std::vector<std::string> names;
  while (const dirent* item = ::readdir(directory)) {
    const std::string name = item->d_name;
    const bool own = name == "." || name == ".." || name == kLockFile || name == kDeviceKeyFile ||
                     name == kFaultCountsFile || name == kLastFailureFile || IsMark(name) || name.ends_with(kTemporary);
    if (!own && name.starts_with(prefix)) names.push_back(name);
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace cmkd::sim

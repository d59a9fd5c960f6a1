// The device's non-volatile memory, as files in one directory. Each file is sealed with AES-256-GCM under a device key
// that lies beside them: a real device has that key in a fuse or a battery-backed cell, this is a simulation of one and
// protects nothing from who can read the directory. What it does give: a damaged or exchanged file is noticed and never
// used.
#pragma once

#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "common/secret.h"
#include "pkcs11/spec/error.h"

namespace cmkd::sim {

// Any thread; the caller keeps writes to one name apart. All errors are CKR_DEVICE_ERROR, or CKR_DEVICE_MEMORY on a
// full disk.
class Flash {
 public:
  // Opens the directory and makes it (one level, 0700) when it is not there. Only one process at a time has it open.
  static Fallible<std::unique_ptr<Flash>> Open(const std::string& directory);
  ~Flash();
  Flash(const Flash&) = delete;
  Flash& operator=(const Flash&) = delete;

  // What was last written under this name; nullopt when nothing was.
  Fallible<std::optional<SecretBytes>> Read(const std::string& name) const;

  // Durable when it returns, and never half written. A script of faults may cut the power before each step of a write
  // (1 make a temporary file, 2 fill it, 3 make it durable, 4 rename it, 5 make the name durable) and of a removal
  // (6 remove, 7 make that durable).
  Status Write(const std::string& name, ByteView content);
  Status Remove(const std::string& name);

  // Everything is to be destroyed: the device key in memory now, what is on the medium by zeroize.h. When it returns no
  // write goes on, and none succeeds any more.
  void Forget();
  const std::string& directory() const { return directory_; }

  // Names that begin so.
  Fallible<std::vector<std::string>> List(const std::string& prefix) const;

 private:
  Flash(std::string directory, int directory_fd) : directory_(std::move(directory)), directory_fd_(directory_fd) {}
  Status Lock();
  Status LoadDeviceKey();
  Status WriteFile(const std::string& name, ByteView bytes);
  Fallible<std::optional<Bytes>> ReadFile(const std::string& name) const;

  std::string directory_;
  int directory_fd_;
  int lock_fd_ = -1;
  mutable std::shared_mutex key_mutex_;  // held, shared, for the length of a read or write
  SecretBytes device_key_;               // empty when it was forgotten
};

}  // namespace cmkd::sim

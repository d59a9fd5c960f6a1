// A private temporary directory that goes when its owner goes, however that happens.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "common/result.h"

namespace cmkd::tools {

// Besides the destructor there is a janitor: a small process that sees the end of its parent (a pipe closes) and then
// clears up. So not even SIGKILL leaves the directory behind.
class ThrowawayDirectory {
 public:
  // Makes `prefix`.XXXXXX (0700) under TMPDIR, or under /tmp where TMPDIR would make a socket's path in it too long.
  // The error is a sentence.
  static Result<std::unique_ptr<ThrowawayDirectory>, std::string> Make(const std::string& prefix);
  ~ThrowawayDirectory();
  ThrowawayDirectory(const ThrowawayDirectory&) = delete;
  ThrowawayDirectory& operator=(const ThrowawayDirectory&) = delete;

  const std::string& path() const { return path_; }
  // Lets it stay.
  void Keep() { keep_ = true; }

 private:
  explicit ThrowawayDirectory(std::string path) : path_(std::move(path)) {}
  bool StartJanitor();

  std::string path_;
  bool keep_ = false;
  int leash_ = -1;  // the pipe's end; a byte in it tells the janitor that there is nothing to do
  pid_t janitor_ = -1;
};

}  // namespace cmkd::tools

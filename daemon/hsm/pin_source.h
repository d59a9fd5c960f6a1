// Where the PIN of an HSM comes from: a file, a systemd credential, or the first line that a command prints. Never an
// argument, never the configuration file, never the environment.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "common/secret.h"

namespace cmkd::daemon {

struct PinSource {
  std::string file;
  std::string credential;            // a name in $CREDENTIALS_DIRECTORY
  std::vector<std::string> command;  // program and arguments, run without a shell
  bool empty() const { return file.empty() && credential.empty() && command.empty(); }
};

// PINs and what keeps them are never longer.
inline constexpr std::size_t kPinBytesMax = 1024;

// The first of the source's places that is set, read now; a newline at the end is no part of it. Any thread. The error
// is a sentence without the PIN.
Result<SecretBytes, std::string> ReadPin(const PinSource& source);

}  // namespace cmkd::daemon

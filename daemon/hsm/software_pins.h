// The PINs of the simulated device inside the daemon: random, made once, kept in a file that is only the daemon's. They
// keep nobody out who can read that file; they are there because a token has PINs.
#pragma once

#include <string>

#include "common/result.h"
#include "common/secret.h"

namespace cmkd::daemon {

struct SoftwarePins {
  SecretBytes user;
  SecretBytes so;
};

// Reads `path`, or makes it (mode 0600, on disk before it is returned) when there is none. The error is a sentence.
Result<SoftwarePins, std::string> ReadOrMakeSoftwarePins(const std::string& path);

}  // namespace cmkd::daemon

// Where the other parts of cmkd are: beside this program, in a build tree as in an installation, or where the environment
// says.
#pragma once

#include <optional>
#include <string>

namespace cmkd::tools {

// The directory of this program; empty when it cannot be known.
std::string OwnDirectory();

// Full path of the daemon: CMKD_DAEMON, or cmkd in `directory`, or in ../sbin of it.
std::optional<std::string> FindDaemon(const std::string& directory);

// Full path of libcmkd-pkcs11.so: CMKD_MODULE, or in ../lib of `directory` (also its multiarch folders and pkcs11 in
// each), or in `directory`.
std::optional<std::string> FindModule(const std::string& directory);

// Full path of libsofthsm2.so: CMKD_SOFTHSM2_MODULE, or where distributions put it.
std::optional<std::string> FindSoftHsm();

}  // namespace cmkd::tools

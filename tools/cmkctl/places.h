// Where the other parts of cmkd are: beside this program, in a build tree as in an installation, or where the
// environment says.
#pragma once

#include <optional>
#include <string>

namespace cmkd::tools {

// The directory of this program; empty when it cannot be known.
std::string OwnDirectory();

// Full paths, each sought where a variable says or, without that, in the places named. Nothing when it is not there.

// The daemon: CMKD_DAEMON; `directory`; ../sbin.
std::optional<std::string> FindDaemon(const std::string& directory);

// A module of cmkd, such as libcmkd-pkcs11.so: `variable`; ../lib of `directory` and its multiarch folders, with and
// without pkcs11 in each; `directory`.
std::optional<std::string> FindModule(const char* variable, const std::string& name, const std::string& directory);

// cmkd-hsm-host: CMKD_HSM_HOST; beside the daemon; ../libexec/cmkd of it.
std::optional<std::string> FindHsmHost(const std::string& daemon);

// libsofthsm2.so: CMKD_SOFTHSM2_MODULE; where distributions put it.
std::optional<std::string> FindSoftHsm();

}  // namespace cmkd::tools

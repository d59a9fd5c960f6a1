// The directory with everything the daemon keeps: made with mode 0700, refused when anyone else could have written
// there.
#pragma once

#include <string>

#include "common/result.h"

namespace cmkd::daemon {

// Makes `path` (mode 0700; missing parents 0755) or checks what is there: a directory, no symlink, owned by this user,
// closed to group and others. A directory of our own that is merely too open is closed, anything else is refused. The
// error is a sentence that says what to do.
Result<void, std::string> PrepareStateDirectory(const std::string& path);

// A lock on `path`/lock held until the process ends: two daemons never share a state directory. The value is the file
// descriptor; leave it open.
Result<int, std::string> LockStateDirectory(const std::string& path);

}  // namespace cmkd::daemon

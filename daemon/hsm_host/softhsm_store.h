// SoftHsmStore: keeps what SoftHSM 2 would lose of its own files.
//
// SoftHSM empties token.object at every C_Login and writes it anew. A process that is killed in between leaves a token
// that SoftHSM shows no more, and with it would go the wrapping keys, and all keys under them. Nor does SoftHSM put on
// the disk what it writes, so a power cut could take a wrapping key that the daemon relies on already. So the host
// keeps a copy of each token.object beside it, puts it back when SoftHSM does not show the token, and syncs what a call
// has made before the daemon hears of it.
//
// The copy is what token.object is: the token's key under its PINs. A PIN that was changed opens the copy until the
// host is started again.
#pragma once

#include <time.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pkcs11/spec/call_table.h"

namespace cmkd::daemon {

class SoftHsmStore {
 public:
  // Where the module at `path` has its objects; nothing when it is no SoftHSM 2 or keeps none in files.
  static std::optional<SoftHsmStore> Of(const std::string& module_path);
  explicit SoftHsmStore(std::string folder) : folder_(std::move(folder)) {}

  // The module is initialised and serves nobody yet. Puts the copies of tokens back that it does not show: their names.
  // When there are any, initialise it again.
  std::vector<std::string> Restore(const CK_FUNCTION_LIST_3_2& module) const;
  // Copies the token.object of each token that the module shows, where it is not the same already. The paths that could
  // not be copied.
  std::vector<std::string> Keep(const CK_FUNCTION_LIST_3_2& module) const;

  // The kernel's time for files, and what was written since on the disk. Any thread. False: something is not, and errno
  // says why.
  static timespec Now();
  bool SyncSince(const timespec& since) const;

 private:
  std::string folder_;
};

}  // namespace cmkd::daemon

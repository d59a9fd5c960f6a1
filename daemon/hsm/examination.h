// Examination: what a device does for cmkd, found out by trying on throw-away keys: how each kind of key is kept,
// whether old versions are told by their codes, whether it may be used by several threads. For `cmkctl hsm check`, and
// for whoever chooses an HSM.
#pragma once

#include <string>
#include <vector>

#include "daemon/hsm/backend.h"

namespace cmkd::daemon {

enum class Verdict {
  kGood,     // as the standard says
  kHandled,  // otherwise than one would wish, and cmkd makes up for it
  kMissing,  // the device has it not; cmkd does not offer it there
  kFault,    // cmkd cannot use the device for this
};
std::string_view NameOf(Verdict verdict);

struct Finding {
  std::string subject;
  Verdict verdict = Verdict::kGood;
  std::string detail;
};

struct Examination {
  // Of C_GetInfo and C_GetTokenInfo, without the padding.
  std::string manufacturer, library, library_version, cryptoki_version;
  std::string token, token_manufacturer, model, serial, firmware_version;
  // Mechanisms of the device that cmkd's table has, by name, in the table's order.
  std::vector<std::string> mechanisms;
  std::vector<Finding> findings;

  // Whether cmkd can use the device at all: it wraps keys, or keeps them.
  bool usable() const;
};

// Makes keys in the device, uses and destroys them; takes some seconds on a slow one. Leaves nothing behind as long as
// the device goes on. Any thread; others may use the back end meanwhile.
Examination Examine(Backend& backend);

}  // namespace cmkd::daemon

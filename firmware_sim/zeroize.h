// The destruction of all keys of the flash: a mark first, then the device key, then everything else. From the mark on
// nothing of it is ever used again; a destruction that a power cut has interrupted goes on at the next power-on.
#pragma once

#include <string>

#include "pkcs11/spec/error.h"

namespace cmkd::sim {

enum class Mark : std::uint8_t {
  kNone,
  kZeroizing,  // asked for and not yet done
  kTampering,  // the same because the case was opened
  kTampered,   // done, and the case was opened
};

// What the directory is marked with. A mark that is no word of ours counts as kTampering: somebody was there. Errors:
// CKR_DEVICE_ERROR when it cannot be told; that alone destroys nothing.
Fallible<Mark> FindMark(const std::string& directory);

// Whether a file of the flash directory is such a mark.
bool IsMark(const std::string& name);

// Errors: CKR_DEVICE_ERROR. When it succeeds the destruction is certain, now or at the next power-on.
Status MarkForZeroize(const std::string& directory, bool tampered);

// Destroys what there is: each file is overwritten and then removed, the device key first. At its end there is no mark,
// or kTampered after a tampering. May be repeated. Errors: CKR_DEVICE_ERROR.
Status FinishZeroize(const std::string& directory);

// Puts a tampered device, whose keys are gone, back as it left the factory. Errors: CKR_DEVICE_ERROR.
Status ClearTampered(const std::string& directory);

}  // namespace cmkd::sim

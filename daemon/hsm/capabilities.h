// Capabilities: what a device was seen to do, as far as it differs from what it lists and from what the standard says.
// Found by trying each mechanism that matters on throw-away session keys when a back end starts; kept in a record until
// the device or its firmware is another.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "pkcs11/spec/cryptoki.h"
#include "pkcs11/spec/error.h"

namespace cmkd::daemon {

using MechanismMap = std::map<CK_MECHANISM_TYPE, CK_MECHANISM_INFO>;

struct Capabilities {
  // Module, version, token, serial number and firmware: whose record it is.
  std::string identity;
  // Seen to work, and seen not to work although listed. What is in neither was not tried, or the trial said nothing.
  std::set<CK_MECHANISM_TYPE> working;
  std::set<CK_MECHANISM_TYPE> broken;
  // What the device says of a failed integrity check, where that is none of the standard's codes for it.
  std::map<CK_MECHANISM_TYPE, CK_RV> wrong_key;
  // Mechanisms with an integrity check whose failure cannot be told from a fault of the device.
  std::set<CK_MECHANISM_TYPE> mute;

  bool SaysWrongKey(CK_MECHANISM_TYPE mechanism, CK_RV rv) const;
  bool operator==(const Capabilities&) const = default;
};

// "SoftHSM|Implementation of PKCS11|2.6|token|serial|…", printable.
std::string IdentityOf(const CK_INFO& module, const CK_TOKEN_INFO& token);

// Tries what is listed. Somebody must be logged in. Opens a session for each trial and closes it, so that nothing is
// left behind; a device on a network takes some tenths of a second. Errors: the device was lost meanwhile; then nothing
// is known.
Fallible<Capabilities> TryMechanisms(CK_FUNCTION_LIST_PTR device, CK_SLOT_ID slot, const MechanismMap& listed);

// The record as text, and back; nothing when it is no record.
std::string EncodeRecord(const Capabilities& capabilities);
std::optional<Capabilities> DecodeRecord(std::string_view text);

// The record in the file if it is of this device; otherwise tries and writes it. A record with broken mechanisms is not
// kept: what failed once for a reason of that moment is tried again at the next start. An empty path: always tries.
Fallible<Capabilities> LearnCapabilities(const std::string& path, const std::string& identity,
                                         CK_FUNCTION_LIST_PTR device, CK_SLOT_ID slot, const MechanismMap& listed);

}  // namespace cmkd::daemon

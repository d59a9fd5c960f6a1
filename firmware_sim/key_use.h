// May this key be used with this mechanism for that? The same questions for every function, in the standard's order.
#pragma once

#include "firmware_sim/device.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::sim {

// The return values that depend on which key of a call is meant (C_WrapKey has its own).
struct KeyRefusals {
  CK_RV handle = CKR_KEY_HANDLE_INVALID;
  CK_RV type = CKR_KEY_TYPE_INCONSISTENT;
  CK_RV size = CKR_KEY_SIZE_RANGE;
};
inline constexpr KeyRefusals kWrappingKey{CKR_WRAPPING_KEY_HANDLE_INVALID, CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
                                          CKR_WRAPPING_KEY_SIZE_RANGE};
inline constexpr KeyRefusals kUnwrappingKey{CKR_UNWRAPPING_KEY_HANDLE_INVALID, CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
                                            CKR_UNWRAPPING_KEY_SIZE_RANGE};

// The row of a mechanism that does `operation` (a CKF_ flag), with its parameter checked.
// Errors: CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID.
Fallible<const spec::MechanismRow*> CheckMechanism(const CK_MECHANISM& mechanism, CK_FLAGS operation);

// Whether each use to protect takes one of the key's IVs, of which there are only so many (key_usage.h).
inline bool CountsIvs(const spec::MechanismRow& row) {
  return row.recipe == spec::Recipe::kAesGcm || row.recipe == spec::Recipe::kGmac;
}

// A use of a key in one call: counted, and only when the user need not authenticate first. Errors: CKR_KEY_EXHAUSTED,
// CKR_USER_NOT_LOGGED_IN.
Status ChargeCall(Device& device, const Object& object, const Amount& amount);

// The key, if it may be used so. Errors: those of `refusals`, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_MECHANISM_INVALID
// when the key's own list does not have the mechanism.
Fallible<ObjectPtr> CheckKey(const Device& device, const spec::MechanismRow& row, CK_OBJECT_HANDLE handle,
                             CK_FLAGS operation, const KeyRefusals& refusals = {});

}  // namespace cmkd::sim

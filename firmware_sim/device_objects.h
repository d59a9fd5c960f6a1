// Objects of the device itself, which nobody makes, changes or destroys: its monotonic counter, and what it says of its
// validation. They are found by their class only, as the standard has it for hardware features (PKCS#11 3.2 sections
// 4.3 and 4.10), and anybody may see them.
#pragma once

#include <vector>

#include "firmware_sim/handlers.h"

namespace cmkd::sim {

bool IsDeviceObject(CK_OBJECT_HANDLE handle);

// Those that a search asks for.
void FindDeviceObjects(std::span<const CK_ATTRIBUTE> wanted, std::vector<CK_OBJECT_HANDLE>& found);

// C_GetAttributeValue of one of them.
Status ShowDeviceObject(Context& context, CK_OBJECT_HANDLE handle, std::span<CK_ATTRIBUTE> attributes);

// One value by the two-call convention of C_GetAttributeValue, and its absence.
CK_RV PutValue(CK_ATTRIBUTE& wanted, ByteView value);
CK_RV PutNothing(CK_ATTRIBUTE& wanted, CK_RV rv);

}  // namespace cmkd::sim

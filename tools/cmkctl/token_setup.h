// Initialises a token's slot as any PKCS#11 program would.
#pragma once

#include <string_view>
#include <vector>

#include "common/secret.h"
#include "tools/cmkctl/administrator.h"

namespace cmkd::tools {

// C_InitToken with the SO PIN and the label (at most 32 bytes), then C_InitPIN as SO. The PINs are borrowed.
Outcome<void> InitialiseToken(Administrator& daemon, CK_SLOT_ID slot, std::string_view label, SecretBytes& so_pin,
                              SecretBytes& pin);

// The slots that have a token, initialised or not, at most kSlotsMax. The daemon's refusal when there are more.
inline constexpr std::size_t kSlotsMax = 1024;
Outcome<std::vector<CK_SLOT_ID>> SlotsWithToken(Administrator& daemon);
// The first of them. CKR_TOKEN_NOT_PRESENT when there is none.
Outcome<CK_SLOT_ID> FirstSlot(Administrator& daemon);

// The longest label that CK_TOKEN_INFO has room for.
inline constexpr std::size_t kTokenLabelBytesMax = 32;

}  // namespace cmkd::tools

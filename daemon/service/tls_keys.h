// The derivations of TLS that give several things at once, or bytes instead of a key: the keys and IVs of a connection,
// and the pseudorandom function. The daemon makes them of CKM_TLS_KDF, which gives the block of bytes as a key of the
// device, and of CKM_EXTRACT_KEY_FROM_KEY, which cuts it there.
#pragma once

#include "daemon/service/access.h"
#include "daemon/service/key_use.h"

namespace cmkd::daemon {

// CKM_TLS_KEY_AND_MAC_DERIVE, CKM_TLS12_KEY_AND_MAC_DERIVE and CKM_TLS12_KEY_SAFE_DERIVE: two MAC keys and two cipher
// keys, which are session objects and as secret as the master secret, and two IVs. Handles and IVs go where the
// parameter says; on failure there are none. IVs are for all to read and may be bytes that are a key when the lengths
// are chosen otherwise (PKCS#11 3.2, "Key and MAC derivation", Note Well), so a master secret that is sensitive or not
// extractable gives none. Errors: CKR_TEMPLATE_INCONSISTENT for that and for token objects; CKR_KEY_SIZE_RANGE; those
// of a template.
Status DeriveTlsKeys(Invocation& invocation, const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                     const Object& base, std::span<const CK_ATTRIBUTE> given);

// CKM_TLS_PRF: bytes into the parameter. They could be a sensitive key, so a key that is sensitive or not extractable
// gives the verify_data of finished messages only (RFC 2246 section 7.4.9). Errors: CKR_TEMPLATE_INCONSISTENT.
Status DeriveTlsPrf(Invocation& invocation, const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                    const Object& base);

}  // namespace cmkd::daemon

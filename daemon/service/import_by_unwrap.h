// Imported material by the standard's own call: C_UnwrapKey with the wrapping
// key of import parameters (custody/importer.h), which gives a key its material
// instead of making a key.
#pragma once

#include "daemon/service/access.h"

namespace cmkd::daemon {

// The key that this very request has imported into before, when its answer was lost on the way: the parameters that
// `handle` stood for are spent and gone. CK_INVALID_HANDLE when there was none.
Fallible<CK_OBJECT_HANDLE> RepeatedImport(const Invocation& invocation, CK_OBJECT_HANDLE handle);

// The private key of import parameters that this handle means and the session
// may use; nullptr for all other handles.
ObjectPtr FindImportKey(Invocation& invocation, CK_OBJECT_HANDLE handle);

// Opens `wrapped` and gives it to the key that the parameters are for, whose
// handle is the answer. The mechanism is the parameters' own. The template says
// CKA_TOKEN true, and of the key at most what is so (else
// CKR_TEMPLATE_INCONSISTENT); CKA_END_DATE is the last day of the material.
// Refusals have the codes of C_UnwrapKey: CKR_UNWRAPPING_KEY_HANDLE_INVALID for
// parameters that are stale, CKR_WRAPPED_KEY_LEN_RANGE for material of another
// length, CKR_WRAPPED_KEY_INVALID for what cannot be opened or is not what the
// key had before.
Fallible<CK_OBJECT_HANDLE> ImportByUnwrap(Invocation& invocation, const Object& import_key,
                                          const CK_MECHANISM& mechanism, ByteView wrapped,
                                          std::span<const CK_ATTRIBUTE> attributes);

}  // namespace cmkd::daemon

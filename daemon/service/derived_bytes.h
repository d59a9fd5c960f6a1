// Bytes for all to read, which the device derives as a key that lives for a moment.
#pragma once

#include "daemon/hsm/backend.h"
#include "daemon/service/short_lived.h"

namespace cmkd::daemon {

// What `mechanism` derives from `base`, `bytes` long (0: as long as it is). The caller has made sure that it may be
// seen.
inline Fallible<Bytes> DeriveBytes(Backend& backend, const CK_MECHANISM& mechanism, const KeyName& name,
                                   const KeyMaterial& base, const SecondKey* second, CK_ULONG bytes,
                                   const WrappingKey& under) {
  ASSIGN_OR_RETURN(const Made made, backend.DeriveKey(mechanism, name, base, second, CKK_GENERIC_SECRET, bytes, under));
  const ShortLived passing(backend, made.material);
  const KeyMaterial readable = Temporary(CKO_SECRET_KEY, CKK_GENERIC_SECRET, passing.material(), under);
  const CK_ATTRIBUTE_TYPE value[] = {CKA_VALUE};
  ASSIGN_OR_RETURN(const spec::Attributes read, backend.ReadSecret(passing.name(), readable, value));
  const ByteView data = read.View(CKA_VALUE);
  return ToBytes(data.first(std::min<std::size_t>(data.size(), bytes == 0 ? data.size() : bytes)));
}

}  // namespace cmkd::daemon

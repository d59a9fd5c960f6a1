// Bytes for all to read, which the device derives as a key that lives for a moment.
#pragma once

#include <algorithm>

#include "daemon/hsm/backend.h"
#include "daemon/service/short_lived.h"

namespace cmkd::daemon {

// No device cuts a sensitive key shorter, and on the device it is one; so more is derived, and the beginning taken.
inline constexpr CK_ULONG kDerivedOnDeviceMin = 16;

// What `mechanism` derives from `base`, `bytes` long (0: as long as it is). What it makes of a length must be the
// beginning of what it makes of a greater one. The caller has made sure that it may be seen.
inline Fallible<Bytes> DeriveBytes(Backend& backend, const CK_MECHANISM& mechanism, const KeyName& name,
                                   const KeyMaterial& base, std::span<const OtherKey> others, CK_ULONG bytes,
                                   const WrappingKey& under) {
  const CK_ULONG on_device = bytes == 0 ? 0 : std::max(bytes, kDerivedOnDeviceMin);
  ASSIGN_OR_RETURN(const Made made,
                   backend.DeriveKey(mechanism, name, base, others, CKK_GENERIC_SECRET, on_device, under));
  const ShortLived passing(backend, made.material);
  const KeyMaterial readable = Temporary(CKO_SECRET_KEY, CKK_GENERIC_SECRET, passing.material(), under);
  const CK_ATTRIBUTE_TYPE value[] = {CKA_VALUE};
  ASSIGN_OR_RETURN(const spec::Attributes read, backend.ReadSecret(passing.name(), readable, value));
  const ByteView data = read.View(CKA_VALUE);
  return ToBytes(data.first(std::min<std::size_t>(data.size(), bytes == 0 ? data.size() : bytes)));
}

}  // namespace cmkd::daemon

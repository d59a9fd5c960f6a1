// What the derivations share. Included by the primitive_*.cc that derive.
#pragma once

#include <optional>

#include "firmware_sim/primitives.h"

namespace cmkd::sim {

struct DeriveInput {
  const Key& key;
  ByteView base;                   // the value of a secret key
  std::span<const KeyPtr> others;  // the keys that the parameter names, in its order
  std::optional<std::size_t> bytes;
};

// Agreement with another side's public key, after the key derivation function of the parameter.
Fallible<SecretBytes> AgreeOnCurve(const spec::MechanismRow&, const CK_MECHANISM&, const DeriveInput&);
Fallible<SecretBytes> AgreeInField(const spec::MechanismRow&, const CK_MECHANISM&, const DeriveInput&);

// The key derivation functions of X9.63 and SP 800-56C over a shared secret (`kdf` is CKD_…, and not CKD_NULL).
Fallible<SecretBytes> ApplyKdf(CK_ULONG kdf, ByteView secret, ByteView shared, std::size_t bytes);

}  // namespace cmkd::sim

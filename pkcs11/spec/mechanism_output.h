// How long the output of an operation is, from the mechanism's row alone: what answers a length query without asking
// the HSM.
#pragma once

#include <cstddef>
#include <optional>

#include "pkcs11/spec/attributes.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::spec {

// Bytes of output for `input_bytes` of input (of the whole operation). `encrypting` is true for encrypt, sign, wrap and
// digest, false for decrypt and unwrap. Exact where the mechanism fixes it; when a padding is taken off, the most it
// can be. `key_bits` is what OutputBits() says of the key (ignored where the key has no say). `mechanism` is
// read for the tag length of GCM and must have passed CheckParameter(). nullopt: the mechanism has no output buffer (it
// generates or derives), or the length does not fit. PKCS#11 3.2 section 5.2, "Conventions for functions returning
// output in a variable-length buffer". Any thread.
std::optional<std::size_t> OutputLength(const MechanismRow& row, const CK_MECHANISM& mechanism, std::size_t key_bits,
                                        std::size_t input_bytes, bool encrypting);

// The bits of `key` that decide how long the output of this row is: those of the subprime for DSA, the size of the key
// elsewhere, 0 for a key without one. Any thread.
std::size_t OutputBits(const MechanismRow& row, const Attributes& key);

// Bytes of the MAC that a row with kMac or kMacGeneral makes before anything is cut off.
std::size_t MacLength(const MechanismRow& row, const CK_MECHANISM& mechanism);

}  // namespace cmkd::spec

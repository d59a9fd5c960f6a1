// The known answers of the power-on self-test: for every recipe one computation whose result is published, or was made
// with another program. A row is one computation through the primitives, as a caller would have it.
#pragma once

#include <span>

#include "firmware_sim/key.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::sim {

enum class Check : std::uint8_t {
  kBothWays,  // encrypting `input` gives `output`, decrypting gives it back
  kDecrypts,  // decrypting `output` gives `input` (the encryption is random)
  kSigns,     // signing `input` gives `output`, and it verifies
  kVerifies,  // `output` is a signature of `input`, and not of anything else (signing is random); signing verifies
  kDigests,
  kAgrees,  // the parameter's point and the key agree on `output`
};

struct KnownAnswer {
  std::string_view source;
  Check check;
  CK_MECHANISM_TYPE mechanism;
  const void* parameter;
  std::size_t parameter_bytes;
  CK_OBJECT_CLASS key_class;
  CK_KEY_TYPE key_type;
  ByteView key;  // value, or PKCS #8
  ByteView input;
  ByteView output;
};

std::span<const KnownAnswer> KnownAnswers();

}  // namespace cmkd::sim

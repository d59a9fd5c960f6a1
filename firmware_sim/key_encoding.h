// Asymmetric keys as bytes: PKCS #8 for private ones (RFC 5208, RFC 8017, RFC 5915, RFC 8410) and SubjectPublicKeyInfo
// for public ones. Pure: no crypto library, no check of what the numbers mean.
#pragma once

#include "firmware_sim/key.h"

namespace cmkd::sim {

struct DecodedKey {
  CK_KEY_TYPE type = CKK_RSA;
  const spec::Curve* curve = nullptr;
  Parts parts;  // into the decoded bytes
};

// Errors: `refusal` when the bytes are not exactly one key of a kind known here.
Fallible<DecodedKey> DecodePkcs8(ByteView encoded, CK_RV refusal);
Fallible<DecodedKey> DecodeSpki(ByteView encoded, CK_RV refusal);

// The parts that the type needs must be there: for RSA all eight, for curves kValue and kPoint (private), kPoint
// (public).
SecretBytes EncodePkcs8(CK_KEY_TYPE type, const spec::Curve* curve, const Parts& parts);
Bytes EncodeSpki(CK_KEY_TYPE type, const spec::Curve* curve, const Parts& parts);

}  // namespace cmkd::sim

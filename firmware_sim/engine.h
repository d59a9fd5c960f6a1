// How a key becomes usable: the primitives check its parts and build what they need to work with it. Between key.cc,
// which knows encodings, and the crypto library, which it never sees.
#pragma once

#include "firmware_sim/key.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::sim {

// Whether keys of this type are a scalar and an uncompressed point: the curves of SEC 1 and SM2's.
inline bool HasScalar(CK_KEY_TYPE type) { return type == CKK_EC || type == CKK_SM2; }

// Whether keys of this type are numbers modulo a prime: DSA and Diffie-Hellman.
inline bool IsInField(CK_KEY_TYPE type) { return type == CKK_DSA || type == CKK_DH || type == CKK_X9_42_DH; }

EnginePtr PrepareSecret();

// Errors: `refusal` when the parts are no key: primes that do not give the modulus, a scalar out of range.
Fallible<EnginePtr> PreparePrivate(CK_KEY_TYPE type, const spec::Curve* curve, const Parts& parts, CK_RV refusal);

// Errors: CKR_PUBLIC_KEY_INVALID.
Fallible<EnginePtr> PreparePublic(CK_KEY_TYPE type, const spec::Curve* curve, const Parts& parts);

// The public point of a private key on a curve. Errors: `refusal` for a scalar out of range.
Fallible<Bytes> ComputePoint(const spec::Curve& curve, ByteView value, CK_RV refusal);

// The public value of a private key in a field. Errors: `refusal` for an exponent out of range.
Fallible<Bytes> ComputePublicValue(const Parts& parts, CK_RV refusal);

// Whether prime, subprime and base are a group to make keys in: primes, and a base of the right order. Takes a tenth of
// a second. Errors: CKR_ATTRIBUTE_VALUE_INVALID.
Status CheckGroup(CK_KEY_TYPE type, const Parts& parts);

// What PreparePrivate and PreparePublic do for keys in a field.
Fallible<EnginePtr> PrepareInField(CK_KEY_TYPE type, const Parts& parts, bool is_private, CK_RV refusal);

// The missing numbers of an RSA private key, from modulus and exponents (NIST SP 800-56B r2, appendix C) or from what
// primes there are. Each is as PKCS #1 defines it.
struct RsaNumbers {
  SecretBytes buffer;
  Parts parts;
};
// Errors: `refusal` when the exponents do not belong to the modulus.
Fallible<RsaNumbers> CompleteRsa(const Parts& parts, CK_RV refusal);

// New private keys, as PKCS #8.
// `modulus_bits` and `public_exponent` (big-endian; empty for 65537).
Fallible<SecretBytes> GenerateRsa(std::size_t modulus_bits, ByteView public_exponent);
Fallible<SecretBytes> GenerateOnCurve(const spec::Curve& curve);
Fallible<SecretBytes> GenerateInField(CK_KEY_TYPE type, const Parts& group);

}  // namespace cmkd::sim

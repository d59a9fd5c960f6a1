// A key's material inside the device: its bytes, its parts by their PKCS#11 names, and what the primitives have
// prepared from them. A Key never changes after it was made; any number of threads may use one at once.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "common/secret.h"
#include "pkcs11/spec/error.h"
#include "pkcs11/spec/key_facts.h"

namespace cmkd::sim {

// Numbers are big-endian and unsigned. kPoint is without DER: 04‖x‖y, or the one coordinate of RFC 7748 and RFC 8032;
// of keys in a field (DSA, Diffie-Hellman) the public value.
enum class Part : std::uint8_t {
  kModulus,
  kPublicExponent,
  kPrivateExponent,
  kPrime1,
  kPrime2,
  kExponent1,
  kExponent2,
  kCoefficient,
  kEcParams,
  kPoint,
  kPrime,
  kSubprime,  // of DSA and X9.42
  kBase,
  kValue,  // of a secret key; the scalar, seed or exponent of a private key
  kCount
};

// Views into a buffer that somebody else owns; empty when the key has no such part.
class Parts {
 public:
  ByteView& operator[](Part part) { return views_[static_cast<std::size_t>(part)]; }
  ByteView operator[](Part part) const { return views_[static_cast<std::size_t>(part)]; }

 private:
  std::array<ByteView, static_cast<std::size_t>(Part::kCount)> views_{};
};

// What the primitives keep with a key (openssl.h).
struct Engine;
struct ReleaseEngine {
  void operator()(Engine* engine) const;
};
using EnginePtr = std::unique_ptr<Engine, ReleaseEngine>;

class Key;
using KeyPtr = std::shared_ptr<const Key>;

class Key {
 public:
  // Takes over the value of a secret key.
  static Fallible<KeyPtr> Secret(CK_KEY_TYPE type, SecretBytes value);

  // A private key from PKCS #8 (RFC 5208, RFC 5915, RFC 8410). Public parts that the encoding leaves out are computed.
  // Errors: CKR_WRAPPED_KEY_INVALID when the encoding is not exactly one key of a known type, or its parts contradict.
  static Fallible<KeyPtr> Private(SecretBytes pkcs8);

  // A public key from its SubjectPublicKeyInfo (RFC 5280, RFC 8410).
  // Errors: CKR_PUBLIC_KEY_INVALID, also for a point that is not on its curve; CKR_CURVE_NOT_SUPPORTED.
  static Fallible<KeyPtr> Public(Bytes spki);

  // From parts, as C_CreateObject has them. A private RSA key without its primes gets them computed.
  // Errors: CKR_ATTRIBUTE_VALUE_INVALID when the parts do not make a key; those of Public().
  static Fallible<KeyPtr> PrivateFromParts(CK_KEY_TYPE type, const Parts& parts);
  static Fallible<KeyPtr> PublicFromParts(CK_KEY_TYPE type, const Parts& parts);

  CK_OBJECT_CLASS object_class() const { return object_class_; }
  CK_KEY_TYPE type() const { return type_; }
  // As the mechanism table counts: modulus, field, prime or 8 × value.
  std::size_t bits() const { return bits_; }
  const spec::Curve* curve() const { return curve_; }  // nullptr when the key has none
  ByteView part(Part part) const { return parts_[part]; }
  const Parts& parts() const { return parts_; }

  // The whole key as bytes: the value, PKCS #8 or SubjectPublicKeyInfo. What is wrapped and what the flash keeps.
  ByteView encoded() const { return object_class_ == CKO_PUBLIC_KEY ? ByteView(public_) : secret_.view(); }

  // The SubjectPublicKeyInfo of an asymmetric key (CKA_PUBLIC_KEY_INFO).
  Bytes PublicInfo() const;

  Engine& engine() const { return *engine_; }

  Key() = default;
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;

 private:
  CK_OBJECT_CLASS object_class_ = CKO_SECRET_KEY;
  CK_KEY_TYPE type_ = CKK_GENERIC_SECRET;
  std::size_t bits_ = 0;
  const spec::Curve* curve_ = nullptr;
  SecretBytes secret_;
  Bytes public_;
  Bytes computed_point_;
  Parts parts_;
  EnginePtr engine_;
};

}  // namespace cmkd::sim

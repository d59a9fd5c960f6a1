// The key specs an operator may name ("AES-256", "EC-P256") and what they mean to PKCS#11.
#pragma once

#include <span>
#include <string_view>

#include "pkcs11/spec/attributes.h"

namespace cmkd::daemon {

struct KeySpec {
  std::string_view name;
  CK_MECHANISM_TYPE mechanism;
  CK_KEY_TYPE key_type;
  CK_ULONG size;           // bytes of a secret key, bits of an RSA modulus
  std::string_view curve;  // printed name of the curve (spec::FindCurveByName)
};

std::span<const KeySpec> KeySpecs();
// nullptr when unknown; letters of either case.
const KeySpec* FindKeySpec(std::string_view name);

// Of one key, not a pair.
bool IsSecret(const KeySpec& spec);

// The mechanism that makes a secret key of this type.
CK_MECHANISM_TYPE GeneratorOf(CK_KEY_TYPE type);

// What a key may be for. One usage for each key.
struct KeyUsage {
  std::string_view name;
  CK_ATTRIBUTE_TYPE
  protects;  // of the secret or private key (sign), or of the public key (encrypt, verify is its partner)
  CK_ATTRIBUTE_TYPE processes;
};
const KeyUsage* FindKeyUsage(std::string_view name);
// The usage of a spec when none is named.
std::string_view DefaultUsage(const KeySpec& spec);

}  // namespace cmkd::daemon

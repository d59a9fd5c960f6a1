// Roles of keys that could both wrap and work on data. Whoever may unwrap or decrypt with the key under which a
// sensitive key was wrapped has that key; so a key that has wrapped a sensitive one does nothing else ever after, and a
// key that has been used on data does not wrap sensitive ones. The role is CKA_CMKD_ROLE of the key's objects; the
// daemon decides it once, at the first use that matters (daemon/service/key_role.h). Pure functions, any thread.
#pragma once

#include "pkcs11/spec/attributes.h"
#include "pkcs11/spec/error.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::spec {

enum class KeyRole : std::uint8_t {
  kData,       // never wraps sensitive keys; every key that does not say otherwise
  kUndecided,  // may still become either
  kWrapping,   // has wrapped a sensitive key: wraps, and unwraps into sensitive keys, and nothing else
};

KeyRole RoleOf(const Attributes& key);
void SetRole(KeyRole role, Attributes& key);

// The role that a new secret key is born with: undecided when it wraps, was made here and its value has never been and
// can never be outside; otherwise for data. The pair: the same of its two halves together.
void GiveRole(Attributes& secret_key);
void GiveRole(Attributes& public_key, Attributes& private_key);

// Whether using the key so tells something of what was wrapped under it. What a public key does tells nothing.
bool IsDataUse(const MechanismRow& row, CK_OBJECT_CLASS object_class, CK_ATTRIBUTE_TYPE usage);

// Whether what this mechanism wraps can only be unwrapped whole: it has an integrity check, or (OAEP) a padding that
// cannot be changed or probed. What a mechanism without it wraps is open to splicing and to padding oracles.
bool WrapsWhole(const MechanismRow& row);

// Whether encrypting under a chosen IV gives the keystream of everything that was ever encrypted under that IV (of CFB:
// the next of it, from each block of ciphertext taken as IV).
bool MakesKeystream(const MechanismRow& row);

// A secret key is not wrapped under a shorter one. Errors: CKR_WRAPPING_KEY_SIZE_RANGE.
Status CheckWrappingStrength(const Attributes& wrapping, const Attributes& key);

}  // namespace cmkd::spec

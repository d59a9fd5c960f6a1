// The makers of operations, one for each family of recipes. primitives.cc finds them by recipe; the families share the
// two helpers at the end. Included by primitive*.cc only.
#pragma once

#include "firmware_sim/openssl.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {

using CipherResult = Fallible<std::unique_ptr<Cipher>>;
using SignatureResult = Fallible<std::unique_ptr<Signature>>;

// As MakeCipher and MakeSignature of primitives.h, for rows of their recipes.
CipherResult MakeBlock(const spec::MechanismRow&, const CK_MECHANISM&, const Key&, Mode);
CipherResult MakeGcm(const spec::MechanismRow&, const CK_MECHANISM&, const Key&, Mode);
CipherResult MakeChacha20(const spec::MechanismRow&, const CK_MECHANISM&, const Key&, Mode);
CipherResult MakeCcm(const spec::MechanismRow&, const CK_MECHANISM&, const Key&, Mode);
CipherResult MakeEnvelope(const spec::MechanismRow&, const CK_MECHANISM&, const Key&, Mode);
CipherResult MakeSm2Cipher(const spec::MechanismRow&, const CK_MECHANISM&, const Key&, Mode);
CipherResult MakeKeyWrap(const spec::MechanismRow&, const CK_MECHANISM&, const Key&, Mode);
CipherResult MakeRsaCipher(const spec::MechanismRow&, const CK_MECHANISM&, const Key&, Mode);
// PKCS #1 v1.5 that yields exactly `value_bytes`.
CipherResult MakeRsaUnwrap(const Key&, std::size_t value_bytes);

SignatureResult MakeMac(const spec::MechanismRow&, const CK_MECHANISM&, const Key&);
SignatureResult MakeRsaSignature(const spec::MechanismRow&, const CK_MECHANISM&, const Key&);
SignatureResult MakeDsa(const spec::MechanismRow&, const CK_MECHANISM&, const Key&);
SignatureResult MakeEcdsa(const spec::MechanismRow&, const CK_MECHANISM&, const Key&);
SignatureResult MakeTlsMac(const spec::MechanismRow&, const CK_MECHANISM&, const Key&);
SignatureResult MakeSm2Signature(const spec::MechanismRow&, const CK_MECHANISM&, const Key&);
SignatureResult MakeEddsa(const spec::MechanismRow&, const CK_MECHANISM&, const Key&);

// A context with the key schedule of `key`, ready for an IV.
Fallible<Borrowed<EVP_CIPHER_CTX>> BorrowCipher(spec::Recipe recipe, const Key& key, Mode mode);

}  // namespace cmkd::sim

// Which family carries out which recipe.
#include "firmware_sim/primitives.h"

#include "firmware_sim/primitive_factories.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;

struct CipherFamily {
  Recipe recipe;
  CipherResult (*make)(const spec::MechanismRow&, const CK_MECHANISM&, const Key&, Mode);
};
constexpr CipherFamily kCiphers[] = {
    {Recipe::kAesGcm, MakeGcm},
    {Recipe::kAesKwp, MakeKeyWrap},
    {Recipe::kAesKw, MakeKeyWrap},
    {Recipe::kAesKwPkcs7, MakeKeyWrap},
    {Recipe::kCbc, MakeBlock},
    {Recipe::kCbcPad, MakeBlock},
    {Recipe::kCtr, MakeBlock},
    {Recipe::kEcb, MakeBlock},
    {Recipe::kOfb, MakeBlock},
    {Recipe::kCfb1, MakeBlock},
    {Recipe::kCfb8, MakeBlock},
    {Recipe::kCfb64, MakeBlock},
    {Recipe::kCfb128, MakeBlock},
    {Recipe::kCts, MakeBlock},
    {Recipe::kXts, MakeBlock},
    {Recipe::kAesCcm, MakeCcm},
    {Recipe::kChacha20, MakeChacha20},
    {Recipe::kChacha20Poly1305, MakeGcm},
    {Recipe::kRsaPkcs, MakeRsaCipher},
    {Recipe::kRsaOaep, MakeRsaCipher},
    {Recipe::kRsaX509, MakeRsaCipher},
    {Recipe::kRsaAesWrap, MakeEnvelope},
    {Recipe::kEcdhAesWrap, MakeEnvelope},
    {Recipe::kSm2Encrypt, MakeSm2Cipher},
};

struct SignatureFamily {
  Recipe recipe;
  SignatureResult (*make)(const spec::MechanismRow&, const CK_MECHANISM&, const Key&);
};
constexpr SignatureFamily kSignatures[] = {
    {Recipe::kHmac, MakeMac},
    {Recipe::kCmac, MakeMac},
    {Recipe::kCbcMac, MakeMac},
    {Recipe::kXcbcMac, MakeMac},
    {Recipe::kGmac, MakeMac},
    {Recipe::kPoly1305, MakeMac},
    {Recipe::kTlsMac, MakeTlsMac},
    {Recipe::kRsaX931, MakeRsaSignature},
    {Recipe::kSm2Sign, MakeSm2Signature},
    {Recipe::kEcdsa, MakeEcdsa},
    {Recipe::kDsa, MakeDsa},
    {Recipe::kEddsa, MakeEddsa},
    {Recipe::kRsaPkcs, MakeRsaSignature},
    {Recipe::kRsaPss, MakeRsaSignature},
    {Recipe::kRsaX509, MakeRsaSignature},
};

}  // namespace

CipherResult MakeCipher(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key, Mode mode) {
  for (const CipherFamily& family : kCiphers) {
    if (family.recipe == row.recipe) return family.make(row, mechanism, key, mode);
  }
  return Fail(CKR_MECHANISM_INVALID, "no cipher");
}

CipherResult MakeUnwrapCipher(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key,
                              std::optional<std::size_t> value_bytes) {
  if (row.recipe == Recipe::kRsaPkcs && value_bytes) return MakeRsaUnwrap(key, *value_bytes);
  return MakeCipher(row, mechanism, key, Mode::kDecrypt);
}

SignatureResult MakeSignature(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key) {
  for (const SignatureFamily& family : kSignatures) {
    if (family.recipe == row.recipe) return family.make(row, mechanism, key);
  }
  return Fail(CKR_MECHANISM_INVALID, "no signature");
}

}  // namespace cmkd::sim

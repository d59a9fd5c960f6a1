// Which keys may wrap sensitive keys, and what else they may then do.
#include "pkcs11/spec/key_role.h"

#include <algorithm>

#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {
namespace {

constexpr std::string_view kUndecidedText = "undecided";
constexpr std::string_view kWrappingText = "wrapping";

// More than 256 bits of key make nothing stronger.
constexpr std::size_t kStrongestBits = 256;

// The value was made here and can never have been seen.
bool IsClosed(const Attributes& key) {
  return key.Bool(CKA_LOCAL) && key.Bool(CKA_ALWAYS_SENSITIVE) && key.Bool(CKA_NEVER_EXTRACTABLE);
}

}  // namespace

KeyRole RoleOf(const Attributes& key) {
  const std::string_view text = key.Text(CKA_CMKD_ROLE);
  if (text == kUndecidedText) return KeyRole::kUndecided;
  return text == kWrappingText ? KeyRole::kWrapping : KeyRole::kData;
}

void SetRole(KeyRole role, Attributes& key) {
  switch (role) {
    case KeyRole::kData: return key.Remove(CKA_CMKD_ROLE);
    case KeyRole::kUndecided: return key.SetText(CKA_CMKD_ROLE, kUndecidedText);
    case KeyRole::kWrapping: return key.SetText(CKA_CMKD_ROLE, kWrappingText);
  }
}

void GiveRole(Attributes& secret_key) {
  SetRole(secret_key.Bool(CKA_WRAP) && IsClosed(secret_key) ? KeyRole::kUndecided : KeyRole::kData, secret_key);
}

void GiveRole(Attributes& public_key, Attributes& private_key) {
  // The halves of a pair of which only one is on the token could not be told to belong together for ever.
  const bool together = public_key.Bool(CKA_TOKEN) == private_key.Bool(CKA_TOKEN);
  // Only RSA encapsulates by wrapping.
  const bool encapsulates = public_key.Bool(CKA_ENCAPSULATE) && public_key.Ulong(CKA_KEY_TYPE) == CKK_RSA;
  const bool wraps = (public_key.Bool(CKA_WRAP) || encapsulates) && IsClosed(private_key) && together;
  SetRole(wraps ? KeyRole::kUndecided : KeyRole::kData, public_key);
  SetRole(wraps ? KeyRole::kUndecided : KeyRole::kData, private_key);
}

bool IsDataUse(const MechanismRow& row, CK_OBJECT_CLASS object_class, CK_ATTRIBUTE_TYPE usage) {
  if (object_class == CKO_PUBLIC_KEY || usage == CKA_WRAP || usage == CKA_UNWRAP || usage == CKA_VERIFY) return false;
  if (usage == CKA_DECAPSULATE) return false;  // what comes out is judged as what is unwrapped is
  const bool signs = usage == CKA_SIGN || usage == CKA_SIGN_RECOVER;
  // A padded signature is not the private operation on bytes of the caller's choice; a raw one is.
  return !(object_class == CKO_PRIVATE_KEY && signs) || row.recipe == Recipe::kRsaX509;
}

bool WrapsWhole(const MechanismRow& row) {
  return row.versions == VersionSearch::kTrial || row.recipe == Recipe::kRsaOaep || row.output == OutputRule::kEnvelope;
}

bool MakesKeystream(const MechanismRow& row) {
  switch (row.recipe) {
    case Recipe::kAesGcm:
    case Recipe::kAesCcm:
    case Recipe::kCtr:
    case Recipe::kOfb:
    case Recipe::kCfb1:
    case Recipe::kCfb8:
    case Recipe::kCfb64:
    case Recipe::kCfb128:
    case Recipe::kChacha20:
    case Recipe::kChacha20Poly1305: return true;
    default: return false;
  }
}

Status CheckWrappingStrength(const Attributes& wrapping, const Attributes& key) {
  if (wrapping.Ulong(CKA_CLASS) != CKO_SECRET_KEY || key.Ulong(CKA_CLASS) != CKO_SECRET_KEY) return {};
  const std::size_t needed = std::min(KeyBits(key).value_or(0), kStrongestBits);
  if (KeyBits(wrapping).value_or(0) >= needed) return {};
  return Fail(CKR_WRAPPING_KEY_SIZE_RANGE, "a key is not wrapped under a weaker one");
}

}  // namespace cmkd::spec

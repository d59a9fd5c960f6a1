// See signing.h.
#include "firmware_sim/signing.h"

#include "firmware_sim/engine.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {
namespace {

constexpr std::size_t kSignatureBytes = 64;
const CK_MECHANISM kMechanism{CKM_EDDSA, nullptr, 0};

const spec::MechanismRow& Row() { return *spec::FindMechanism(CKM_EDDSA); }

}  // namespace

Fallible<SecretBytes> MakeSigningKey() { return GenerateOnCurve(*spec::FindCurveByName("Ed25519")); }

Fallible<Bytes> PublicHalf(ByteView signing_key) {
  ASSIGN_OR_RETURN(const KeyPtr key, Key::Private(SecretBytes(signing_key)));
  return key->PublicInfo();
}

Fallible<Bytes> SignText(ByteView signing_key, ByteView text) {
  ASSIGN_OR_RETURN(const KeyPtr key, Key::Private(SecretBytes(signing_key)));
  ASSIGN_OR_RETURN(const auto signing, MakeSignature(Row(), kMechanism, *key));
  RETURN_IF_ERROR(signing->Update(text));
  Bytes signature(kSignatureBytes);
  ASSIGN_OR_RETURN(const std::size_t bytes, signing->Sign(signature));
  signature.resize(bytes);
  return signature;
}

Status VerifyText(ByteView public_key, ByteView text, ByteView signature) {
  const auto key = Key::Public(ToBytes(public_key));
  if (!key.ok() || (*key)->type() != CKK_EC_EDWARDS) return Fail(CKR_SIGNATURE_INVALID, "not an Ed25519 key");
  ASSIGN_OR_RETURN(const auto verifying, MakeSignature(Row(), kMechanism, **key));
  RETURN_IF_ERROR(verifying->Update(text));
  if (!verifying->Verify(signature).ok()) return Fail(CKR_SIGNATURE_INVALID, "the signature is wrong");
  return {};
}

Fallible<Bytes> DigestOf(ByteView bytes) {
  ASSIGN_OR_RETURN(const auto digest, MakeDigest(CKM_SHA256));
  RETURN_IF_ERROR(digest->Update(bytes));
  Bytes value(digest->bytes());
  RETURN_IF_ERROR(digest->Final(value));
  return value;
}

}  // namespace cmkd::sim

// How a new object comes to be kept: in the store or with the application, whatever made it.
#pragma once

#include "daemon/service/access.h"

namespace cmkd::daemon {

// Checks that the attributes of a key or object that is about to be made may stand: session and login, separation of
// usages, the rules of managed tokens. `partner`: the other half of a pair, or nullptr.
Status CheckNewObject(const Invocation& invocation, const store::TokenRecord& token, const spec::Attributes& attributes,
                      const spec::Attributes* partner = nullptr);

// On managed tokens a secret key that names no mechanisms gets those with which it can rotate in place.
void AddDefaultMechanisms(const store::TokenRecord& token, spec::Attributes& attributes);
// Allows a secret key exactly the mechanisms with which it can rotate in place.
void AllowRotatingMechanisms(spec::Attributes& attributes);
// An application's request is named by the application and its own number; the daemon then knows it when it comes
// again.
RequestName NameOfRequest(const Invocation& invocation);
// The record of a new key with one version.
cmk::Cmk NewCmk(const spec::Attributes& attributes, cmk::Material material, cmk::Origin origin, Timestamp now);

// The wrapping key for a key with these attributes, held until it is kept: to be asked for before it is made.
Fallible<Custodian::Under> UnderFor(const Invocation& invocation, const spec::Attributes& attributes);
// Keeps an object without secret material: data, certificate, public key.
Fallible<CK_OBJECT_HANDLE> Keep(Invocation& invocation, spec::Attributes attributes);
// Keeps a secret or private key. Secret parts are taken out of the attributes; what the device computed is put in.
Fallible<CK_OBJECT_HANDLE> KeepKey(Invocation& invocation, spec::Attributes attributes, Made made, cmk::Origin origin);
// Keeps several keys that were made together, of the session and of the token: all of them or none, and then nothing of
// them stays in the device. The handles in their order. In *refused, on failure, which of them cannot be there, if it
// is for one.
struct NewKey {
  spec::Attributes attributes;
  Made made;
};
Fallible<std::vector<CK_OBJECT_HANDLE>> KeepKeys(Invocation& invocation, std::vector<NewKey> keys, cmk::Origin origin,
                                                 std::optional<std::size_t>* refused = nullptr);
// Keeps both halves of a pair.
struct PairHandles {
  CK_OBJECT_HANDLE public_key;
  CK_OBJECT_HANDLE private_key;
};
Fallible<PairHandles> KeepPair(Invocation& invocation, spec::Attributes public_attributes,
                               spec::Attributes private_attributes, MadePair made);

// The secret parts of a key's attributes, which are never kept among them.
void RemoveSecretParts(spec::Attributes& attributes);
// An AES key's check value is the encryption of a block of zeros: the first bytes of the key by which GCM
// authenticates. Keys that work on data are shown without.
void HideCheckValue(spec::Attributes& attributes);
// What a template claims of the key that was made with these attributes must be so (CKA_CHECK_VALUE, CKA_VALUE_LEN);
// otherwise the key is discarded. A check value that is not shown is no answer to guesses: it leaves `made` first, and
// claims of it count for nothing.
Status CheckClaims(Backend& backend, std::span<const CK_ATTRIBUTE> given, const spec::Attributes& key, Made& made);
// Nobody will own this key: nothing of it stays in the device.
void Discard(Backend& backend, const Made& made);
bool IsSecretPart(const Object& object, CK_ATTRIBUTE_TYPE type);

// "AES-256", "RSA-2048", "EC-P256", …
std::string SpecName(const spec::Attributes& attributes);

}  // namespace cmkd::daemon

// Which material a call may use: the one place where a key, its CMK's state, its versions and a mechanism's row come
// together.
#pragma once

#include <vector>

#include "daemon/service/access.h"
#include "keystore/cmk/permitted_use.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::daemon {

// One version of a key, ready for the device.
struct Candidate {
  KeyName name;
  KeyMaterial material;
  cmk::KeyVersionNumber version;
  bool compromised = false;
};

// The versions of `key` that may serve `use`, the most likely first: the current one to protect; to process, with a
// mechanism whose integrity check tells a wrong key (`search` kTrial), older ones after it, at most
// limits.trial_versions of them, and before all of them the one that opened last for this program. The key's state is
// asked now, of the store. Never empty. The candidates borrow from `key`.
Fallible<std::vector<Candidate>> Candidates(const Invocation& invocation, const Object& key, cmk::Use use,
                                            spec::VersionSearch search, Moment moment);

// The first candidate: for uses that have only one.
Fallible<Candidate> CurrentCandidate(const Invocation& invocation, const Object& key, cmk::Use use, Moment moment);

// The detail of a refusal where a search of all candidates found none: whether there are older versions that were not
// tried, so that the data may be good all the same.
spec::Detail WhyNoneFits(const Invocation& invocation, const Object& key);

// One version of the key, by its number. CKR_ENCRYPTED_DATA_INVALID when it is not there or may not be used; when it is
// the key that may not be used, what Candidates would say.
Fallible<Candidate> VersionCandidate(const Invocation& invocation, const Object& key, cmk::KeyVersionNumber number,
                                     cmk::Use use, Moment moment);

// The mechanism by which the device does this one: itself, or CKM_ECDSA for a signature over a digest that the device
// cannot make in one go; then the digest is made before, by the same device (operation_run.h); or CKM_AES_GCM for the
// managed mechanism (managed_cipher.h), CKM_SHA_1_HMAC for one-time passwords (hotp.h). What the daemon makes without
// any device (public_objects.h) is itself, whether or not the device has it, too. Empty: the device cannot do it.
std::optional<CK_MECHANISM_TYPE> MechanismOnDevice(const Backend& backend, const spec::MechanismRow& row);

// Whether tokens of this profile offer the mechanism at all: it is in the table, the device has it, and legacy ones
// (whose cryptography is past its time) only where any PKCS#11 program must find what it expects.
bool IsOffered(const store::TokenRecord* token, const Backend& backend, const spec::MechanismRow& row);

// What the mechanism can be used for on this device: the row's operations as far as the device has what they are built
// of. Message calls, recovery and encapsulation are built of plain ones (operation_run.h, encapsulation.cc).
CK_FLAGS ServedOperations(const Backend& backend, const spec::MechanismRow& row);

// Whether the mechanism may be used with the key for this: offered by the token, fits the key's type and size, is among
// CKA_ALLOWED_MECHANISMS, and the key has the usage attribute. CKR_MECHANISM_INVALID, CKR_KEY_TYPE_INCONSISTENT,
// CKR_KEY_SIZE_RANGE, CKR_MECHANISM_PARAM_INVALID, CKR_KEY_FUNCTION_NOT_PERMITTED.
// CheckOffered leaves the parameter alone: message operations get theirs with each message.
Fallible<const spec::MechanismRow*> CheckOffered(const Invocation& invocation, CK_MECHANISM_TYPE type,
                                                 CK_FLAGS operation);
Fallible<const spec::MechanismRow*> CheckMechanism(const Invocation& invocation, const CK_MECHANISM& mechanism,
                                                   CK_FLAGS operation);
Status CheckKeyFits(const spec::MechanismRow& row, const Object& key, CK_ATTRIBUTE_TYPE usage);

// The secret parts of a key that may be shown, read from the device. The caller has asked spec::MayReveal.
Fallible<spec::Attributes> ReadSecretParts(const Invocation& invocation, const Object& key,
                                           std::span<const CK_ATTRIBUTE_TYPE> types);

// Says in the audit record which key was used how.
void RecordKey(Invocation& invocation, const Object& key, CK_MECHANISM_TYPE mechanism);

// Counts a use of one version, before it is made when it applies protection (it may be one too many:
// CKR_FUNCTION_FAILED with kVersionExhausted), after it and before its answer otherwise. Keys without a CMK are not
// counted. What a
// compromised version opens is an alarm.
Status CountUse(Invocation& invocation, const Object& key, const Candidate& candidate, cmk::Use use,
                CK_MECHANISM_TYPE mechanism, std::size_t bytes);

// More bytes of a use that was counted when it began.
Status CountMore(Invocation& invocation, const Object& key, cmk::KeyVersionNumber version, cmk::Use use,
                 std::size_t bytes);

// Translates a return value of the device into a status for the caller.
Status FromDevice(CK_RV rv, const char* what);
// Whether a device can have made so many bytes of this key, where that follows from the mechanism: CKR_DEVICE_ERROR
// otherwise, for what is missing or too much would be a key that is lost. How long a wrapped private key is says its
// encoding only. `mechanism` is nullptr when the tag is apart (C_WrapKeyAuthenticated).
Status CheckWrappedLength(const spec::MechanismRow& row, const CK_MECHANISM* mechanism, const Object& wrapping,
                          const Object& key, std::size_t made);

}  // namespace cmkd::daemon

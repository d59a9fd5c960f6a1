// What all calls on operations share: how one begins, does its data at once or in parts, and ends. One code for every
// kind of operation; a table says what is particular to each. The rule "an error ends the operation, a length query or
// a buffer too small does not" stands here and nowhere else.
#pragma once

#include "daemon/service/key_use.h"

namespace cmkd::daemon {

// More buffered than this belongs in an operation that streams. The answer that comes of it fits a frame.
inline constexpr std::size_t kBufferedMax = std::size_t{64} << 20;

// Whoever may encrypt and not decrypt would read other people's messages by choosing their IV again: an encrypting key
// that cannot decrypt takes no IV from its caller where the IV makes the keystream. CKR_MECHANISM_PARAM_INVALID.
Status CheckCallersIv(const spec::MechanismRow& row, const Object& key);

// Begins an operation of this kind in the session, or cancels it (3.0: `mechanism` is nullptr).
Status BeginOperation(Invocation& invocation, spec::OperationKind kind, const CK_MECHANISM* mechanism,
                      CK_OBJECT_HANDLE key);

// The active operation of this kind, ready for a data call.
Fallible<Operation*> ActiveOperation(Invocation& invocation, spec::OperationKind kind);

// Whether the operation goes on after this status.
inline bool GoesOn(const Status& status) { return !status.ok() && status.error().rv == CKR_BUFFER_TOO_SMALL; }

// Runs a data call on the active operation and ends the operation unless it goes on. `last`: success ends it, too,
// unless it was only a `query`.
template <class Body>
Status WithOperation(Invocation& invocation, spec::OperationKind kind, bool last, bool query, Body body) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveOperation(invocation, kind));
  const Status status = body(*operation);
  const bool keep = GoesOn(status) || (status.ok() && (query || !last));
  if (!keep) invocation.session->operation(kind).reset();
  return status;
}

// Says in the audit record which operation used how much.
void RecordUse(Invocation& invocation, const Operation& operation, std::size_t input);

// ---- On an operation, whoever keeps it. None of these ends it.

// All at once: parts must not have been fed.
Status TransformWhole(Invocation& invocation, Operation& operation, ByteView input, spec::BytesOut& output);
Status VerifyWhole(Invocation& invocation, Operation& operation, ByteView input, ByteView signature);

// In parts. The first one decides how: in one device session, in one for each version that may fit, or buffered here.
Status StartParts(Invocation& invocation, Operation& operation);
Status FeedPart(Invocation& invocation, Operation& operation, ByteView input);
Status UpdatePart(Invocation& invocation, Operation& operation, ByteView input, spec::BytesOut& output);
Status FinishParts(Invocation& invocation, Operation& operation, spec::BytesOut& output);
Status FinishVerify(Invocation& invocation, Operation& operation, ByteView signature);
// Keeps a part until the end. CKR_DATA_LEN_RANGE and its kin above kBufferedMax.
Status BufferPart(Operation& operation, ByteView part);

// Does Init and the one-part function in a device session, with each version of the key that may fit until one does.
using OnDevice = std::function<CK_RV(CK_FUNCTION_LIST_PTR, CK_SESSION_HANDLE)>;
Status RunOnce(Invocation& invocation, const Operation& operation, const OnDevice& once);
// The same for a key of one version, with an Init of the caller's own in `work`.
Status RunWithKey(Invocation& invocation, const Operation& operation,
                  const std::function<CK_RV(CK_FUNCTION_LIST_PTR, CK_SESSION_HANDLE, CK_OBJECT_HANDLE)>& work);

// ---- Outputs

Failure<Error> TooSmall();
// The output's length for `input` bytes of the whole operation: exact when protecting, else the most it can be.
Fallible<std::size_t> WholeLength(const Operation& operation, std::size_t input);
// Whether a device can have made so many bytes where the mechanism's row says `length`. One that says otherwise gave no
// answer: what is missing or too much would be a wrong ciphertext or MAC.
bool IsPlausible(const Operation& operation, std::size_t length, CK_ULONG made);
// Gives an output that has been made; keeps it for the caller's next try when it does not fit.
Status Deliver(Invocation& invocation, Operation& operation, spec::BytesOut& output, ByteView made, ByteView input);
// An output that is waiting since the last call, if this call is that one again.
bool TakePending(Operation& operation, spec::BytesOut& output, ByteView input, Status& status);

}  // namespace cmkd::daemon

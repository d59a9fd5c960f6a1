// What an operation asks of the device: the kinds of operation as a table, the versions of the key that may fit, one
// trip with each until one does. Under operation_run.h; the calls do not include this.
#pragma once

#include <vector>

#include "daemon/service/operation_run.h"

namespace cmkd::daemon {

using InitFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE);
using TransformFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);
using FeedFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG);
using DrainFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR);

// What is particular to a kind of operation. Functions that a kind does not have are nullptr. Devices are asked for
// 2.40's functions only: what later versions add is built of them here, so every device has it.
struct KindRow {
  spec::OperationKind kind;
  CK_FLAGS flag;            // of the mechanism
  CK_ATTRIBUTE_TYPE usage;  // of the key
  cmk::Use use;
  InitFunction CK_FUNCTION_LIST::*init;
  TransformFunction CK_FUNCTION_LIST::*single;
  TransformFunction CK_FUNCTION_LIST::*update;  // parts with output
  FeedFunction CK_FUNCTION_LIST::*feed;         // parts without
  DrainFunction CK_FUNCTION_LIST::*final;
};

const KindRow& RowOf(spec::OperationKind kind);

bool IsVerification(const Operation& operation);

// Never NULL, which SoftHSM refuses even where there is nothing to point at.
inline CK_BYTE_PTR Mutable(ByteView bytes) {
  static CK_BYTE nothing = 0;
  return bytes.data() == nullptr ? &nothing : const_cast<CK_BYTE_PTR>(bytes.data());
}

// Refuses when the key may not be seen any more: it may have been hidden or taken away since Init; what counts is now.
Status CheckStillThere(const Invocation& invocation, const Operation& operation);
// The versions of the operation's key to try, in order; none for an operation without a key.
Fallible<std::vector<Candidate>> CandidatesOf(const Invocation& invocation, const Operation& operation);

// Starts the operation in a device session with one version of its key, or without a key (nullptr).
CK_RV StartOnDevice(CK_FUNCTION_LIST_PTR device, Backend::Lease& lease, const Operation& operation,
                    const Candidate* candidate);

// The code for "the integrity check failed", as the standard has it.
Failure<Error> WrongKey(const Invocation& invocation, const Operation& operation);

// ---- Digests made apart (MechanismOnDevice)

inline constexpr std::size_t kDigestMax = 64;

// What the device is to sign: the input, or its digest in the call's arena.
Fallible<ByteView> Digested(Invocation& invocation, const Operation& operation, ByteView input);

// ---- Signatures to verify

// The standard lets both halves of an ECDSA signature be shorter than the curve's order; devices want them at full
// length. The answer is `signature` itself or in the call's arena.
ByteView FullLengthSignature(Invocation& invocation, const Operation& operation, ByteView signature);
// Verifies the whole input at once; VerifyDigested: what has been digested already, if it is to be.
Status VerifyOnce(Invocation& invocation, Operation& operation, ByteView input, ByteView signature);
Status VerifyDigested(Invocation& invocation, Operation& operation, ByteView data, ByteView signature);

}  // namespace cmkd::daemon

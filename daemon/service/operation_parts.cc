// Operations in parts: in one device session, in one for each version that may fit, or buffered here until the end.
#include <algorithm>

#include "daemon/service/operation_device.h"
#include "pkcs11/spec/mechanism_output.h"

namespace cmkd::daemon {

using spec::OperationKind;

namespace {

// How much of what was fed is remembered for C_GetOperationState.
constexpr std::size_t kHistoryMax = std::size_t{256} << 10;

// The output of the call before did not fit, and this call is another one: what was fed then has no output any more.
Status CheckNothingWaits(const Operation& operation) {
  if (!operation.pending) return {};
  return Fail(CKR_FUNCTION_FAILED, "the output of the call before was not fetched");
}

// The digest of what was fed to the operation's stream, whose device session is free again afterwards.
Fallible<Bytes> EndDigest(Operation& operation) {
  Bytes digest(kDigestMax);
  CK_ULONG length = digest.size();
  Backend::Lease& lease = *operation.streams.front().lease;
  const CK_RV rv = lease.functions()->C_DigestFinal(lease.session(), digest.data(), &length);
  if (rv != CKR_OK) lease.Break();
  operation.streams.clear();
  if (rv != CKR_OK) return Failure<Error>{FromDevice(rv, "the digest").error()};
  digest.resize(length);
  return digest;
}

// Operations whose parts are kept until the end: what must be tried with several versions, and mechanisms of one part.
bool MustBuffer(const Operation& operation, std::size_t candidates) {
  const bool trial = operation.kind == OperationKind::kDecrypt &&
                     operation.row->versions == spec::VersionSearch::kTrial && candidates > 1;
  return trial || operation.row->parts == spec::Parts::kSingle;
}

Status OpenStream(Backend& backend, Operation& operation, const Candidate* candidate) {
  ASSIGN_OR_RETURN(auto lease, backend.Begin([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& fresh) {
    return StartOnDevice(device, fresh, operation, candidate);
  }));
  operation.streams.push_back({std::move(lease), candidate == nullptr ? cmk::KeyVersionNumber{} : candidate->version});
  return {};
}

// A device that fails in the middle has lost what was fed: the operation is over.
Status StreamFailed(Operation& operation, CK_RV rv, const char* what) {
  // The device ended it with the error, so the session is free again, unless it did not say so cleanly.
  for (Operation::Stream& stream : operation.streams) stream.lease->Break();
  // The room was what the mechanism's row says; a device that wants more is at fault, not the caller.
  return FromDevice(rv == CKR_BUFFER_TOO_SMALL ? CKR_DEVICE_ERROR : rv, what);
}

void Remember(Operation& operation, ByteView part) {
  if (!operation.history_is_whole) return;
  operation.history_is_whole = operation.history.size() + part.size() <= kHistoryMax;
  if (!operation.history_is_whole) {
    operation.history.Clear();
  } else if (!part.empty()) {
    std::memcpy(operation.history.Extend(part.size()), part.data(), part.size());
  }
}

// Room for what an update or final can give beyond its own input: a block held back, a tag.
constexpr std::size_t kSlack = 64;

// Authenticated decryption gives nothing before the tag has been checked.
bool HoldsBackAll(const Operation& operation) {
  return operation.kind == OperationKind::kDecrypt && operation.row->versions == spec::VersionSearch::kTrial;
}

std::uint64_t HeldBack(const Operation& operation) { return operation.fed - std::min(operation.fed, operation.given); }

// What an update gives at least room for: its input and what was held back before, in whole blocks, without the last
// one where a padding may come off. Programs with block modes give room for exactly that. What is more, of stream
// modes, waits for the caller (Deliver).
std::size_t UpdateMost(const Operation& operation, std::size_t input) {
  if (operation.buffering || HoldsBackAll(operation)) return 0;
  constexpr std::size_t kBlock = 16;
  const std::size_t held = HeldBack(operation);
  const std::size_t most = held + input;
  const bool padded = operation.row->output == spec::OutputRule::kPadded;
  if (padded && operation.kind == OperationKind::kDecrypt) return (most == 0 ? 0 : most - 1) / kBlock * kBlock;
  return most / kBlock * kBlock;
}

// What Final can give at most.
Fallible<std::size_t> FinalRoom(const Operation& operation) {
  const bool whole =
      operation.kind == OperationKind::kSign || operation.kind == OperationKind::kDigest || operation.buffering;
  if (whole) return WholeLength(operation, operation.fed);
  return HoldsBackAll(operation) ? operation.fed + kSlack : kSlack;
}

}  // namespace

Status StartParts(Invocation& invocation, Operation& operation) {
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, CandidatesOf(invocation, operation));
  if (operation.buffering || !operation.streams.empty()) return {};
  if (MustBuffer(operation, candidates.size())) {
    operation.buffering = true;
    return {};
  }
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  if (operation.digest_apart != 0) return OpenStream(*backend, operation, nullptr);
  const bool all = IsVerification(operation) && operation.row->versions == spec::VersionSearch::kTrial;
  const std::size_t count = candidates.empty() ? 1 : (all ? candidates.size() : 1);
  for (std::size_t i = 0; i < count; ++i) {
    // Of many versions only the one that fits is used: FinishVerify.
    if (!candidates.empty() && count == 1) {
      RETURN_IF_ERROR(CountUse(invocation, *operation.key, candidates[i], RowOf(operation.kind).use,
                               operation.row->type, invocation.audit.input_bytes));
    }
    RETURN_IF_ERROR(OpenStream(*backend, operation, candidates.empty() ? nullptr : &candidates[i]));
  }
  return {};
}

namespace {

// The bytes of a part after the first, which was counted when the operation began.
Status CountPart(Invocation& invocation, const Operation& operation, std::size_t bytes) {
  if (operation.fed == 0 || operation.buffering || operation.streams.size() != 1 || operation.key == nullptr) return {};
  return CountMore(invocation, *operation.key, operation.streams.front().version, RowOf(operation.kind).use, bytes);
}

}  // namespace

Status BufferPart(Operation& operation, ByteView part) {
  if (operation.buffered.size() + part.size() > kBufferedMax) {
    const bool decrypting = operation.kind == OperationKind::kDecrypt;
    return Fail(decrypting ? CKR_ENCRYPTED_DATA_LEN_RANGE : CKR_DATA_LEN_RANGE,
                "too much data for an operation that must be whole");
  }
  if (!part.empty()) std::memcpy(operation.buffered.Extend(part.size()), part.data(), part.size());
  return {};
}

Status FeedPart(Invocation& invocation, Operation& operation, ByteView input) {
  RETURN_IF_ERROR(CheckNothingWaits(operation));
  RETURN_IF_ERROR(StartParts(invocation, operation));
  RETURN_IF_ERROR(CountPart(invocation, operation, input.size()));
  operation.fed += input.size();
  Remember(operation, input);
  if (operation.buffering) return BufferPart(operation, input);
  const auto feed = operation.digest_apart != 0 ? &CK_FUNCTION_LIST::C_DigestUpdate : RowOf(operation.kind).feed;
  for (Operation::Stream& stream : operation.streams) {
    const CK_RV rv = (stream.lease->functions()->*feed)(stream.lease->session(), Mutable(input), input.size());
    if (rv != CKR_OK) return StreamFailed(operation, rv, "a part");
  }
  return {};
}

Status UpdatePart(Invocation& invocation, Operation& operation, ByteView input, spec::BytesOut& output) {
  Status waiting;
  if (TakePending(operation, output, input, waiting)) return waiting;
  RETURN_IF_ERROR(CheckNothingWaits(operation));
  if (output.query()) {
    *output.length = HeldBack(operation) + input.size();
    return {};
  }
  RETURN_IF_ERROR(StartParts(invocation, operation));
  // Said before the device has seen the part, so that the caller may as well come back with another.
  const std::size_t most = UpdateMost(operation, input.size());
  if (output.capacity() < most) {
    // With so much room it surely fits, in stream modes too.
    *output.length = HeldBack(operation) + input.size();
    return TooSmall();
  }
  if (HoldsBackAll(operation) && operation.fed + input.size() > kBufferedMax + kSlack)
    return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "too much data to be held back until the tag has been checked");
  // Some devices want room for all that they hold back, although they give none of it.
  const std::size_t room = HeldBack(operation) + input.size() + kSlack;
  RETURN_IF_ERROR(CountPart(invocation, operation, input.size()));
  operation.fed += input.size();
  if (operation.buffering) {
    *output.length = 0;
    return BufferPart(operation, input);
  }
  Backend::Lease& lease = *operation.streams.front().lease;
  const bool fits = output.capacity() >= room;
  CK_BYTE_PTR into = fits ? output.Room(room) : invocation.arena.Allocate(room);
  CK_ULONG made = room;
  const CK_RV rv =
      (lease.functions()->*RowOf(operation.kind).update)(lease.session(), Mutable(input), input.size(), into, &made);
  if (rv != CKR_OK) return StreamFailed(operation, rv, "a part");
  operation.given += made;
  if (!fits) return Deliver(invocation, operation, output, {into, made}, input);
  *output.length = made;
  invocation.audit.output_bytes = made;
  return {};
}

namespace {

// The signature over the digest of what was fed; the caller has room for it.
Status SignDigest(Invocation& invocation, Operation& operation, spec::BytesOut& output) {
  ASSIGN_OR_RETURN(const Bytes digest, EndDigest(operation));
  ASSIGN_OR_RETURN(const std::size_t room, WholeLength(operation, operation.fed));
  CK_BYTE_PTR into = output.Room(room);
  CK_ULONG made = room;
  RETURN_IF_ERROR(RunOnce(invocation, operation, [&](CK_FUNCTION_LIST_PTR device, CK_SESSION_HANDLE session) {
    made = room;
    return device->C_Sign(session, Mutable(digest), digest.size(), into, &made);
  }));
  *output.length = made;
  invocation.audit.output_bytes = made;
  return {};
}

// The end of what was fed to the device in parts: at most `room` bytes of output.
Status FinishStream(Invocation& invocation, Operation& operation, std::size_t room, spec::BytesOut& output) {
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  Operation::Stream& stream = operation.streams.front();
  CK_BYTE_PTR into = invocation.arena.Allocate(room);
  CK_ULONG made = room;
  const CK_RV rv = (stream.lease->functions()->*RowOf(operation.kind).final)(stream.lease->session(), into, &made);
  invocation.audit.version = stream.version.value;
  if (rv != CKR_OK) {
    const bool tried =
        RowOf(operation.kind).use == cmk::Use::kProcess && operation.row->versions == spec::VersionSearch::kTrial;
    if (tried && backend->IsWrongKey(operation.row->type, rv)) {
      operation.streams.clear();
      return WrongKey(invocation, operation);
    }
    return StreamFailed(operation, rv, "the end");
  }
  const auto whole = WholeLength(operation, operation.fed);
  if (!whole.ok() || !IsPlausible(operation, *whole, operation.given + made)) {
    Wipe({into, room});
    return StreamFailed(operation, CKR_DEVICE_ERROR, "the end: its parts have not the length of the whole");
  }
  // The device session is free again.
  operation.streams.clear();
  const Status delivered = Deliver(invocation, operation, output, {into, made}, {});
  Wipe({into, made});
  return delivered;
}

}  // namespace

Status FinishParts(Invocation& invocation, Operation& operation, spec::BytesOut& output) {
  Status waiting;
  if (!operation.buffering) {
    if (TakePending(operation, output, {}, waiting)) return waiting;
    RETURN_IF_ERROR(CheckNothingWaits(operation));
  }
  // Said without the device, so that an operation that has not been fed may still be done at once.
  const bool exact = operation.kind == OperationKind::kSign || operation.kind == OperationKind::kDigest;
  if (exact && !operation.buffering) {
    ASSIGN_OR_RETURN(const std::size_t length, WholeLength(operation, operation.fed));
    if (output.query() || output.capacity() < length) {
      const bool query = output.query();
      *output.length = length;
      return query ? Status{} : TooSmall();
    }
  }
  RETURN_IF_ERROR(StartParts(invocation, operation));
  if (operation.buffering) {
    // Done at once after all; afterwards it is as if parts had been fed again, should the output not have fitted.
    operation.buffering = false;
    Status status = TransformWhole(invocation, operation, operation.buffered.view(), output);
    operation.buffering = true;
    return status;
  }
  if (operation.digest_apart != 0) return SignDigest(invocation, operation, output);
  ASSIGN_OR_RETURN(const std::size_t room, FinalRoom(operation));
  if (output.query()) {
    *output.length = room;
    return {};
  }
  return FinishStream(invocation, operation, room, output);
}

// ---- Verification

Status FinishVerify(Invocation& invocation, Operation& operation, ByteView signature) {
  RETURN_IF_ERROR(StartParts(invocation, operation));
  if (operation.buffering) return VerifyOnce(invocation, operation, operation.buffered.view(), signature);
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  if (operation.digest_apart != 0) {
    ASSIGN_OR_RETURN(const Bytes digest, EndDigest(operation));
    return VerifyDigested(invocation, operation, digest, signature);
  }
  const ByteView full = FullLengthSignature(invocation, operation, signature);
  Status status = WrongKey(invocation, operation);
  const bool of_many = operation.streams.size() > 1;
  // Every stream is ended, whichever fits, so that its device session is free again.
  for (Operation::Stream& stream : operation.streams) {
    const CK_RV rv = stream.lease->functions()->C_VerifyFinal(stream.lease->session(), Mutable(full), full.size());
    if (rv == CKR_OK) {
      invocation.audit.version = stream.version.value;
      status = {};
    } else if (!backend->IsWrongKey(operation.row->type, rv) && !status.ok()) {
      status = FromDevice(rv, "the signature");
    }
  }
  operation.streams.clear();
  if (!status.ok() || !of_many) return status;
  ASSIGN_OR_RETURN(const Candidate fitted, VersionCandidate(invocation, *operation.key, {invocation.audit.version},
                                                            cmk::Use::kProcess, Moment::kUse));
  return CountUse(invocation, *operation.key, fitted, cmk::Use::kProcess, operation.row->type, operation.fed);
}

}  // namespace cmkd::daemon

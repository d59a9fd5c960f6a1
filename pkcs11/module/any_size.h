// Calls that the client cannot make as they are: inputs that no frame holds go in parts, and calls that were refused
// here end their operation at the daemon, as the standard has it.
#pragma once

#include "common/limits.h"
#include "pkcs11/remote/client.h"

namespace cmkd::module {

// Inputs above this go in pieces of this many bytes. What 64 MiB are encrypted to is a little longer, and goes whole.
inline constexpr CK_ULONG kWholeBytesMax = (CK_ULONG{64} << 20) + (CK_ULONG{32} << 10);
static_assert(kWholeBytesMax + 1024 < limits::kFrameBytesMax);
inline constexpr CK_ULONG kPieceBytes = CK_ULONG{16} << 20;

// Ends the operation of this kind, whatever its state.
template <spec::OperationKind kind>
void Cancel(remote::Client& client, CK_SESSION_HANDLE session) {
  spec::Call<spec::CallFor(kind, spec::Phase::kBegin)> call;
  call.session.value = session;
  (void)client.Answer(call);  // a NULL mechanism: 3.0, "C_SessionCancel"
}

// "A call … always terminates the active operation unless it returns CKR_BUFFER_TOO_SMALL": also when it was refused
// for a NULL pointer and the daemon has not seen it.
template <class Call>
void EndRefused(remote::Client& client, Call& call) {
  constexpr const spec::CallRow& kRow = spec::Row(Call::kId);
  using spec::OperationKind;
  using spec::Phase;
  if constexpr (kRow.operation == OperationKind::kNoOperation || kRow.operation == OperationKind::kFind) {
    return;
  } else if constexpr (kRow.phase == Phase::kSingle || kRow.phase == Phase::kPart || kRow.phase == Phase::kFinal) {
    Cancel<kRow.operation>(client, call.session.value);
    if constexpr (spec::SecondOperation(Call::kId) != OperationKind::kNoOperation)
      Cancel<spec::SecondOperation(Call::kId)>(client, call.session.value);
  } else if constexpr (kRow.phase == Phase::kMessageNext) {
    // Only the message ends. A parameter of no layout is refused by the daemon, which ends it.
    CK_BYTE nothing = 0;
    Call refused;
    refused.session = call.session;
    refused.parameter = {&nothing, sizeof nothing};
    (void)client.Answer(refused);
  }
}

// What a call of a family looks like: C_EncryptUpdate and C_DigestEncryptUpdate give output, C_DigestUpdate does not.
template <class Call>
concept GivesOutput = requires(Call call) {
  call.output.capacity();
};
template <class Call>
concept TakesInput = requires(Call call) {
  call.input.length;
};
template <class Call>
concept TakesSignature = requires(Call call) {
  call.signature.length;
};

// One piece through the call `part`; its output goes behind what is there.
template <class Part>
CK_RV SendPiece(remote::Client& client, CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG bytes,
                [[maybe_unused]] CK_BYTE_PTR out, [[maybe_unused]] CK_ULONG room, [[maybe_unused]] CK_ULONG& given) {
  Part part;
  part.session.value = session;
  part.input = {data, bytes};
  if constexpr (GivesOutput<Part>) {
    CK_ULONG made = room - given;
    part.output = spec::BytesOut::FromArgs(out + given, &made);
    const CK_RV rv = client.Answer(part);
    if (rv == CKR_OK) given += made;
    return rv;
  } else {
    return client.Answer(part);
  }
}

template <class Part>
CK_RV SendPieces(remote::Client& client, CK_SESSION_HANDLE session, const spec::BytesIn& input, CK_BYTE_PTR out,
                 CK_ULONG room, CK_ULONG& given) {
  constexpr spec::OperationKind kKind = spec::Row(Part::kId).operation;
  for (CK_ULONG done = 0; done < input.length; done += kPieceBytes) {
    const CK_ULONG bytes = std::min(kPieceBytes, input.length - done);
    const CK_RV rv = SendPiece<Part>(client, session, input.data + done, bytes, out, room, given);
    if (rv == CKR_OK) continue;
    // The earlier pieces are gone: there is nothing to come back to with a longer buffer.
    if (rv != CKR_BUFFER_TOO_SMALL) return rv;
    Cancel<kKind>(client, session);
    return CKR_FUNCTION_FAILED;
  }
  return CKR_OK;
}

// How much room the output needs, or why there is no output. Asked with no input, so that nothing large is sent.
template <class Call>
CK_RV RoomFor(remote::Client& client, Call& call, CK_ULONG& room) {
  constexpr spec::OperationKind kKind = spec::Row(Call::kId).operation;
  CK_BYTE nothing = 0;
  Call ask;
  ask.session = call.session;
  ask.input = {&nothing, 0};
  ask.output = spec::BytesOut::FromArgs(nullptr, &room);
  const CK_RV rv = client.Answer(ask);
  if (kKind == spec::OperationKind::kEncrypt) room += call.input.length;
  if (kKind == spec::OperationKind::kDecrypt) room = call.input.length;
  return rv;
}

// An input that no frame holds.
template <class Call>
CK_RV AnswerInPieces(remote::Client& client, Call& call) {
  constexpr const spec::CallRow& kRow = spec::Row(Call::kId);
  constexpr spec::CallId kPart = spec::CallFor(kRow.operation, spec::Phase::kPart);
  constexpr spec::CallId kFinal = spec::CallFor(kRow.operation, spec::Phase::kFinal);
  const CK_SESSION_HANDLE session = call.session.value;
  CK_ULONG given = 0;
  if constexpr (kRow.phase == spec::Phase::kPart && !GivesOutput<Call>) {
    return SendPieces<Call>(client, session, call.input, nullptr, 0, given);
  } else if constexpr (kRow.phase == spec::Phase::kPart) {
    // Above its input an update gives at most what was held back before.
    constexpr CK_ULONG kHeldBack = 64;
    const CK_ULONG room = call.output.capacity();
    if (call.output.query() || room < call.input.length) {
      const bool query = call.output.query();
      *call.output.length = call.input.length + kHeldBack;
      return query ? CKR_OK : CKR_BUFFER_TOO_SMALL;
    }
    const CK_RV rv = SendPieces<Call>(client, session, call.input, call.output.data, room, given);
    if (rv == CKR_OK) *call.output.length = given;
    return rv;
  } else if constexpr (kRow.phase == spec::Phase::kSingle && kPart != spec::CallId::kCount && GivesOutput<Call>) {
    CK_ULONG room = 0;
    if (const CK_RV rv = RoomFor(client, call, room); rv != CKR_OK) return rv;
    const CK_ULONG capacity = call.output.capacity();
    if (call.output.query() || capacity < room) {
      const bool query = call.output.query();
      *call.output.length = room;
      return query ? CKR_OK : CKR_BUFFER_TOO_SMALL;
    }
    const CK_RV rv = SendPieces<spec::Call<kPart>>(client, session, call.input, call.output.data, capacity, given);
    if (rv != CKR_OK) return rv;
    spec::Call<kFinal> last;
    CK_ULONG made = capacity - given;
    last.session.value = session;
    last.output = spec::BytesOut::FromArgs(call.output.data + given, &made);
    const CK_RV ended = client.Answer(last);
    if (ended == CKR_OK) *call.output.length = given + made;
    return ended;
  } else if constexpr (kRow.phase == spec::Phase::kSingle && kPart != spec::CallId::kCount) {
    const CK_RV rv = SendPieces<spec::Call<kPart>>(client, session, call.input, nullptr, 0, given);
    if (rv != CKR_OK) return rv;
    spec::Call<kFinal> last;
    last.session.value = session;
    if constexpr (TakesSignature<Call>) last.input = call.signature;  // C_Verify ends with C_VerifyFinal
    return client.Answer(last);
  } else {
    EndRefused(client, call);
    return CKR_DATA_LEN_RANGE;
  }
}

template <class Call>
CK_RV AnswerAnySize(remote::Client& client, Call& call) {
  if constexpr (TakesInput<Call> && spec::Row(Call::kId).operation != spec::OperationKind::kNoOperation) {
    if (call.input.length > kWholeBytesMax) return AnswerInPieces(client, call);
  }
  return client.Answer(call);
}

}  // namespace cmkd::module

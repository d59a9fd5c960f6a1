// Message-based encryption, decryption, signing and verification (PKCS#11 3.2 sections 5.9, 5.11, 5.14 and 5.17): one
// key, many messages. Each message is an operation of the plain kind, run with 2.40's functions, so that every device
// has it; the IV is chosen here, and the tag is moved between the end of the ciphertext and the message's parameter.
#include <algorithm>

#include "common/limits.h"
#include "daemon/crypto/random.h"
#include "daemon/service/handlers.h"
#include "daemon/service/operation_device.h"
#include "daemon/service/operation_run.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/message_parameter.h"

namespace cmkd::daemon {

using spec::CallId;
using spec::MessageParameter;
using spec::OperationKind;

namespace {

Status RandomIv(MutableBytes iv) {
  FillRandom(iv);
  return {};
}

Fallible<std::unique_ptr<Operation>> NewMessage(const Operation& process, OperationKind kind,
                                                const CK_MECHANISM& mechanism) {
  auto message = std::make_unique<Operation>();
  message->kind = kind;
  message->row = process.row;
  message->key = process.key;
  message->key_bits = process.key_bits;
  message->digest_apart = process.digest_apart;
  message->mechanism = OwnedMechanism::Copy(mechanism);
  if (message->mechanism == nullptr) return Fail(CKR_MECHANISM_PARAM_INVALID, "the parameter cannot be copied");
  return message;
}

bool IsEncryption(OperationKind process) { return process == OperationKind::kMessageEncrypt; }

Fallible<Operation*> BetweenMessages(Invocation& invocation, OperationKind process) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveOperation(invocation, process));
  if (operation->message != nullptr) return Fail(CKR_OPERATION_ACTIVE, "a message goes on in parts");
  return operation;
}

Fallible<Operation*> WithinMessage(Invocation& invocation, OperationKind process) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveOperation(invocation, process));
  if (operation->message == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no message has begun");
  return operation;
}

// ---- AEAD

// The message as an operation; for encryption the IV is chosen now.
Fallible<std::unique_ptr<Operation>> BeginAead(const Operation& process, const spec::ParameterInOut& given,
                                               ByteView associated_data, std::size_t plain_bytes) {
  const bool encrypting = IsEncryption(process.kind);
  RETURN_IF_ERROR(spec::CheckMessageParameter(*process.row, given.data, given.length, encrypting));
  MessageParameter parameter(given);
  if (encrypting && !parameter.ChoosesIv()) RETURN_IF_ERROR(CheckCallersIv(*process.row, *process.key));
  if (encrypting) RETURN_IF_ERROR(parameter.ChooseIv(RandomIv));
  const CK_MECHANISM mechanism = parameter.AsOneShot(process.row->type, associated_data, plain_bytes);
  RETURN_IF_ERROR(spec::CheckParameter(*process.row, mechanism));
  return NewMessage(process, encrypting ? OperationKind::kEncrypt : OperationKind::kDecrypt, mechanism);
}

// CKR_ENCRYPTED_DATA_INVALID has a name of its own in message calls.
Status AsMessageError(Status status) {
  if (status.ok() || status.error().rv != CKR_ENCRYPTED_DATA_INVALID) return status;
  return Fail(CKR_AEAD_DECRYPT_FAILED, std::move(status.error().why), status.error().detail);
}

// All of `input` through the device at once. `output` has room for it; encryption puts the tag into the parameter,
// decryption takes it from there.
Status RunAead(Invocation& invocation, Operation& message, const MessageParameter& parameter, ByteView input,
               spec::BytesOut& output) {
  const MutableBytes tag = parameter.tag();
  const bool encrypting = message.kind == OperationKind::kEncrypt;
  const std::size_t in_bytes = input.size() + (encrypting ? 0 : tag.size());
  const std::size_t out_bytes = input.size() + (encrypting ? tag.size() : 0);
  CK_BYTE_PTR in = Mutable(input);
  if (!encrypting) {
    in = invocation.arena.Allocate(in_bytes);
    if (!input.empty()) std::memcpy(in, input.data(), input.size());
    std::memcpy(in + input.size(), tag.data(), tag.size());
  }
  // Some devices want room for the whole input.
  const std::size_t room = std::max(in_bytes, out_bytes);
  CK_BYTE_PTR out = invocation.arena.Allocate(room);
  CK_ULONG made = room;
  RETURN_IF_ERROR(
      AsMessageError(RunOnce(invocation, message, [&](CK_FUNCTION_LIST_PTR device, CK_SESSION_HANDLE session) {
        made = room;
        return encrypting ? device->C_Encrypt(session, in, in_bytes, out, &made)
                          : device->C_Decrypt(session, in, in_bytes, out, &made);
      })));
  if (made != out_bytes) return Fail(CKR_DEVICE_ERROR, "the device gave another length than the mechanism has");
  if (encrypting) std::memcpy(tag.data(), out + input.size(), tag.size());
  (void)output.Put({out, input.size()});
  invocation.audit.output_bytes = input.size();
  return {};
}

Status WholeMessage(Invocation& invocation, OperationKind which, const spec::ParameterInOut& given,
                    ByteView associated_data, ByteView input, spec::BytesOut& output) {
  ASSIGN_OR_RETURN(Operation * process, BetweenMessages(invocation, which));
  RecordUse(invocation, *process, input.size());
  if (output.query() || output.capacity() < input.size()) {
    RETURN_IF_ERROR(spec::CheckMessageParameter(*process->row, given.data, given.length, IsEncryption(which)));
    const bool query = output.query();
    *output.length = input.size();
    return query ? Status{} : TooSmall();
  }
  ASSIGN_OR_RETURN(const auto message, BeginAead(*process, given, associated_data, input.size()));
  return RunAead(invocation, *message, MessageParameter(given), input, output);
}

Status BeginMessage(Invocation& invocation, OperationKind which, const spec::ParameterInOut& given,
                    ByteView associated_data) {
  ASSIGN_OR_RETURN(Operation * process, BetweenMessages(invocation, which));
  RecordUse(invocation, *process, 0);
  // Only CCM's parameter says how long the message will be.
  const bool ccm = given.data != nullptr && given.length == sizeof(CK_CCM_MESSAGE_PARAMS);
  const std::size_t bytes = ccm ? static_cast<const CK_CCM_MESSAGE_PARAMS*>(given.data)->ulDataLen : 0;
  ASSIGN_OR_RETURN(auto message, BeginAead(*process, given, associated_data, bytes));
  if (IsEncryption(which)) {
    RETURN_IF_ERROR(StartParts(invocation, *message));
  } else {
    message->buffering = true;  // nothing comes out before the tag has been seen
  }
  process->message = std::move(message);
  return {};
}

// What the device gave for the last part: the rest of the ciphertext, then the tag.
Status EndEncryption(Invocation& invocation, Operation& message, const MessageParameter& parameter, ByteView input,
                     std::size_t rest, spec::BytesOut& output) {
  const MutableBytes tag = parameter.tag();
  const std::size_t room = rest + tag.size();
  std::uint8_t* all = invocation.arena.Allocate(room);
  CK_ULONG first_bytes = room;
  spec::BytesOut first{all, &first_bytes};
  RETURN_IF_ERROR(UpdatePart(invocation, message, input, first));
  CK_ULONG last_bytes = room - first_bytes;
  spec::BytesOut last{all + first_bytes, &last_bytes};
  RETURN_IF_ERROR(FinishParts(invocation, message, last));
  if (first_bytes + last_bytes != room)
    return Fail(CKR_DEVICE_ERROR, "the device gave another length than the mechanism has");
  std::memcpy(tag.data(), all + rest, tag.size());
  (void)output.Put({all, rest});
  return {};
}

Status NextMessage(Invocation& invocation, OperationKind which, const spec::ParameterInOut& given, ByteView input,
                   spec::BytesOut& output, bool last) {
  ASSIGN_OR_RETURN(Operation * process, WithinMessage(invocation, which));
  RecordUse(invocation, *process, input.size());
  Operation& message = *process->message;
  const bool encrypting = IsEncryption(which);
  const std::size_t held = message.buffering ? message.buffered.size() : message.fed - message.given;
  const std::size_t bytes = last || !message.buffering ? held + input.size() : 0;
  if (output.query() || output.capacity() < bytes) {
    const bool query = output.query();
    *output.length = bytes;
    return query ? Status{} : TooSmall();
  }
  // From here on an error ends the message, and so does its last part (3.2, "C_EncryptMessageNext").
  std::unique_ptr<Operation> kept = std::move(process->message);
  RETURN_IF_ERROR(spec::CheckMessageParameter(*process->row, given.data, given.length, encrypting));
  const MessageParameter parameter(given);
  if (encrypting) {
    if (last) return EndEncryption(invocation, *kept, parameter, input, bytes, output);
    RETURN_IF_ERROR(UpdatePart(invocation, *kept, input, output));
  } else {
    RETURN_IF_ERROR(BufferPart(*kept, input));
    if (last) return RunAead(invocation, *kept, parameter, kept->buffered.view(), output);
    *output.length = 0;
  }
  process->message = std::move(kept);
  return {};
}

Status EndMessages(Invocation& invocation, OperationKind which) {
  RETURN_IF_ERROR(ActiveOperation(invocation, which));
  invocation.session->operation(which).reset();
  return {};
}

// ---- Signatures. No mechanism here has a parameter for each message: what there is came with Init.

Fallible<std::unique_ptr<Operation>> BeginSigned(const Operation& process, const spec::ParameterInOut& given) {
  if (given.length != 0) return Fail(CKR_MECHANISM_PARAM_INVALID, "the mechanism has no parameter for each message");
  const bool signing = process.kind == OperationKind::kMessageSign;
  return NewMessage(process, signing ? OperationKind::kSign : OperationKind::kVerify, process.mechanism->get());
}

Status BeginSignedMessage(Invocation& invocation, OperationKind which, const spec::ParameterInOut& given) {
  ASSIGN_OR_RETURN(Operation * process, BetweenMessages(invocation, which));
  RecordUse(invocation, *process, 0);
  ASSIGN_OR_RETURN(auto message, BeginSigned(*process, given));
  RETURN_IF_ERROR(StartParts(invocation, *message));
  process->message = std::move(message);
  return {};
}

// Runs `body` on the message that goes on; it ends unless it goes on.
template <class Body>
Status WithMessage(Invocation& invocation, OperationKind which, const spec::ParameterInOut& given, ByteView input,
                   bool last, Body body) {
  ASSIGN_OR_RETURN(Operation * process, WithinMessage(invocation, which));
  RecordUse(invocation, *process, input.size());
  Status status = given.length != 0 ? Status(Fail(CKR_MECHANISM_PARAM_INVALID, "no parameter for each message"))
                                    : body(*process->message);
  if (!GoesOn(status) && (last || !status.ok())) process->message.reset();
  return status;
}

}  // namespace

// ---- The handlers

Status Handle(Invocation& i, spec::Call<CallId::C_MessageEncryptInit>& c) {
  return BeginOperation(i, OperationKind::kMessageEncrypt, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& i, spec::Call<CallId::C_EncryptMessage>& c) {
  return WholeMessage(i, OperationKind::kMessageEncrypt, c.parameter, c.associated_data.view(), c.input.view(),
                      c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_EncryptMessageBegin>& c) {
  return BeginMessage(i, OperationKind::kMessageEncrypt, c.parameter, c.associated_data.view());
}
Status Handle(Invocation& i, spec::Call<CallId::C_EncryptMessageNext>& c) {
  return NextMessage(i, OperationKind::kMessageEncrypt, c.parameter, c.input.view(), c.output,
                     (c.flags.value & CKF_END_OF_MESSAGE) != 0);
}
Status Handle(Invocation& i, spec::Call<CallId::C_MessageEncryptFinal>&) {
  return EndMessages(i, OperationKind::kMessageEncrypt);
}

Status Handle(Invocation& i, spec::Call<CallId::C_MessageDecryptInit>& c) {
  return BeginOperation(i, OperationKind::kMessageDecrypt, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& i, spec::Call<CallId::C_DecryptMessage>& c) {
  return WholeMessage(i, OperationKind::kMessageDecrypt, c.parameter, c.associated_data.view(), c.input.view(),
                      c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_DecryptMessageBegin>& c) {
  return BeginMessage(i, OperationKind::kMessageDecrypt, c.parameter, c.associated_data.view());
}
Status Handle(Invocation& i, spec::Call<CallId::C_DecryptMessageNext>& c) {
  return NextMessage(i, OperationKind::kMessageDecrypt, c.parameter, c.input.view(), c.output,
                     (c.flags.value & CKF_END_OF_MESSAGE) != 0);
}
Status Handle(Invocation& i, spec::Call<CallId::C_MessageDecryptFinal>&) {
  return EndMessages(i, OperationKind::kMessageDecrypt);
}

Status Handle(Invocation& i, spec::Call<CallId::C_MessageSignInit>& c) {
  return BeginOperation(i, OperationKind::kMessageSign, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& invocation, spec::Call<CallId::C_SignMessage>& call) {
  ASSIGN_OR_RETURN(Operation * process, BetweenMessages(invocation, OperationKind::kMessageSign));
  RecordUse(invocation, *process, call.input.length);
  ASSIGN_OR_RETURN(const auto message, BeginSigned(*process, call.parameter));
  return TransformWhole(invocation, *message, call.input.view(), call.signature);
}
Status Handle(Invocation& i, spec::Call<CallId::C_SignMessageBegin>& c) {
  return BeginSignedMessage(i, OperationKind::kMessageSign, c.parameter);
}
Status Handle(Invocation& invocation, spec::Call<CallId::C_SignMessageNext>& call) {
  // 3.2: pulSignatureLen NULL says that more parts come.
  const bool last = call.signature.length != nullptr;
  const ByteView input = call.input.view();
  if (last && call.signature.query()) {
    // The part will come again with a buffer, so it is not fed now.
    ASSIGN_OR_RETURN(Operation * process, WithinMessage(invocation, OperationKind::kMessageSign));
    ASSIGN_OR_RETURN(*call.signature.length, WholeLength(*process->message, process->message->fed + input.size()));
    return {};
  }
  return WithMessage(invocation, OperationKind::kMessageSign, call.parameter, input, last,
                     [&](Operation& message) -> Status {
                       if (last) {
                         ASSIGN_OR_RETURN(const std::size_t bytes, WholeLength(message, message.fed + input.size()));
                         if (call.signature.capacity() < bytes) {
                           *call.signature.length = bytes;
                           return TooSmall();
                         }
                       }
                       RETURN_IF_ERROR(FeedPart(invocation, message, input));
                       return last ? FinishParts(invocation, message, call.signature) : Status{};
                     });
}
Status Handle(Invocation& i, spec::Call<CallId::C_MessageSignFinal>&) {
  return EndMessages(i, OperationKind::kMessageSign);
}

Status Handle(Invocation& i, spec::Call<CallId::C_MessageVerifyInit>& c) {
  return BeginOperation(i, OperationKind::kMessageVerify, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& invocation, spec::Call<CallId::C_VerifyMessage>& call) {
  ASSIGN_OR_RETURN(Operation * process, BetweenMessages(invocation, OperationKind::kMessageVerify));
  RecordUse(invocation, *process, call.input.length);
  ASSIGN_OR_RETURN(const auto message, BeginSigned(*process, call.parameter));
  return VerifyWhole(invocation, *message, call.input.view(), call.signature.view());
}
Status Handle(Invocation& i, spec::Call<CallId::C_VerifyMessageBegin>& c) {
  return BeginSignedMessage(i, OperationKind::kMessageVerify, c.parameter);
}
Status Handle(Invocation& invocation, spec::Call<CallId::C_VerifyMessageNext>& call) {
  const bool last = call.signature.data != nullptr;
  return WithMessage(invocation, OperationKind::kMessageVerify, call.parameter, call.input.view(), last,
                     [&](Operation& message) -> Status {
                       RETURN_IF_ERROR(FeedPart(invocation, message, call.input.view()));
                       return last ? FinishVerify(invocation, message, call.signature.view()) : Status{};
                     });
}
Status Handle(Invocation& i, spec::Call<CallId::C_MessageVerifyFinal>&) {
  return EndMessages(i, OperationKind::kMessageVerify);
}

}  // namespace cmkd::daemon

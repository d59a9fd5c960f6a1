// Message-based encryption and decryption (PKCS#11 3.2 sections 5.9 and 5.11): one key, many messages, each with its
// own IV, which the device may make, and its own tag.
#include "firmware_sim/handlers.h"
#include "firmware_sim/key_use.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/message_parameter.h"

namespace cmkd::sim {
namespace {

using spec::MessageParameter;

bool IsEncryption(OperationKind kind) { return kind == OperationKind::kMessageEncrypt; }

Fallible<Operation*> Active(Context& context, OperationKind kind) {
  if (!IsEncryption(kind) && kind != OperationKind::kMessageDecrypt) {
    return Fail(CKR_FUNCTION_NOT_SUPPORTED, "not a function of this device");
  }
  Operation* operation = context.session->operation(kind).get();
  if (operation == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no Init before");
  return operation;
}

Fallible<MessageParameter> Checked(const Operation& operation, OperationKind kind, const spec::ParameterInOut& given) {
  RETURN_IF_ERROR(spec::CheckMessageParameter(*operation.row, given.data, given.length, IsEncryption(kind)));
  return MessageParameter(given);
}

Fallible<std::unique_ptr<Cipher>> MakeMessageCipher(const Operation& operation, OperationKind kind,
                                                    MessageParameter& parameter, ByteView aad, std::size_t bytes) {
  const CK_MECHANISM mechanism = parameter.AsOneShot(operation.row->type, aad, bytes);
  return MakeCipher(*operation.row, mechanism, *operation.object->key(),
                    IsEncryption(kind) ? Mode::kEncrypt : Mode::kDecrypt);
}

Status ChargeMessage(Context& context, const Operation& operation, OperationKind kind, std::size_t bytes) {
  const bool gcm = IsEncryption(kind) && CountsIvs(*operation.row);
  return ChargeCall(context.device, *operation.object, {.uses = 1, .bytes = bytes, .gcm = gcm ? 1u : 0u});
}

Status AnswerLength(const spec::BytesOut& out, std::size_t bytes) {
  *out.length = bytes;
  if (out.query()) return {};
  return Fail(CKR_BUFFER_TOO_SMALL, "buffer");
}

Status EncryptPart(Cipher& cipher, const MessageParameter& parameter, ByteView in, const spec::BytesOut& out,
                   bool last) {
  RETURN_IF_ERROR(cipher.Update(in, {out.data, in.size()}));
  *out.length = in.size();
  if (!last) return {};
  ASSIGN_OR_RETURN(const std::size_t bytes, cipher.Final(parameter.tag()));
  (void)bytes;
  return {};
}

// The plaintext comes with the last part, when the tag has been verified.
Status DecryptPart(Cipher& cipher, const MessageParameter& parameter, ByteView in, const spec::BytesOut& out,
                   bool last) {
  RETURN_IF_ERROR(cipher.Update(in, {}));
  *out.length = 0;
  if (!last) return {};
  RETURN_IF_ERROR(cipher.Update(parameter.tag(), {}));
  const auto bytes = cipher.Final({out.data, cipher.FinalBytesMax()});
  if (!bytes.ok()) return Fail(CKR_AEAD_DECRYPT_FAILED, bytes.error().why);
  *out.length = *bytes;
  return {};
}

Status RunPart(OperationKind kind, Cipher& cipher, const MessageParameter& parameter, ByteView in,
               const spec::BytesOut& out, bool last) {
  return IsEncryption(kind) ? EncryptPart(cipher, parameter, in, out, last)
                            : DecryptPart(cipher, parameter, in, out, last);
}

// The whole message through a cipher that knows no parts: ciphertext and tag side by side.
Status RunWhole(OperationKind kind, Cipher& cipher, const MessageParameter& parameter, ByteView in,
                const spec::BytesOut& out) {
  const MutableBytes tag = parameter.tag();
  *out.length = in.size();
  if (IsEncryption(kind)) {
    Bytes sealed(in.size() + tag.size());
    ASSIGN_OR_RETURN([[maybe_unused]] const std::size_t bytes, cipher.Whole(in, sealed));
    if (!in.empty()) std::memcpy(out.data, sealed.data(), in.size());
    std::memcpy(tag.data(), sealed.data() + in.size(), tag.size());
    return {};
  }
  Bytes sealed = ToBytes(in);
  sealed.insert(sealed.end(), tag.begin(), tag.end());
  const auto opened = cipher.Whole(sealed, {out.data, in.size()});
  if (!opened.ok()) return Fail(CKR_AEAD_DECRYPT_FAILED, opened.error().why);
  return {};
}

}  // namespace

Status WholeMessage(Context& context, OperationKind kind, const spec::ParameterInOut& given, ByteView aad, ByteView in,
                    const spec::BytesOut& out) {
  ASSIGN_OR_RETURN(Operation * operation, Active(context, kind));
  if (operation->cipher != nullptr) return Fail(CKR_OPERATION_ACTIVE, "a message goes on in parts");
  ASSIGN_OR_RETURN(MessageParameter parameter, Checked(*operation, kind, given));
  if (out.query() || out.capacity() < in.size()) return AnswerLength(out, in.size());
  RETURN_IF_ERROR(ChargeMessage(context, *operation, kind, in.size()));
  if (IsEncryption(kind)) RETURN_IF_ERROR(parameter.ChooseIv(RandomBytes));
  ASSIGN_OR_RETURN(const auto cipher, MakeMessageCipher(*operation, kind, parameter, aad, in.size()));
  if (operation->row->parts == spec::Parts::kSingle) return RunWhole(kind, *cipher, parameter, in, out);
  return RunPart(kind, *cipher, parameter, in, out, true);
}

Status BeginMessage(Context& context, OperationKind kind, const spec::ParameterInOut& given, ByteView aad) {
  ASSIGN_OR_RETURN(Operation * operation, Active(context, kind));
  if (operation->cipher != nullptr) return Fail(CKR_OPERATION_ACTIVE, "a message goes on in parts");
  ASSIGN_OR_RETURN(MessageParameter parameter, Checked(*operation, kind, given));
  if (operation->row->parts == spec::Parts::kSingle)
    return Fail(CKR_FUNCTION_NOT_SUPPORTED, "the device does messages of this mechanism whole");
  RETURN_IF_ERROR(ChargeMessage(context, *operation, kind, 0));
  if (IsEncryption(kind)) RETURN_IF_ERROR(parameter.ChooseIv(RandomBytes));
  ASSIGN_OR_RETURN(operation->cipher, MakeMessageCipher(*operation, kind, parameter, aad, 0));
  operation->tag_bytes = parameter.tag().size();
  operation->message_bytes = 0;
  return {};
}

Status NextMessage(Context& context, OperationKind kind, const spec::ParameterInOut& given, ByteView in,
                   const spec::BytesOut& out, CK_FLAGS flags) {
  ASSIGN_OR_RETURN(Operation * operation, Active(context, kind));
  if (operation->cipher == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no message has begun");
  const bool last = (flags & CKF_END_OF_MESSAGE) != 0;
  const std::size_t total = operation->message_bytes + in.size();
  const std::size_t bytes = IsEncryption(kind) ? in.size() : last ? total : 0;
  if (bytes > 0 && (out.query() || out.capacity() < bytes)) return AnswerLength(out, bytes);
  // Anything but a short buffer ends the message (PKCS#11 3.2, C_EncryptMessageNext).
  std::unique_ptr<Cipher> cipher = std::move(operation->cipher);
  ASSIGN_OR_RETURN(const MessageParameter parameter, Checked(*operation, kind, given));
  if (parameter.tag().size() != operation->tag_bytes)
    return Fail(CKR_MECHANISM_PARAM_INVALID, "the tag's length has changed");
  RETURN_IF_ERROR(context.device.Charge(*operation->object, {.bytes = in.size()}));
  RETURN_IF_ERROR(RunPart(kind, *cipher, parameter, in, out, last));
  operation->message_bytes = total;
  if (!last) operation->cipher = std::move(cipher);
  return {};
}

Status EndMessages(Context& context, OperationKind kind) {
  ASSIGN_OR_RETURN(Operation * operation, Active(context, kind));
  (void)operation;
  context.session->operation(kind).reset();
  return {};
}

}  // namespace cmkd::sim

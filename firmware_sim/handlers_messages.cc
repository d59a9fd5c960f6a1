// Message-based encryption and decryption (PKCS#11 3.2 sections 5.9 and 5.11): one key, many messages, each with its
// own IV, which the device may make, and its own tag.
#include "firmware_sim/handlers.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::sim {
namespace {

using Parameter = CK_GCM_MESSAGE_PARAMS;

// What SP 800-38D section 8.2.2 asks of the random part of an IV.
constexpr CK_ULONG kRandomBitsMin = 96;

bool IsEncryption(OperationKind kind) { return kind == OperationKind::kMessageEncrypt; }

Fallible<Operation*> Active(Context& context, OperationKind kind) {
  if (!IsEncryption(kind) && kind != OperationKind::kMessageDecrypt) {
    return Fail(CKR_FUNCTION_NOT_SUPPORTED, "not a function of this device");
  }
  Operation* operation = context.session->operation(kind).get();
  if (operation == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no Init before");
  return operation;
}

Fallible<Parameter*> Checked(const Operation& operation, OperationKind kind, const spec::ParameterInOut& given) {
  RETURN_IF_ERROR(spec::CheckMessageParameter(*operation.row, given.data, given.length, IsEncryption(kind)));
  return static_cast<Parameter*>(given.data);
}

// Writes what the caller asked the device to choose of the IV. Random only: a counter would have to be kept with the
// key wherever it goes, and this key may be unwrapped again tomorrow with its counter at zero.
Status MakeIv(const Parameter& parameter) {
  if (parameter.ivGenerator == CKG_NO_GENERATE) return {};
  if (parameter.ivGenerator != CKG_GENERATE && parameter.ivGenerator != CKG_GENERATE_RANDOM) {
    return Fail(CKR_MECHANISM_PARAM_INVALID, "the device generates random IVs only");
  }
  const CK_ULONG fixed = parameter.ulIvFixedBits;
  if (parameter.ulIvLen * 8 < fixed + kRandomBitsMin)
    return Fail(CKR_MECHANISM_PARAM_INVALID, "less than 96 random bits");
  const MutableBytes iv{parameter.pIv, parameter.ulIvLen};
  const std::size_t first = fixed / 8;  // the byte that the fixed part ends in
  const std::uint8_t kept = static_cast<std::uint8_t>(0xff00u >> (fixed % 8));
  const std::uint8_t shared = iv[first];
  RETURN_IF_ERROR(RandomBytes(iv.subspan(first)));
  iv[first] = static_cast<std::uint8_t>((shared & kept) | (iv[first] & ~kept));
  return {};
}

Fallible<std::unique_ptr<Cipher>> MakeMessageCipher(const Operation& operation, OperationKind kind,
                                                    const Parameter& parameter, ByteView aad) {
  CK_GCM_PARAMS gcm{};
  gcm.pIv = parameter.pIv;
  gcm.ulIvLen = parameter.ulIvLen;
  gcm.ulIvBits = parameter.ulIvLen * 8;
  gcm.pAAD = const_cast<CK_BYTE*>(aad.data());
  gcm.ulAADLen = aad.size();
  gcm.ulTagBits = parameter.ulTagBits;
  const CK_MECHANISM mechanism{operation.row->type, &gcm, sizeof gcm};
  return MakeCipher(*operation.row, mechanism, *operation.object->key(),
                    IsEncryption(kind) ? Mode::kEncrypt : Mode::kDecrypt);
}

MutableBytes Tag(const Parameter& parameter) { return {parameter.pTag, parameter.ulTagBits / 8}; }

Status AnswerLength(const spec::BytesOut& out, std::size_t bytes) {
  *out.length = bytes;
  if (out.query()) return {};
  return Fail(CKR_BUFFER_TOO_SMALL, "buffer");
}

Status EncryptPart(Cipher& cipher, const Parameter& parameter, ByteView in, const spec::BytesOut& out, bool last) {
  RETURN_IF_ERROR(cipher.Update(in, {out.data, in.size()}));
  *out.length = in.size();
  if (!last) return {};
  ASSIGN_OR_RETURN(const std::size_t bytes, cipher.Final(Tag(parameter)));
  (void)bytes;
  return {};
}

// The plaintext comes with the last part, when the tag has been verified.
Status DecryptPart(Cipher& cipher, const Parameter& parameter, ByteView in, const spec::BytesOut& out, bool last) {
  RETURN_IF_ERROR(cipher.Update(in, {}));
  *out.length = 0;
  if (!last) return {};
  RETURN_IF_ERROR(cipher.Update(Tag(parameter), {}));
  const auto bytes = cipher.Final({out.data, cipher.FinalBytesMax()});
  if (!bytes.ok()) return Fail(CKR_AEAD_DECRYPT_FAILED, bytes.error().why);
  *out.length = *bytes;
  return {};
}

Status RunPart(OperationKind kind, Cipher& cipher, const Parameter& parameter, ByteView in, const spec::BytesOut& out,
               bool last) {
  return IsEncryption(kind) ? EncryptPart(cipher, parameter, in, out, last)
                            : DecryptPart(cipher, parameter, in, out, last);
}

}  // namespace

Status WholeMessage(Context& context, OperationKind kind, const spec::ParameterInOut& given, ByteView aad, ByteView in,
                    const spec::BytesOut& out) {
  ASSIGN_OR_RETURN(Operation * operation, Active(context, kind));
  if (operation->cipher != nullptr) return Fail(CKR_OPERATION_ACTIVE, "a message goes on in parts");
  ASSIGN_OR_RETURN(const Parameter* parameter, Checked(*operation, kind, given));
  if (out.query() || out.capacity() < in.size()) return AnswerLength(out, in.size());
  if (IsEncryption(kind)) RETURN_IF_ERROR(MakeIv(*parameter));
  ASSIGN_OR_RETURN(const auto cipher, MakeMessageCipher(*operation, kind, *parameter, aad));
  return RunPart(kind, *cipher, *parameter, in, out, true);
}

Status BeginMessage(Context& context, OperationKind kind, const spec::ParameterInOut& given, ByteView aad) {
  ASSIGN_OR_RETURN(Operation * operation, Active(context, kind));
  if (operation->cipher != nullptr) return Fail(CKR_OPERATION_ACTIVE, "a message goes on in parts");
  ASSIGN_OR_RETURN(const Parameter* parameter, Checked(*operation, kind, given));
  if (IsEncryption(kind)) RETURN_IF_ERROR(MakeIv(*parameter));
  ASSIGN_OR_RETURN(operation->cipher, MakeMessageCipher(*operation, kind, *parameter, aad));
  operation->tag_bits = parameter->ulTagBits;
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
  ASSIGN_OR_RETURN(const Parameter* parameter, Checked(*operation, kind, given));
  if (parameter->ulTagBits != operation->tag_bits)
    return Fail(CKR_MECHANISM_PARAM_INVALID, "the tag's length has changed");
  RETURN_IF_ERROR(RunPart(kind, *cipher, *parameter, in, out, last));
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

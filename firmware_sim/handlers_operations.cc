// Encryption, decryption, digests, signatures: Init, single part, parts, end (PKCS#11 3.2 sections 5.8 to 5.13). One
// code for all kinds of operation; the call table says which kind a function belongs to.
#include "firmware_sim/handlers.h"
#include "firmware_sim/key_use.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::sim {
namespace {

bool IsCipher(OperationKind kind) { return kind == OperationKind::kEncrypt || kind == OperationKind::kDecrypt; }
bool IsSignature(OperationKind kind) { return kind == OperationKind::kSign || kind == OperationKind::kVerify; }
bool IsRecovery(OperationKind kind) {
  return kind == OperationKind::kSignRecover || kind == OperationKind::kVerifyRecover;
}
bool IsMessages(OperationKind kind) {
  return kind == OperationKind::kMessageEncrypt || kind == OperationKind::kMessageDecrypt;
}
bool IsSupported(OperationKind kind) {
  return IsCipher(kind) || IsSignature(kind) || IsRecovery(kind) || kind == OperationKind::kDigest;
}

// The operation that a call goes on with. Errors: CKR_OPERATION_NOT_INITIALIZED; CKR_USER_NOT_LOGGED_IN when the key
// wants to be confirmed first.
Fallible<Operation*> Active(Context& context, OperationKind kind) {
  if (!IsSupported(kind)) return Fail(CKR_FUNCTION_NOT_SUPPORTED, "not a function of this device");
  Operation* operation = context.session->operation(kind).get();
  if (operation == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no Init before");
  if (operation->needs_login) return Fail(CKR_USER_NOT_LOGGED_IN, "the key wants C_Login(CKU_CONTEXT_SPECIFIC) first");
  return operation;
}

// The same for a call that begins or continues a multi-part operation.
Fallible<Operation*> ActiveInParts(Context& context, OperationKind kind) {
  ASSIGN_OR_RETURN(Operation * operation, Active(context, kind));
  if (operation->row->parts != spec::Parts::kMulti) {
    return Fail(CKR_FUNCTION_NOT_SUPPORTED, "the mechanism takes its data in one part");
  }
  return operation;
}

// The same for a call that does everything at once.
Fallible<Operation*> ActiveWhole(Context& context, OperationKind kind) {
  ASSIGN_OR_RETURN(Operation * operation, Active(context, kind));
  if (operation->in_parts) return Fail(CKR_OPERATION_ACTIVE, "a multi-part operation must end with its Final");
  return operation;
}

// A use of the operation's key: so many bytes of input. Counted before they are looked at.
Status ChargeInput(Context& context, const Operation& operation, std::size_t bytes) {
  if (operation.object == nullptr) return {};
  return context.device.Charge(*operation.object, {.bytes = bytes});
}

// Whether the parameter says how long the output is, or how much longer than the input.
bool LengthIsInParameter(const spec::MechanismRow& row) {
  return row.output == spec::OutputRule::kPlusTag || row.output == spec::OutputRule::kMac ||
         row.output == spec::OutputRule::kMacGeneral || row.output == spec::OutputRule::kDigest;
}

// As spec::OutputBits() has it.
std::size_t KeyBitsOf(const Operation& operation) {
  if (operation.object == nullptr) return 0;
  const Key& key = *operation.object->key();
  return operation.row->output == spec::OutputRule::kSubprime ? spec::BitLength(key.part(Part::kSubprime)) : key.bits();
}

// Bytes of output for all of the input (spec/mechanism_output.h). The parameter is gone by now; what it said of the
// length was kept when the operation began.
std::size_t OutputBytes(const Operation& operation, std::size_t input, bool encrypting) {
  if (operation.row->output == spec::OutputRule::kPlusTag) {
    const std::size_t tag = operation.parameter_bytes;
    return encrypting ? input + tag : input > tag ? input - tag : 0;
  }
  if (LengthIsInParameter(*operation.row)) return operation.parameter_bytes;
  // The row knows a bound; the key says how long its second prime is.
  if (operation.row->output == spec::OutputRule::kSubprime)
    return 2 * ((spec::BitLength(operation.object->key()->part(Part::kSubprime)) + 7) / 8);
  const CK_MECHANISM mechanism{operation.row->type, nullptr, 0};
  return spec::OutputLength(*operation.row, mechanism, KeyBitsOf(operation), input, encrypting).value_or(0);
}

// The answer to a length query or to too small a buffer; the operation stays as it is.
Status AnswerLength(const spec::BytesOut& out, std::size_t bytes) {
  *out.length = bytes;
  if (out.query()) return {};
  return Fail(CKR_BUFFER_TOO_SMALL, "buffer");
}

Status GiveAndEnd(Context& context, OperationKind kind, const spec::BytesOut& out, std::size_t bytes) {
  *out.length = bytes;
  context.session->operation(kind).reset();
  return {};
}

MutableBytes Room(const spec::BytesOut& out) { return {out.data, out.capacity()}; }

// Decryption that takes a padding off: how much is left is known only afterwards, and a buffer that just fits must do.
Status DecryptUnpadding(Context& context, Operation& operation, ByteView in, const spec::BytesOut& out,
                        std::size_t bound) {
  RETURN_IF_ERROR(ChargeInput(context, operation, in.size()));
  Bytes plain(bound);
  auto written = operation.cipher->Whole(in, plain);
  if (!written.ok()) {
    Wipe(plain);
    return Failure{written.error()};
  }
  const bool fits = *written <= out.capacity();
  if (fits && *written != 0) std::memcpy(out.data, plain.data(), *written);
  Wipe(plain);
  if (fits) return GiveAndEnd(context, OperationKind::kDecrypt, out, *written);
  RETURN_IF_ERROR(operation.cipher->Restart());
  return AnswerLength(out, *written);
}

Status CipherWhole(Context& context, OperationKind kind, ByteView in, const spec::BytesOut& out) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveWhole(context, kind));
  const bool encrypting = kind == OperationKind::kEncrypt;
  const std::size_t bytes = OutputBytes(*operation, in.size(), encrypting);
  if (out.query()) return AnswerLength(out, bytes);
  if (bytes > out.capacity()) {
    if (encrypting) return AnswerLength(out, bytes);
    return DecryptUnpadding(context, *operation, in, out, bytes);
  }
  RETURN_IF_ERROR(ChargeInput(context, *operation, in.size()));
  ASSIGN_OR_RETURN(const std::size_t written, operation->cipher->Whole(in, Room(out)));
  return GiveAndEnd(context, kind, out, written);
}

Status SignWhole(Context& context, ByteView in, const spec::BytesOut& out) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveWhole(context, OperationKind::kSign));
  const std::size_t bytes = OutputBytes(*operation, in.size(), true);
  if (out.query() || bytes > out.capacity()) return AnswerLength(out, bytes);
  RETURN_IF_ERROR(ChargeInput(context, *operation, in.size()));
  RETURN_IF_ERROR(operation->signature->Update(in));
  ASSIGN_OR_RETURN(const std::size_t written, operation->signature->Sign(Room(out)));
  return GiveAndEnd(context, OperationKind::kSign, out, written);
}

// The signature holds the data (PKCS#11 3.2 section 5.15).
Status SignRecover(Context& context, ByteView in, const spec::BytesOut& out) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveWhole(context, OperationKind::kSignRecover));
  const std::size_t bytes = OutputBytes(*operation, in.size(), true);
  if (out.query() || bytes > out.capacity()) return AnswerLength(out, bytes);
  RETURN_IF_ERROR(ChargeInput(context, *operation, in.size()));
  RETURN_IF_ERROR(operation->signature->Update(in));
  ASSIGN_OR_RETURN(const std::size_t written, operation->signature->Sign(Room(out)));
  return GiveAndEnd(context, OperationKind::kSignRecover, out, written);
}

Status VerifyRecover(Context& context, ByteView in, const spec::BytesOut& out) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveWhole(context, OperationKind::kVerifyRecover));
  const std::size_t bound = (operation->object->key()->bits() + 7) / 8;
  if (out.query()) return AnswerLength(out, bound);
  Bytes message(bound);
  ASSIGN_OR_RETURN(const std::size_t bytes, operation->cipher->Whole(in, message));
  if (bytes > out.capacity()) return AnswerLength(out, bytes);
  if (bytes != 0) std::memcpy(out.data, message.data(), bytes);
  return GiveAndEnd(context, OperationKind::kVerifyRecover, out, bytes);
}

Status DigestWhole(Context& context, ByteView in, const spec::BytesOut& out) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveWhole(context, OperationKind::kDigest));
  const std::size_t bytes = operation->digest->bytes();
  if (out.query() || bytes > out.capacity()) return AnswerLength(out, bytes);
  RETURN_IF_ERROR(operation->digest->Update(in));
  RETURN_IF_ERROR(operation->digest->Final(Room(out)));
  return GiveAndEnd(context, OperationKind::kDigest, out, bytes);
}

Status CipherFinal(Context& context, OperationKind kind, const spec::BytesOut& out) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveInParts(context, kind));
  if (!operation->pending) {
    const std::size_t bound = operation->cipher->FinalBytesMax();
    if (out.query()) return AnswerLength(out, bound);
    if (bound <= out.capacity()) {
      ASSIGN_OR_RETURN(const std::size_t written, operation->cipher->Final(Room(out)));
      return GiveAndEnd(context, kind, out, written);
    }
    // What comes out may yet be shorter than the bound: make it, and keep it until there is room.
    SecretBytes last(bound);
    ASSIGN_OR_RETURN(const std::size_t written, operation->cipher->Final(last.bytes()));
    last.Truncate(written);
    operation->pending = std::move(last);
  }
  const ByteView last = operation->pending->view();
  if (out.query() || last.size() > out.capacity()) return AnswerLength(out, last.size());
  std::memcpy(out.data, last.data(), last.size());
  return GiveAndEnd(context, kind, out, last.size());
}

Status SignFinal(Context& context, const spec::BytesOut& out) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveInParts(context, OperationKind::kSign));
  const std::size_t bytes = OutputBytes(*operation, 0, true);
  if (out.query() || bytes > out.capacity()) return AnswerLength(out, bytes);
  ASSIGN_OR_RETURN(const std::size_t written, operation->signature->Sign(Room(out)));
  return GiveAndEnd(context, OperationKind::kSign, out, written);
}

Status DigestFinal(Context& context, const spec::BytesOut& out) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveInParts(context, OperationKind::kDigest));
  const std::size_t bytes = operation->digest->bytes();
  if (out.query() || bytes > out.capacity()) return AnswerLength(out, bytes);
  RETURN_IF_ERROR(operation->digest->Final(Room(out)));
  return GiveAndEnd(context, OperationKind::kDigest, out, bytes);
}

Status PrepareOperation(Operation& operation, OperationKind kind, const CK_MECHANISM& mechanism) {
  if (IsMessages(kind)) return {};  // each message brings its own parameter
  if (LengthIsInParameter(*operation.row)) {
    operation.parameter_bytes =
        spec::OutputLength(*operation.row, mechanism, KeyBitsOf(operation), 0, true).value_or(0);
  }
  if (kind == OperationKind::kDigest) {
    ASSIGN_OR_RETURN(operation.digest, MakeRowDigest(*operation.row, mechanism));
    return {};
  }
  const Key& key = *operation.object->key();
  if (kind == OperationKind::kVerifyRecover) {
    ASSIGN_OR_RETURN(operation.cipher, MakeRecovery(*operation.row, key));
    return {};
  }
  if (IsSignature(kind) || kind == OperationKind::kSignRecover) {
    ASSIGN_OR_RETURN(operation.signature, MakeSignature(*operation.row, mechanism, key));
    return {};
  }
  const Mode mode = kind == OperationKind::kEncrypt ? Mode::kEncrypt : Mode::kDecrypt;
  ASSIGN_OR_RETURN(operation.cipher, MakeCipher(*operation.row, mechanism, key, mode));
  return {};
}

}  // namespace

Status BeginOperation(Context& context, OperationKind kind, const CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) {
  if (!IsSupported(kind) && !IsMessages(kind)) return Fail(CKR_FUNCTION_NOT_SUPPORTED, "not a function of this device");
  auto& slot = context.session->operation(kind);
  // NULL cancels (3.0).
  if (mechanism == nullptr) {
    slot.reset();
    return {};
  }
  if (slot != nullptr) return Fail(CKR_OPERATION_ACTIVE, "one operation of a kind at a time");
  auto operation = std::make_unique<Operation>();
  // The flag that cancels a kind of operation is also the one that mechanism rows list it under.
  const CK_FLAGS flag = spec::CancelFlag(kind);
  ASSIGN_OR_RETURN(operation->row, CheckMechanism(*mechanism, flag));
  if (kind != OperationKind::kDigest) {
    ASSIGN_OR_RETURN(operation->object, CheckKey(context.device, *operation->row, key, flag));
    const CK_FLAGS confirmed = CKF_SIGN | CKF_SIGN_RECOVER | CKF_DECRYPT;
    operation->needs_login = (operation->object->always_authenticate() && (flag & confirmed) != 0) ||
                             context.device.WantsLogin(*operation->object);
    // Messages are uses, each of them, and not what begins them.
    const bool gcm = CountsIvs(*operation->row) && (flag & (CKF_ENCRYPT | CKF_SIGN)) != 0;
    if (!IsMessages(kind))
      RETURN_IF_ERROR(context.device.Charge(*operation->object, {.uses = 1, .gcm = gcm ? 1u : 0u}));
  }
  RETURN_IF_ERROR(PrepareOperation(*operation, kind, *mechanism));
  slot = std::move(operation);
  return {};
}

Status TransformWhole(Context& context, OperationKind kind, ByteView in, const spec::BytesOut& out) {
  if (kind == OperationKind::kSign) return SignWhole(context, in, out);
  if (kind == OperationKind::kDigest) return DigestWhole(context, in, out);
  if (kind == OperationKind::kSignRecover) return SignRecover(context, in, out);
  if (kind == OperationKind::kVerifyRecover) return VerifyRecover(context, in, out);
  if (IsCipher(kind)) return CipherWhole(context, kind, in, out);
  return Fail(CKR_FUNCTION_NOT_SUPPORTED, "not a function of this device");
}

Status TransformPart(Context& context, OperationKind kind, ByteView in, const spec::BytesOut& out) {
  if (!IsCipher(kind)) return Fail(CKR_FUNCTION_NOT_SUPPORTED, "not a function of this device");
  ASSIGN_OR_RETURN(Operation * operation, ActiveInParts(context, kind));
  if (operation->pending) return Fail(CKR_OPERATION_ACTIVE, "Final has begun");
  const std::size_t bytes = operation->cipher->UpdateBytes(in.size());
  // With nothing to give, a NULL buffer still asks for the length: the input is not taken.
  if (out.query() || bytes > out.capacity()) return AnswerLength(out, bytes);
  operation->in_parts = true;
  RETURN_IF_ERROR(ChargeInput(context, *operation, in.size()));
  RETURN_IF_ERROR(operation->cipher->Update(in, Room(out)));
  *out.length = bytes;
  return {};
}

Status DrainFinal(Context& context, OperationKind kind, const spec::BytesOut& out) {
  if (kind == OperationKind::kSign) return SignFinal(context, out);
  if (kind == OperationKind::kDigest) return DigestFinal(context, out);
  if (IsCipher(kind)) return CipherFinal(context, kind, out);
  return Fail(CKR_FUNCTION_NOT_SUPPORTED, "not a function of this device");
}

Status FeedPart(Context& context, OperationKind kind, ByteView in) {
  if (!IsSignature(kind) && kind != OperationKind::kDigest)
    return Fail(CKR_FUNCTION_NOT_SUPPORTED, "not a function of this device");
  ASSIGN_OR_RETURN(Operation * operation, ActiveInParts(context, kind));
  operation->in_parts = true;
  RETURN_IF_ERROR(ChargeInput(context, *operation, in.size()));
  return kind == OperationKind::kDigest ? operation->digest->Update(in) : operation->signature->Update(in);
}

// Verification always ends the operation.
Status FinishVerify(Context& context, OperationKind kind, ByteView signature) {
  if (kind != OperationKind::kVerify) return Fail(CKR_FUNCTION_NOT_SUPPORTED, "not a function of this device");
  ASSIGN_OR_RETURN(Operation * operation, ActiveInParts(context, kind));
  RETURN_IF_ERROR(operation->signature->Verify(signature));
  context.session->operation(kind).reset();
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_Verify>& call) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveWhole(context, OperationKind::kVerify));
  RETURN_IF_ERROR(ChargeInput(context, *operation, call.input.view().size()));
  RETURN_IF_ERROR(operation->signature->Update(call.input.view()));
  RETURN_IF_ERROR(operation->signature->Verify(call.signature.view()));
  context.session->operation(OperationKind::kVerify).reset();
  return {};
}

// The digest of a key's value says something of the value: only for keys whose value may be seen anyway.
Status Handle(Context& context, spec::Call<CallId::C_DigestKey>& call) {
  ASSIGN_OR_RETURN(Operation * operation, ActiveInParts(context, OperationKind::kDigest));
  const ObjectPtr object = context.device.FindObject(call.object.value);
  if (object == nullptr || object->key() == nullptr) return Fail(CKR_KEY_HANDLE_INVALID, "no such key");
  if (object->object_class() != CKO_SECRET_KEY || !spec::MayReveal(object->attributes(), CKA_VALUE)) {
    return Fail(CKR_KEY_INDIGESTIBLE, "not a secret key whose value may be seen");
  }
  operation->in_parts = true;
  return operation->digest->Update(object->key()->part(Part::kValue));
}

}  // namespace cmkd::sim

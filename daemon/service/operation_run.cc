// How operations run: they begin, do their data at once, and give their output by the two-call convention.
#include "daemon/service/operation_run.h"

#include <algorithm>

#include "daemon/service/hotp.h"
#include "daemon/service/key_role.h"
#include "daemon/service/managed_cipher.h"
#include "daemon/service/operation_device.h"
#include "daemon/service/rsa_padding.h"
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {

using spec::OperationKind;

// ---- Begin

Status CheckCallersIv(const spec::MechanismRow& row, const Object& key) {
  if (!spec::MakesKeystream(row) || !key.has_material() || key.attributes.Bool(CKA_DECRYPT)) return {};
  return Fail(CKR_MECHANISM_PARAM_INVALID, "a key that only encrypts does not take its caller's IV", spec::kIvRefused);
}

Status BeginOperation(Invocation& invocation, OperationKind which, const CK_MECHANISM* mechanism,
                      CK_OBJECT_HANDLE key_handle) {
  const KindRow& kind = RowOf(which);
  Session& session = *invocation.session;
  if (mechanism == nullptr) {
    // 3.0: a NULL mechanism ends what is active, and is an error when nothing is.
    if (session.operation(which) == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "nothing to cancel");
    session.operation(which).reset();
    return {};
  }
  if (session.operation(which) != nullptr) return Fail(CKR_OPERATION_ACTIVE, "such an operation is already active");
  auto operation = std::make_unique<Operation>();
  operation->kind = which;
  invocation.audit.mechanism = mechanism->mechanism;
  ASSIGN_OR_RETURN(operation->row, CheckOffered(invocation, mechanism->mechanism, kind.flag));
  // Each message brings the parameter that counts.
  const bool aead = which == OperationKind::kMessageEncrypt || which == OperationKind::kMessageDecrypt;
  if (!aead) RETURN_IF_ERROR(spec::CheckParameter(*operation->row, *mechanism));
  if (which != OperationKind::kDigest) {
    ASSIGN_OR_RETURN(operation->key, FindVisible(invocation, key_handle, CKR_KEY_HANDLE_INVALID));
    RecordKey(invocation, *operation->key, mechanism->mechanism);
    RETURN_IF_ERROR(CheckKeyUse(invocation, *operation->row, *operation->key, kind.usage));
    if (operation->row->recipe == spec::Recipe::kHotp)
      RETURN_IF_ERROR(CheckHotp(*mechanism, *operation->key, IsVerification(*operation)));
    if (which == OperationKind::kEncrypt) RETURN_IF_ERROR(CheckCallersIv(*operation->row, *operation->key));
    // The rules of use are asked now and again at every data call.
    ASSIGN_OR_RETURN([[maybe_unused]] const auto candidates,
                     Candidates(invocation, *operation->key, kind.use, operation->row->versions, Moment::kInit));
    operation->key_bits = spec::OutputBits(*operation->row, operation->key->attributes);
    operation->needs_login =
        operation->key->object_class == CKO_PRIVATE_KEY && operation->key->attributes.Bool(CKA_ALWAYS_AUTHENTICATE);
  }
  ASSIGN_OR_RETURN(const Backend* backend, BackendOf(invocation));
  if (MechanismOnDevice(*backend, *operation->row) != operation->row->type)
    operation->digest_apart = operation->row->digest;
  operation->mechanism = OwnedMechanism::Copy(aead ? CK_MECHANISM{mechanism->mechanism, nullptr, 0} : *mechanism);
  if (operation->mechanism == nullptr) return Fail(CKR_MECHANISM_PARAM_INVALID, "the parameter cannot be copied");
  session.operation(which) = std::move(operation);
  return {};
}

Fallible<Operation*> ActiveOperation(Invocation& invocation, OperationKind kind) {
  Operation* operation = invocation.session->operation(kind).get();
  if (operation == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no such operation is active");
  if (operation->needs_login) return Fail(CKR_USER_NOT_LOGGED_IN, "the key asks for a login before each use");
  return operation;
}

// ---- Outputs

Failure<Error> TooSmall() { return Fail(CKR_BUFFER_TOO_SMALL, "the buffer is too small"); }

void RecordUse(Invocation& invocation, const Operation& operation, std::size_t input) {
  if (operation.key != nullptr) RecordKey(invocation, *operation.key, operation.row->type);
  invocation.audit.mechanism = operation.row->type;
  invocation.audit.input_bytes = input;
}

Status Deliver(Invocation& invocation, Operation& operation, spec::BytesOut& output, ByteView made, ByteView input) {
  invocation.audit.output_bytes = made.size();
  if (output.Put(made) == CKR_OK) return {};
  operation.pending = {ToBytes(input), ToBytes(made)};
  return TooSmall();
}

bool TakePending(Operation& operation, spec::BytesOut& output, ByteView input, Status& status) {
  if (!operation.pending || !Equal(operation.pending->input, input)) return false;
  const bool query = output.query();
  if (output.Put(operation.pending->output) != CKR_OK) {
    status = TooSmall();
  } else {
    if (!query) {
      Wipe(operation.pending->output);
      operation.pending.reset();
    }
    status = {};
  }
  return true;
}

namespace {
bool LengthIsExact(const Operation& operation) { return operation.kind != OperationKind::kDecrypt; }
}  // namespace

bool IsPlausible(const Operation& operation, std::size_t length, CK_ULONG made) {
  const spec::OutputRule rule = operation.row->output;
  const bool exact =
      LengthIsExact(operation) || rule == spec::OutputRule::kPlusTag || rule == spec::OutputRule::kSameLength;
  return exact ? made == length : made <= length;
}

// ---- One part

namespace {

Status CheckNoParts(const Operation& operation) {
  if (operation.streams.empty() && !operation.buffering) return {};
  return Fail(CKR_OPERATION_ACTIVE, "parts were fed: the operation ends with Final");
}

// RSA paddings that come off here (rsa_padding.h).
bool MustUnpadHere(const Invocation& invocation, const Operation& operation) {
  return operation.kind == OperationKind::kDecrypt && IsUnpaddedHere(invocation, *operation.row);
}

Fallible<SecretBytes> DecryptHere(Invocation& invocation, const Operation& operation, ByteView input) {
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, CandidatesOf(invocation, operation));
  return DecryptRsaHere(invocation, *operation.row, operation.mechanism->get(), *operation.key, candidates.front(),
                        input);
}

Status TransformManaged(Invocation& invocation, Operation& operation, ByteView input, spec::BytesOut& output) {
  const ByteView context = spec::ReadContext(operation.mechanism->get());
  RETURN_IF_ERROR(CheckStillThere(invocation, operation));
  if (operation.kind == OperationKind::kEncrypt) {
    ASSIGN_OR_RETURN(const Bytes made, EncryptManaged(invocation, *operation.key, context, input, Moment::kUse));
    return Deliver(invocation, operation, output, made, input);
  }
  ASSIGN_OR_RETURN(const SecretBytes plain, DecryptManaged(invocation, *operation.key, context, input, Moment::kUse));
  return Deliver(invocation, operation, output, plain.view(), input);
}

}  // namespace

Status TransformWhole(Invocation& invocation, Operation& operation, ByteView input, spec::BytesOut& output) {
  RETURN_IF_ERROR(CheckNoParts(operation));
  Status waiting;
  if (TakePending(operation, output, input, waiting)) return waiting;
  operation.pending.reset();
  ASSIGN_OR_RETURN(const std::size_t length, WholeLength(operation, input.size()));
  if (output.query() || (LengthIsExact(operation) && output.capacity() < length)) {
    const bool query = output.query();
    *output.length = length;
    return query ? Status{} : TooSmall();
  }
  if (operation.row->recipe == spec::Recipe::kManaged) return TransformManaged(invocation, operation, input, output);
  if (operation.row->recipe == spec::Recipe::kHotp) return SignHotp(invocation, operation, input, output);
  // Straight into the answer when it is sure to fit; otherwise beside it, to see how long it is. Some devices want room
  // for the whole input, although what comes out of a padding is shorter.
  const std::size_t room = LengthIsExact(operation) ? length : std::max(length, input.size());
  const bool fits = output.capacity() >= room;
  if (MustUnpadHere(invocation, operation)) {
    ASSIGN_OR_RETURN(const SecretBytes plain, DecryptHere(invocation, operation, input));
    return Deliver(invocation, operation, output, plain.view(), input);
  }
  ASSIGN_OR_RETURN(const ByteView data, Digested(invocation, operation, input));
  CK_BYTE_PTR into = fits ? output.Room(room) : invocation.arena.Allocate(room);
  CK_ULONG made = room;
  RETURN_IF_ERROR(RunOnce(invocation, operation, [&](CK_FUNCTION_LIST_PTR device, CK_SESSION_HANDLE session) {
    made = room;
    const CK_RV rv = (device->*RowOf(operation.kind).single)(session, Mutable(data), data.size(), into, &made);
    return rv == CKR_OK && !IsPlausible(operation, length, made) ? CKR_DEVICE_ERROR : rv;
  }));
  if (!fits) return Deliver(invocation, operation, output, {into, made}, input);
  *output.length = made;
  invocation.audit.output_bytes = made;
  return {};
}

// ---- Verification

Status VerifyWhole(Invocation& invocation, Operation& operation, ByteView input, ByteView signature) {
  RETURN_IF_ERROR(CheckNoParts(operation));
  return VerifyOnce(invocation, operation, input, signature);
}

}  // namespace cmkd::daemon

// Encrypt, decrypt, digest, sign and verify (PKCS#11 sections 5.8 to 5.15): one family of templates over the kind of
// operation. The rule "an error ends the operation, a length query or a buffer too small does not" stands here and
// nowhere else.
#include <algorithm>

#include "daemon/crypto/oaep.h"
#include "daemon/service/handlers.h"
#include "daemon/service/key_role.h"
#include "daemon/service/key_use.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {

using spec::CallId;
using spec::OperationKind;

namespace {

using InitFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE);
using TransformFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);
using FeedFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG);
using DrainFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR);

// What is particular to a kind of operation. Functions that a kind does not have are nullptr.
struct KindRow {
  OperationKind kind;
  CK_FLAGS flag;            // of the mechanism
  CK_ATTRIBUTE_TYPE usage;  // of the key
  cmk::Use use;
  InitFunction CK_FUNCTION_LIST::*init;
  TransformFunction CK_FUNCTION_LIST::*single;
  TransformFunction CK_FUNCTION_LIST::*update;  // parts with output
  FeedFunction CK_FUNCTION_LIST::*feed;         // parts without
  DrainFunction CK_FUNCTION_LIST::*final;
};

using F = CK_FUNCTION_LIST;
constexpr KindRow kKinds[] = {
    {OperationKind::kEncrypt, CKF_ENCRYPT, CKA_ENCRYPT, cmk::Use::kProtect, &F::C_EncryptInit, &F::C_Encrypt,
     &F::C_EncryptUpdate, nullptr, &F::C_EncryptFinal},
    {OperationKind::kDecrypt, CKF_DECRYPT, CKA_DECRYPT, cmk::Use::kProcess, &F::C_DecryptInit, &F::C_Decrypt,
     &F::C_DecryptUpdate, nullptr, &F::C_DecryptFinal},
    {OperationKind::kDigest, CKF_DIGEST, 0, cmk::Use::kProtect, nullptr, &F::C_Digest, nullptr, &F::C_DigestUpdate,
     &F::C_DigestFinal},
    {OperationKind::kSign, CKF_SIGN, CKA_SIGN, cmk::Use::kProtect, &F::C_SignInit, &F::C_Sign, nullptr,
     &F::C_SignUpdate, &F::C_SignFinal},
    {OperationKind::kVerify, CKF_VERIFY, CKA_VERIFY, cmk::Use::kProcess, &F::C_VerifyInit, nullptr, nullptr,
     &F::C_VerifyUpdate, nullptr},
};

constexpr const KindRow& RowOf(OperationKind kind) {
  for (const KindRow& row : kKinds) {
    if (row.kind == kind) return row;
  }
  return kKinds[0];
}

// More buffered than this belongs in an operation that streams.
constexpr std::size_t kBufferedMax = std::size_t{128} << 20;

// ---- The device

// Starts the operation in a device session with one version of its key.
CK_RV StartOnDevice(CK_FUNCTION_LIST_PTR device, Backend::Lease& lease, const KindRow& kind, const Operation& operation,
                    const Candidate* candidate) {
  if (candidate == nullptr) return device->C_DigestInit(lease.session(), operation.mechanism->pointer());
  const auto handle = lease.Load(candidate->name, candidate->material);
  if (!handle.ok()) return handle.error().rv;
  return (device->*kind.init)(lease.session(), operation.mechanism->pointer(), *handle);
}

// The code for "the integrity check failed", as the standard has it.
Failure<Error> WrongKey(OperationKind kind) {
  const CK_RV rv = kind == OperationKind::kVerify ? CKR_SIGNATURE_INVALID : CKR_ENCRYPTED_DATA_INVALID;
  return Fail(rv, "no live version of the key fits", spec::kAuthenticationFailed);
}

Fallible<std::vector<Candidate>> CandidatesOf(const Invocation& invocation, const Operation& operation,
                                              const KindRow& kind) {
  if (operation.key == nullptr) return std::vector<Candidate>{};
  // The key may have been hidden or taken away since Init: what counts is now.
  if (!IsVisible(invocation, *operation.key, UserLoggedIn(invocation))) {
    return Translate(cmk::Refusal::kKeyPendingDeletion, Moment::kUse);
  }
  return Candidates(invocation, *operation.key, kind.use, operation.row->versions, Moment::kUse);
}

void RecordUse(Invocation& invocation, const Operation& operation, std::size_t input) {
  if (operation.key != nullptr) RecordKey(invocation, *operation.key, operation.row->type);
  invocation.audit.mechanism = operation.row->type;
  invocation.audit.input_bytes = input;
}

// Runs `once` (Init and the one-part function) with each candidate until one fits.
using Once = std::function<CK_RV(CK_FUNCTION_LIST_PTR, CK_SESSION_HANDLE)>;
Status RunOnce(Invocation& invocation, const Operation& operation, const KindRow& kind, const Once& once) {
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, CandidatesOf(invocation, operation, kind));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  const std::size_t tries = std::max<std::size_t>(candidates.size(), 1);
  for (std::size_t i = 0; i < tries; ++i) {
    const Candidate* candidate = candidates.empty() ? nullptr : &candidates[i];
    if (candidate != nullptr && kind.use == cmk::Use::kProtect) {
      RETURN_IF_ERROR(CountUse(invocation, *operation.key, *candidate, kind.use, operation.row->type,
                               invocation.audit.input_bytes));
    }
    const Status status = backend->Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
      if (const CK_RV rv = StartOnDevice(device, lease, kind, operation, candidate); rv != CKR_OK) return rv;
      const CK_RV rv = once(device, lease.session());
      if (rv != CKR_BUFFER_TOO_SMALL) return rv;
      // The room was what the mechanism's row says; a device that wants more is at fault, not the caller.
      lease.Break();
      return CKR_DEVICE_ERROR;
    });
    if (status.ok()) {
      if (candidate == nullptr) return {};
      invocation.audit.version = candidate->version.value;
      if (kind.use == cmk::Use::kProtect) return {};
      return CountUse(invocation, *operation.key, *candidate, kind.use, operation.row->type, 0);
    }
    if (operation.row->versions != spec::VersionSearch::kTrial ||
        !backend->IsWrongKey(operation.row->type, status.error().rv)) {
      return status;
    }
  }
  return WrongKey(operation.kind);
}

// ---- Lengths

// The whole output's length for `input` bytes, exact when protecting, an upper bound when a padding comes off.
Fallible<std::size_t> LengthFor(const Operation& operation, std::size_t input) {
  const bool encrypting = operation.kind != OperationKind::kDecrypt;
  const auto length =
      spec::OutputLength(*operation.row, operation.mechanism->get(), operation.key_bits, input, encrypting);
  if (!length)
    return Fail(encrypting ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE, "no output has such a length");
  return *length;
}

bool LengthIsExact(const Operation& operation) { return operation.kind != OperationKind::kDecrypt; }

Failure<Error> TooSmall() { return Fail(CKR_BUFFER_TOO_SMALL, "the buffer is too small"); }

// Whether the operation goes on after this status.
bool GoesOn(const Status& status) { return !status.ok() && status.error().rv == CKR_BUFFER_TOO_SMALL; }

// Gives an output that has been made; keeps it for the caller's next try when it does not fit.
Status Deliver(Invocation& invocation, Operation& operation, const spec::BytesOut& output, ByteView made,
               ByteView input) {
  invocation.audit.output_bytes = made.size();
  if (output.Put(made) == CKR_OK) return {};
  operation.pending = {ToBytes(input), ToBytes(made)};
  return TooSmall();
}

// An output that is waiting since the last call, if this call is that one again.
bool TakePending(Operation& operation, const spec::BytesOut& output, ByteView input, Status& status) {
  if (!operation.pending || !Equal(operation.pending->input, input)) return false;
  const bool query = output.query();
  if (output.Put(operation.pending->output) != CKR_OK) {
    status = TooSmall();
  } else if (!query) {
    Wipe(operation.pending->output);
    operation.pending.reset();
    status = {};
  }
  return true;
}

// ---- OAEP on devices that do only some of it: the device does the private-key operation, the padding comes off here.

bool MustUnpadHere(const Invocation& invocation, const Operation& operation) {
  if (operation.kind != OperationKind::kDecrypt || operation.row->recipe != spec::Recipe::kRsaOaep) return false;
  const auto backend = BackendOf(invocation);
  return backend.ok() && !(*backend)->software() && (*backend)->FindMechanism(CKM_RSA_X_509) != nullptr;
}

// OpenSSL's name of a digest mechanism that OAEP may use.
std::string_view DigestName(CK_MECHANISM_TYPE digest) {
  switch (digest) {
    case CKM_SHA_1: return "SHA1";
    case CKM_SHA224: return "SHA224";
    case CKM_SHA256: return "SHA256";
    case CKM_SHA384: return "SHA384";
    case CKM_SHA512: return "SHA512";
    default: return "";
  }
}

Fallible<SecretBytes> DecryptOaepHere(Invocation& invocation, const Operation& operation, const KindRow& kind,
                                      ByteView input) {
  const std::size_t modulus = (operation.key_bits + 7) / 8;
  if (input.size() != modulus)
    return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "the ciphertext is not as long as the modulus");
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, CandidatesOf(invocation, operation, kind));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  SecretBytes block(modulus);
  CK_ULONG length = modulus;
  RETURN_IF_ERROR(backend->Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
    const auto handle = lease.Load(candidates.front().name, candidates.front().material);
    if (!handle.ok()) return handle.error().rv;
    CK_MECHANISM raw{CKM_RSA_X_509, nullptr, 0};
    if (const CK_RV rv = device->C_DecryptInit(lease.session(), &raw, *handle); rv != CKR_OK) return rv;
    length = modulus;
    return device->C_Decrypt(lease.session(), const_cast<CK_BYTE_PTR>(input.data()), input.size(), block.bytes().data(),
                             &length);
  }));
  invocation.audit.version = candidates.front().version.value;
  if (length != modulus) return Fail(CKR_DEVICE_ERROR, "the device gave a block of another length");
  CK_RSA_PKCS_OAEP_PARAMS parameters{};
  std::memcpy(&parameters, operation.mechanism->get().pParameter, sizeof parameters);
  const ByteView label(static_cast<const std::uint8_t*>(parameters.pSourceData), parameters.ulSourceDataLen);
  auto plain =
      RemoveOaep(block.view(), DigestName(parameters.hashAlg), DigestName(spec::MgfDigest(parameters.mgf)), label);
  if (!plain) return Fail(CKR_ENCRYPTED_DATA_INVALID, "the padding is wrong");
  return std::move(*plain);
}

// ---- Begin

Status CheckNotActive(const Session& session, OperationKind kind) {
  const auto& active = session.operations[static_cast<std::size_t>(kind)];
  return active == nullptr ? Status{} : Fail(CKR_OPERATION_ACTIVE, "such an operation is already active");
}

Status Begin(Invocation& invocation, OperationKind which, const CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key_handle) {
  const KindRow& kind = RowOf(which);
  Session& session = *invocation.session;
  if (mechanism == nullptr) {
    // 3.0: a NULL mechanism ends what is active, and is an error when nothing is.
    if (session.operation(which) == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "nothing to cancel");
    session.operation(which).reset();
    return {};
  }
  RETURN_IF_ERROR(CheckNotActive(session, which));
  auto operation = std::make_unique<Operation>();
  operation->kind = which;
  invocation.audit.mechanism = mechanism->mechanism;
  ASSIGN_OR_RETURN(operation->row, CheckMechanism(invocation, *mechanism, kind.flag));
  if (which != OperationKind::kDigest) {
    ASSIGN_OR_RETURN(operation->key, FindVisible(invocation, key_handle, CKR_KEY_HANDLE_INVALID));
    RecordKey(invocation, *operation->key, mechanism->mechanism);
    RETURN_IF_ERROR(CheckKeyUse(invocation, *operation->row, *operation->key, kind.usage));
    // The rules of use are asked now and again at every data call.
    ASSIGN_OR_RETURN([[maybe_unused]] const auto candidates,
                     Candidates(invocation, *operation->key, kind.use, operation->row->versions, Moment::kInit));
    operation->key_bits = spec::KeyBits(operation->key->attributes).value_or(0);
    operation->needs_login =
        operation->key->object_class == CKO_PRIVATE_KEY && operation->key->attributes.Bool(CKA_ALWAYS_AUTHENTICATE);
  }
  operation->mechanism = OwnedMechanism::Copy(*mechanism);
  if (operation->mechanism == nullptr) return Fail(CKR_MECHANISM_PARAM_INVALID, "the parameter cannot be copied");
  session.operation(which) = std::move(operation);
  return {};
}

// The active operation of this kind, ready for a data call.
Fallible<Operation*> Active(Invocation& invocation, OperationKind kind) {
  Operation* operation = invocation.session->operation(kind).get();
  if (operation == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no such operation is active");
  if (operation->needs_login) return Fail(CKR_USER_NOT_LOGGED_IN, "the key asks for a login before each use");
  return operation;
}

// ---- One part

Status TransformOnce(Invocation& invocation, Operation& operation, const KindRow& kind, ByteView input,
                     const spec::BytesOut& output) {
  ASSIGN_OR_RETURN(const std::size_t length, LengthFor(operation, input.size()));
  if (output.query() || (LengthIsExact(operation) && output.capacity() < length)) {
    const bool query = output.query();
    *output.length = length;
    return query ? Status{} : TooSmall();
  }
  // Straight into the answer when it is sure to fit; otherwise beside it, to see how long it is. Some devices want room
  // for the whole input, although what comes out of a padding is shorter.
  const std::size_t room = LengthIsExact(operation) ? length : std::max(length, input.size());
  const bool fits = output.capacity() >= room;
  CK_BYTE_PTR into = fits ? output.data : invocation.arena.Allocate(room);
  CK_ULONG made = room;
  if (MustUnpadHere(invocation, operation)) {
    ASSIGN_OR_RETURN(const SecretBytes plain, DecryptOaepHere(invocation, operation, kind, input));
    return Deliver(invocation, operation, output, plain.view(), input);
  }
  RETURN_IF_ERROR(RunOnce(invocation, operation, kind, [&](CK_FUNCTION_LIST_PTR device, CK_SESSION_HANDLE session) {
    made = room;
    return (device->*kind.single)(session, const_cast<CK_BYTE_PTR>(input.data()), input.size(), into, &made);
  }));
  if (!fits) return Deliver(invocation, operation, output, {into, made}, input);
  *output.length = made;
  invocation.audit.output_bytes = made;
  return {};
}

// Runs a data call on the active operation and ends the operation unless it goes on. `last`: success ends it, too.
template <class Body>
Status WithOperation(Invocation& invocation, OperationKind kind, bool last, bool query, Body body) {
  ASSIGN_OR_RETURN(Operation * operation, Active(invocation, kind));
  const Status status = body(*operation);
  const bool keep = GoesOn(status) || (status.ok() && (query || !last));
  if (!keep) invocation.session->operation(kind).reset();
  return status;
}

Status Single(Invocation& invocation, OperationKind which, const spec::BytesIn& input, const spec::BytesOut& output) {
  return WithOperation(invocation, which, true, output.query(), [&](Operation& operation) -> Status {
    RecordUse(invocation, operation, input.length);
    if (!operation.streams.empty() || operation.buffering)
      return Fail(CKR_OPERATION_ACTIVE, "parts were fed: the operation ends with Final");
    Status status;
    if (TakePending(operation, output, input.view(), status)) return status;
    return TransformOnce(invocation, operation, RowOf(which), input.view(), output);
  });
}

// ---- Parts

// Operations whose parts are kept until the end: what must be tried with several versions, and mechanisms of one part.
bool MustBuffer(const Operation& operation, std::size_t candidates) {
  const bool trial = operation.kind == OperationKind::kDecrypt &&
                     operation.row->versions == spec::VersionSearch::kTrial && candidates > 1;
  return trial || operation.row->parts == spec::Parts::kSingle;
}

Status OpenStream(Backend& backend, Operation& operation, const KindRow& kind, const Candidate* candidate) {
  for (int attempt = 0;; ++attempt) {
    ASSIGN_OR_RETURN(auto lease, backend.Acquire());
    const CK_RV rv = StartOnDevice(backend.functions(), *lease, kind, operation, candidate);
    if (rv == CKR_OK) {
      operation.streams.push_back(
          {std::move(lease), candidate == nullptr ? cmk::KeyVersionNumber{} : candidate->version});
      return {};
    }
    lease->Break();
    if (attempt == 1) return FromDevice(rv, "to begin the operation");
  }
}

// The first part decides how the operation runs: in one device session, in one for each version, or buffered here.
Status StartParts(Invocation& invocation, Operation& operation, const KindRow& kind) {
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, CandidatesOf(invocation, operation, kind));
  if (operation.buffering || !operation.streams.empty()) return {};
  if (MustBuffer(operation, candidates.size())) {
    operation.buffering = true;
    return {};
  }
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  const bool all = operation.kind == OperationKind::kVerify && operation.row->versions == spec::VersionSearch::kTrial;
  const std::size_t count = candidates.empty() ? 1 : (all ? candidates.size() : 1);
  for (std::size_t i = 0; i < count; ++i) {
    if (!candidates.empty()) {
      RETURN_IF_ERROR(CountUse(invocation, *operation.key, candidates[i], kind.use, operation.row->type,
                               invocation.audit.input_bytes));
    }
    RETURN_IF_ERROR(OpenStream(*backend, operation, kind, candidates.empty() ? nullptr : &candidates[i]));
  }
  return {};
}

Status BufferPart(Operation& operation, ByteView part) {
  if (operation.buffered.size() + part.size() > kBufferedMax) {
    const bool decrypting = operation.kind == OperationKind::kDecrypt;
    return Fail(decrypting ? CKR_ENCRYPTED_DATA_LEN_RANGE : CKR_DATA_LEN_RANGE,
                "too much data for an operation that must be whole");
  }
  if (!part.empty()) std::memcpy(operation.buffered.Extend(part.size()), part.data(), part.size());
  return {};
}

// A device that fails in the middle has lost what was fed: the operation is over.
Status StreamFailed(Operation& operation, CK_RV rv, const char* what) {
  // The device ended it with the error, so the session is free again, unless it did not say so cleanly.
  for (Operation::Stream& stream : operation.streams) stream.lease->Break();
  return FromDevice(rv, what);
}

Status Feed(Invocation& invocation, OperationKind which, const spec::BytesIn& input) {
  const KindRow& kind = RowOf(which);
  return WithOperation(invocation, which, false, false, [&](Operation& operation) -> Status {
    RecordUse(invocation, operation, input.length);
    RETURN_IF_ERROR(StartParts(invocation, operation, kind));
    operation.fed += input.length;
    if (operation.buffering) return BufferPart(operation, input.view());
    ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
    for (Operation::Stream& stream : operation.streams) {
      const CK_RV rv = (backend->functions()->*kind.feed)(stream.lease->session(), input.data, input.length);
      if (rv != CKR_OK) return StreamFailed(operation, rv, "a part");
    }
    return {};
  });
}

// Room for what an update or final can give beyond its own input: a block held back, a tag.
constexpr std::size_t kSlack = 64;

Status Update(Invocation& invocation, OperationKind which, const spec::BytesIn& input, const spec::BytesOut& output) {
  const KindRow& kind = RowOf(which);
  return WithOperation(invocation, which, false, output.query(), [&](Operation& operation) -> Status {
    RecordUse(invocation, operation, input.length);
    Status status;
    if (TakePending(operation, output, input.view(), status)) return status;
    if (output.query()) {
      *output.length = input.length + kSlack;
      return {};
    }
    RETURN_IF_ERROR(StartParts(invocation, operation, kind));
    operation.fed += input.length;
    if (operation.buffering) {
      *output.length = 0;
      return BufferPart(operation, input.view());
    }
    ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
    const std::size_t room = input.length + kSlack;
    const bool fits = output.capacity() >= room;
    CK_BYTE_PTR into = fits ? output.data : invocation.arena.Allocate(room);
    CK_ULONG made = room;
    const CK_RV rv = (backend->functions()->*kind.update)(operation.streams.front().lease->session(), input.data,
                                                          input.length, into, &made);
    if (rv != CKR_OK) return StreamFailed(operation, rv, "a part");
    if (!fits) return Deliver(invocation, operation, output, {into, made}, input.view());
    *output.length = made;
    invocation.audit.output_bytes = made;
    return {};
  });
}

// What Final can give at most.
Fallible<std::size_t> FinalRoom(const Operation& operation) {
  const bool whole =
      operation.kind == OperationKind::kSign || operation.kind == OperationKind::kDigest || operation.buffering;
  if (whole) return LengthFor(operation, operation.fed);
  // Authenticated decryption holds everything back until the tag has been checked.
  if (operation.kind == OperationKind::kDecrypt && operation.row->versions == spec::VersionSearch::kTrial)
    return operation.fed + kSlack;
  return kSlack;
}

Status Final(Invocation& invocation, OperationKind which, const spec::BytesOut& output) {
  const KindRow& kind = RowOf(which);
  return WithOperation(invocation, which, true, output.query(), [&](Operation& operation) -> Status {
    RecordUse(invocation, operation, 0);
    Status status;
    if (TakePending(operation, output, {}, status)) return status;
    RETURN_IF_ERROR(StartParts(invocation, operation, kind));
    if (operation.buffering) return TransformOnce(invocation, operation, kind, operation.buffered.view(), output);
    ASSIGN_OR_RETURN(const std::size_t room, FinalRoom(operation));
    const bool exact = operation.kind == OperationKind::kSign || operation.kind == OperationKind::kDigest;
    if (output.query() || (exact && output.capacity() < room)) {
      const bool query = output.query();
      *output.length = room;
      return query ? Status{} : TooSmall();
    }
    ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
    Operation::Stream& stream = operation.streams.front();
    CK_BYTE_PTR into = invocation.arena.Allocate(room);
    CK_ULONG made = room;
    const CK_RV rv = (backend->functions()->*kind.final)(stream.lease->session(), into, &made);
    invocation.audit.version = stream.version.value;
    if (rv != CKR_OK) {
      if (operation.row->versions == spec::VersionSearch::kTrial && backend->IsWrongKey(operation.row->type, rv)) {
        operation.streams.clear();
        return WrongKey(which);
      }
      return StreamFailed(operation, rv, "the end");
    }
    // The device session is free again.
    operation.streams.clear();
    const Status delivered = Deliver(invocation, operation, output, {into, made}, {});
    Wipe({into, made});
    return delivered;
  });
}

// ---- Verification

// The standard lets both halves of an ECDSA signature be shorter than the curve's order; devices want them at full
// length.
ByteView FullLengthSignature(Invocation& invocation, const Operation& operation, ByteView signature) {
  const std::size_t half = (operation.key_bits + 7) / 8;
  const std::size_t given = signature.size() / 2;
  if (operation.row->recipe != spec::Recipe::kEcdsa || signature.size() % 2 != 0 || given == 0 || given >= half)
    return signature;
  std::uint8_t* full = invocation.arena.New<std::uint8_t>(2 * half);
  std::memcpy(full + half - given, signature.data(), given);
  std::memcpy(full + 2 * half - given, signature.data() + given, given);
  return {full, 2 * half};
}

Status VerifyOnce(Invocation& invocation, Operation& operation, ByteView input, ByteView signature) {
  const ByteView full = FullLengthSignature(invocation, operation, signature);
  return RunOnce(invocation, operation, RowOf(OperationKind::kVerify),
                 [&](CK_FUNCTION_LIST_PTR device, CK_SESSION_HANDLE session) {
                   return device->C_Verify(session, const_cast<CK_BYTE_PTR>(input.data()), input.size(),
                                           const_cast<CK_BYTE_PTR>(full.data()), full.size());
                 });
}

}  // namespace

// ---- The handlers

Status Handle(Invocation& i, spec::Call<CallId::C_EncryptInit>& c) {
  return Begin(i, OperationKind::kEncrypt, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& i, spec::Call<CallId::C_Encrypt>& c) {
  return Single(i, OperationKind::kEncrypt, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_EncryptUpdate>& c) {
  return Update(i, OperationKind::kEncrypt, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_EncryptFinal>& c) {
  return Final(i, OperationKind::kEncrypt, c.output);
}

Status Handle(Invocation& i, spec::Call<CallId::C_DecryptInit>& c) {
  return Begin(i, OperationKind::kDecrypt, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& i, spec::Call<CallId::C_Decrypt>& c) {
  return Single(i, OperationKind::kDecrypt, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_DecryptUpdate>& c) {
  return Update(i, OperationKind::kDecrypt, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_DecryptFinal>& c) {
  return Final(i, OperationKind::kDecrypt, c.output);
}

Status Handle(Invocation& i, spec::Call<CallId::C_DigestInit>& c) {
  return Begin(i, OperationKind::kDigest, c.mechanism.value, CK_INVALID_HANDLE);
}
Status Handle(Invocation& i, spec::Call<CallId::C_Digest>& c) {
  return Single(i, OperationKind::kDigest, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_DigestUpdate>& c) { return Feed(i, OperationKind::kDigest, c.input); }
Status Handle(Invocation& i, spec::Call<CallId::C_DigestFinal>& c) {
  return Final(i, OperationKind::kDigest, c.output);
}

Status Handle(Invocation& i, spec::Call<CallId::C_SignInit>& c) {
  return Begin(i, OperationKind::kSign, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& i, spec::Call<CallId::C_Sign>& c) {
  return Single(i, OperationKind::kSign, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_SignUpdate>& c) { return Feed(i, OperationKind::kSign, c.input); }
Status Handle(Invocation& i, spec::Call<CallId::C_SignFinal>& c) { return Final(i, OperationKind::kSign, c.output); }

Status Handle(Invocation& i, spec::Call<CallId::C_VerifyInit>& c) {
  return Begin(i, OperationKind::kVerify, c.mechanism.value, c.key.value);
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_Verify>& call) {
  return WithOperation(invocation, OperationKind::kVerify, true, false, [&](Operation& operation) -> Status {
    RecordUse(invocation, operation, call.input.length);
    if (!operation.streams.empty() || operation.buffering)
      return Fail(CKR_OPERATION_ACTIVE, "parts were fed: the operation ends with Final");
    return VerifyOnce(invocation, operation, call.input.view(), call.signature.view());
  });
}

Status Handle(Invocation& i, spec::Call<CallId::C_VerifyUpdate>& c) { return Feed(i, OperationKind::kVerify, c.input); }

Status Handle(Invocation& invocation, spec::Call<CallId::C_VerifyFinal>& call) {
  return WithOperation(invocation, OperationKind::kVerify, true, false, [&](Operation& operation) -> Status {
    RecordUse(invocation, operation, 0);
    RETURN_IF_ERROR(StartParts(invocation, operation, RowOf(OperationKind::kVerify)));
    if (operation.buffering) return VerifyOnce(invocation, operation, operation.buffered.view(), call.input.view());
    const ByteView full = FullLengthSignature(invocation, operation, call.input.view());
    ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
    Status status = WrongKey(OperationKind::kVerify);
    // Every stream is ended, whichever fits, so that its device session is free again.
    for (Operation::Stream& stream : operation.streams) {
      const CK_RV rv = backend->functions()->C_VerifyFinal(stream.lease->session(),
                                                           const_cast<CK_BYTE_PTR>(full.data()), full.size());
      if (rv == CKR_OK) {
        invocation.audit.version = stream.version.value;
        status = {};
      } else if (!backend->IsWrongKey(operation.row->type, rv) && !status.ok()) {
        status = FromDevice(rv, "the signature");
      }
    }
    operation.streams.clear();
    return status;
  });
}

}  // namespace cmkd::daemon

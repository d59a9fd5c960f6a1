// How operations run: the kinds of operation as a table, the device, the two-call convention.
#include "daemon/service/operation_run.h"

#include <algorithm>

#include "daemon/service/key_role.h"
#include "daemon/service/managed_cipher.h"
#include "daemon/service/rsa_padding.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {

using spec::OperationKind;

namespace {

using InitFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE);
using TransformFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);
using FeedFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG);
using DrainFunction = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR);

// What is particular to a kind of operation. Functions that a kind does not have are nullptr. Devices are asked for
// 2.40's functions only: what later versions add is built of them here, so every device has it.
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
using K = OperationKind;
constexpr cmk::Use kProtect = cmk::Use::kProtect;
constexpr cmk::Use kProcess = cmk::Use::kProcess;
constexpr KindRow kKinds[] = {
    {K::kEncrypt, CKF_ENCRYPT, CKA_ENCRYPT, kProtect, &F::C_EncryptInit, &F::C_Encrypt, &F::C_EncryptUpdate, nullptr,
     &F::C_EncryptFinal},
    {K::kDecrypt, CKF_DECRYPT, CKA_DECRYPT, kProcess, &F::C_DecryptInit, &F::C_Decrypt, &F::C_DecryptUpdate, nullptr,
     &F::C_DecryptFinal},
    {K::kDigest, CKF_DIGEST, 0, kProtect, nullptr, &F::C_Digest, nullptr, &F::C_DigestUpdate, &F::C_DigestFinal},
    {K::kSign, CKF_SIGN, CKA_SIGN, kProtect, &F::C_SignInit, &F::C_Sign, nullptr, &F::C_SignUpdate, &F::C_SignFinal},
    {K::kVerify, CKF_VERIFY, CKA_VERIFY, kProcess, &F::C_VerifyInit, nullptr, nullptr, &F::C_VerifyUpdate, nullptr},
    {K::kVerifySignature, CKF_VERIFY, CKA_VERIFY, kProcess, &F::C_VerifyInit, nullptr, nullptr, &F::C_VerifyUpdate,
     nullptr},
    // The mechanisms that recover sign as they do without (3.2, "PKCS #1 v1.5 RSA", "X.509 (raw) RSA").
    {K::kSignRecover, CKF_SIGN_RECOVER, CKA_SIGN_RECOVER, kProtect, &F::C_SignInit, &F::C_Sign, nullptr, nullptr,
     nullptr},
    {K::kVerifyRecover, CKF_VERIFY_RECOVER, CKA_VERIFY_RECOVER, kProcess, nullptr, nullptr, nullptr, nullptr, nullptr},
    // Each message is an operation of the plain kind.
    {K::kMessageEncrypt, CKF_MESSAGE_ENCRYPT, CKA_ENCRYPT, kProtect, nullptr, nullptr, nullptr, nullptr, nullptr},
    {K::kMessageDecrypt, CKF_MESSAGE_DECRYPT, CKA_DECRYPT, kProcess, nullptr, nullptr, nullptr, nullptr, nullptr},
    {K::kMessageSign, CKF_MESSAGE_SIGN, CKA_SIGN, kProtect, nullptr, nullptr, nullptr, nullptr, nullptr},
    {K::kMessageVerify, CKF_MESSAGE_VERIFY, CKA_VERIFY, kProcess, nullptr, nullptr, nullptr, nullptr, nullptr},
};

constexpr const KindRow& RowOf(OperationKind kind) {
  for (const KindRow& row : kKinds) {
    if (row.kind == kind) return row;
  }
  return kKinds[0];
}

bool IsVerification(const Operation& operation) {
  return operation.kind == K::kVerify || operation.kind == K::kVerifySignature;
}

// How much of what was fed is remembered for C_GetOperationState.
constexpr std::size_t kHistoryMax = std::size_t{256} << 10;

// ---- The device

CK_BYTE_PTR Mutable(ByteView bytes) { return const_cast<CK_BYTE_PTR>(bytes.data()); }

// Starts the operation in a device session with one version of its key.
CK_RV StartOnDevice(CK_FUNCTION_LIST_PTR device, Backend::Lease& lease, const Operation& operation,
                    const Candidate* candidate) {
  CK_MECHANISM digest{operation.digest_apart, nullptr, 0}, signature{CKM_ECDSA, nullptr, 0};
  const bool apart = operation.digest_apart != 0;
  if (candidate == nullptr)
    return device->C_DigestInit(lease.session(), apart ? &digest : operation.mechanism->pointer());
  const auto handle = lease.Load(candidate->name, candidate->material);
  if (!handle.ok()) return handle.error().rv;
  return (device->*RowOf(operation.kind).init)(lease.session(), apart ? &signature : operation.mechanism->pointer(),
                                               *handle);
}

// The code for "the integrity check failed", as the standard has it.
Failure<Error> WrongKey(const Invocation& invocation, const Operation& operation) {
  const CK_RV rv = IsVerification(operation) ? CKR_SIGNATURE_INVALID : CKR_ENCRYPTED_DATA_INVALID;
  return Fail(rv, "no live version of the key fits",
              operation.key == nullptr ? spec::kAuthenticationFailed : WhyNoneFits(invocation, *operation.key));
}

// The key may have been hidden or taken away since Init: what counts is now.
Status CheckStillThere(const Invocation& invocation, const Operation& operation) {
  if (IsVisible(invocation, *operation.key, UserLoggedIn(invocation))) return {};
  return Translate(cmk::Refusal::kKeyPendingDeletion, Moment::kUse);
}

Fallible<std::vector<Candidate>> CandidatesOf(const Invocation& invocation, const Operation& operation) {
  if (operation.key == nullptr) return std::vector<Candidate>{};
  RETURN_IF_ERROR(CheckStillThere(invocation, operation));
  return Candidates(invocation, *operation.key, RowOf(operation.kind).use, operation.row->versions, Moment::kUse);
}

// ---- Digests made apart (MechanismOnDevice)

constexpr std::size_t kDigestMax = 64;

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

// What the device is to sign: the input, or its digest.
Fallible<ByteView> Digested(Invocation& invocation, const Operation& operation, ByteView input) {
  if (operation.digest_apart == 0) return input;
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  CK_BYTE_PTR digest = invocation.arena.Allocate(kDigestMax);
  CK_ULONG length = kDigestMax;
  CK_MECHANISM mechanism{operation.digest_apart, nullptr, 0};
  RETURN_IF_ERROR(backend->Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
    length = kDigestMax;
    if (const CK_RV rv = device->C_DigestInit(lease.session(), &mechanism); rv != CKR_OK) return rv;
    return device->C_Digest(lease.session(), Mutable(input), input.size(), digest, &length);
  }));
  return ByteView(digest, length);
}

// ---- Lengths

// The whole output's length for `input` bytes, exact when protecting, an upper bound when a padding comes off.
Fallible<std::size_t> LengthFor(const Operation& operation, std::size_t input) {
  const bool encrypting = operation.kind != OperationKind::kDecrypt;
  // The row knows a bound; the key says how long its second prime is.
  const ByteView subprime = operation.key == nullptr ? ByteView{} : operation.key->attributes.View(CKA_SUBPRIME);
  if (operation.row->output == spec::OutputRule::kSubprime && !subprime.empty())
    return 2 * ((spec::BitLength(subprime) + 7) / 8);
  const auto length =
      spec::OutputLength(*operation.row, operation.mechanism->get(), operation.key_bits, input, encrypting);
  if (!length)
    return Fail(encrypting ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE, "no output has such a length");
  return *length;
}

bool LengthIsExact(const Operation& operation) { return operation.kind != OperationKind::kDecrypt; }

// Whether a device can have made so many bytes where the mechanism's row says `length`. One that says otherwise gave no
// answer: what is missing or too much would be a wrong ciphertext or MAC.
bool IsPlausible(const Operation& operation, std::size_t length, CK_ULONG made) {
  const spec::OutputRule rule = operation.row->output;
  const bool exact =
      LengthIsExact(operation) || rule == spec::OutputRule::kPlusTag || rule == spec::OutputRule::kSameLength;
  return exact ? made == length : made <= length;
}

// ---- RSA paddings that come off here (rsa_padding.h)

bool MustUnpadHere(const Invocation& invocation, const Operation& operation) {
  return operation.kind == OperationKind::kDecrypt && IsUnpaddedHere(invocation, *operation.row);
}

Fallible<SecretBytes> DecryptHere(Invocation& invocation, const Operation& operation, ByteView input) {
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, CandidatesOf(invocation, operation));
  return DecryptRsaHere(invocation, *operation.row, operation.mechanism->get(), *operation.key, candidates.front(),
                        input);
}

Status CheckNoParts(const Operation& operation) {
  if (operation.streams.empty() && !operation.buffering) return {};
  return Fail(CKR_OPERATION_ACTIVE, "parts were fed: the operation ends with Final");
}

// The output of the call before did not fit, and this call is another one: what was fed then has no output any more.
Status CheckNothingWaits(const Operation& operation) {
  if (!operation.pending) return {};
  return Fail(CKR_FUNCTION_FAILED, "the output of the call before was not fetched");
}

}  // namespace

Fallible<std::size_t> WholeLength(const Operation& operation, std::size_t input) { return LengthFor(operation, input); }

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

// Runs `once` (Init and the one-part function) with each candidate until one fits.
Status RunOnce(Invocation& invocation, const Operation& operation, const OnDevice& once) {
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, CandidatesOf(invocation, operation));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  const std::size_t tries = std::max<std::size_t>(candidates.size(), 1);
  for (std::size_t i = 0; i < tries; ++i) {
    const Candidate* candidate = candidates.empty() ? nullptr : &candidates[i];
    const cmk::Use use = RowOf(operation.kind).use;
    if (candidate != nullptr && use == kProtect) {
      RETURN_IF_ERROR(
          CountUse(invocation, *operation.key, *candidate, use, operation.row->type, invocation.audit.input_bytes));
    }
    const Status status = backend->Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
      if (const CK_RV rv = StartOnDevice(device, lease, operation, candidate); rv != CKR_OK) return rv;
      const CK_RV rv = once(device, lease.session());
      if (rv != CKR_BUFFER_TOO_SMALL) return rv;
      // The room was what the mechanism's row says; a device that wants more is at fault, not the caller.
      lease.Break();
      return CKR_DEVICE_ERROR;
    });
    if (status.ok()) {
      if (candidate == nullptr) return {};
      invocation.audit.version = candidate->version.value;
      if (use == kProtect) return {};
      return CountUse(invocation, *operation.key, *candidate, use, operation.row->type, 0);
    }
    if (operation.row->versions != spec::VersionSearch::kTrial ||
        !backend->IsWrongKey(operation.row->type, status.error().rv)) {
      return status;
    }
  }
  return WrongKey(invocation, operation);
}

Status RunWithKey(Invocation& invocation, const Operation& operation,
                  const std::function<CK_RV(CK_FUNCTION_LIST_PTR, CK_SESSION_HANDLE, CK_OBJECT_HANDLE)>& work) {
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, CandidatesOf(invocation, operation));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  const Candidate& candidate = candidates.front();
  RETURN_IF_ERROR(backend->Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
    const auto handle = lease.Load(candidate.name, candidate.material);
    return handle.ok() ? work(device, lease.session(), *handle) : handle.error().rv;
  }));
  invocation.audit.version = candidate.version.value;
  return CountUse(invocation, *operation.key, candidate, RowOf(operation.kind).use, operation.row->type, 0);
}

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

// ---- One part

namespace {

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
  ASSIGN_OR_RETURN(const std::size_t length, LengthFor(operation, input.size()));
  if (output.query() || (LengthIsExact(operation) && output.capacity() < length)) {
    const bool query = output.query();
    *output.length = length;
    return query ? Status{} : TooSmall();
  }
  if (operation.row->recipe == spec::Recipe::kManaged) return TransformManaged(invocation, operation, input, output);
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

// ---- Parts

namespace {

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
  if (whole) return LengthFor(operation, operation.fed);
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
  ASSIGN_OR_RETURN(const std::size_t room, LengthFor(operation, operation.fed));
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
    ASSIGN_OR_RETURN(const std::size_t length, LengthFor(operation, operation.fed));
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
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  Operation::Stream& stream = operation.streams.front();
  CK_BYTE_PTR into = invocation.arena.Allocate(room);
  CK_ULONG made = room;
  const CK_RV rv = (stream.lease->functions()->*RowOf(operation.kind).final)(stream.lease->session(), into, &made);
  invocation.audit.version = stream.version.value;
  if (rv != CKR_OK) {
    if (operation.row->versions == spec::VersionSearch::kTrial && backend->IsWrongKey(operation.row->type, rv)) {
      operation.streams.clear();
      return WrongKey(invocation, operation);
    }
    return StreamFailed(operation, rv, "the end");
  }
  // The device session is free again.
  operation.streams.clear();
  const Status delivered = Deliver(invocation, operation, output, {into, made}, {});
  Wipe({into, made});
  return delivered;
}

// ---- Verification

namespace {

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

Status VerifyDigested(Invocation& invocation, Operation& operation, ByteView data, ByteView signature) {
  const ByteView full = FullLengthSignature(invocation, operation, signature);
  return RunOnce(invocation, operation, [&](CK_FUNCTION_LIST_PTR device, CK_SESSION_HANDLE session) {
    return device->C_Verify(session, Mutable(data), data.size(), Mutable(full), full.size());
  });
}

Status VerifyOnce(Invocation& invocation, Operation& operation, ByteView input, ByteView signature) {
  ASSIGN_OR_RETURN(const ByteView data, Digested(invocation, operation, input));
  return VerifyDigested(invocation, operation, data, signature);
}

}  // namespace

Status VerifyWhole(Invocation& invocation, Operation& operation, ByteView input, ByteView signature) {
  RETURN_IF_ERROR(CheckNoParts(operation));
  return VerifyOnce(invocation, operation, input, signature);
}

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

// The device's part of an operation.
#include "daemon/service/operation_device.h"

#include <algorithm>
#include <cstring>

#include "daemon/service/hotp.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_output.h"

namespace cmkd::daemon {

using spec::OperationKind;

namespace {

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

}  // namespace

const KindRow& RowOf(OperationKind kind) {
  for (const KindRow& row : kKinds) {
    if (row.kind == kind) return row;
  }
  return kKinds[0];
}

bool IsVerification(const Operation& operation) {
  return operation.kind == K::kVerify || operation.kind == K::kVerifySignature;
}

// ---- The key and the device

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

Failure<Error> WrongKey(const Invocation& invocation, const Operation& operation) {
  const CK_RV rv = IsVerification(operation) ? CKR_SIGNATURE_INVALID : CKR_ENCRYPTED_DATA_INVALID;
  return Fail(rv, "no live version of the key fits",
              operation.key == nullptr ? spec::kAuthenticationFailed : WhyNoneFits(invocation, *operation.key));
}

Status CheckStillThere(const Invocation& invocation, const Operation& operation) {
  if (IsVisible(invocation, *operation.key, UserLoggedIn(invocation))) return {};
  return Translate(cmk::Refusal::kKeyPendingDeletion, Moment::kUse);
}

Fallible<std::vector<Candidate>> CandidatesOf(const Invocation& invocation, const Operation& operation) {
  if (operation.key == nullptr) return std::vector<Candidate>{};
  RETURN_IF_ERROR(CheckStillThere(invocation, operation));
  return Candidates(invocation, *operation.key, RowOf(operation.kind).use, operation.row->versions, Moment::kUse);
}

// ---- Digests made apart

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
    if (use == kProtect || operation.row->versions != spec::VersionSearch::kTrial ||
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

// ---- Lengths

Fallible<std::size_t> WholeLength(const Operation& operation, std::size_t input) {
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

// ---- Signatures to verify

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
  if (operation.row->recipe == spec::Recipe::kHotp) return VerifyHotp(invocation, operation, input, signature);
  ASSIGN_OR_RETURN(const ByteView data, Digested(invocation, operation, input));
  return VerifyDigested(invocation, operation, data, signature);
}

}  // namespace cmkd::daemon

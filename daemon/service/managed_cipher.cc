// Managed ciphertexts, made and opened.
#include "daemon/service/managed_cipher.h"

#include "daemon/crypto/random.h"
#include "daemon/service/audited_context.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/managed_ciphertext.h"

namespace cmkd::daemon {

namespace {

using spec::ManagedHeader;

using Id = std::array<std::uint8_t, 16>;

// Keys of the token by their CMK, session keys by their own name.
Id IdOf(const Object& key) { return key.cmk ? key.cmk->bytes : key.name; }

// Some devices refuse NULL, also where there are no bytes.
CK_BYTE_PTR Mutable(ByteView bytes) {
  static CK_BYTE nothing = 0;
  return bytes.empty() ? &nothing : const_cast<CK_BYTE_PTR>(bytes.data());
}

// The two blocks under the key: nobody finds two keys for which they are the same (docs/ciphertext.md).
CK_RV Commit(CK_FUNCTION_LIST_PTR device, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, MutableBytes commitment) {
  CK_MECHANISM ecb{CKM_AES_ECB, nullptr, 0};
  if (const CK_RV rv = device->C_EncryptInit(session, &ecb, key); rv != CKR_OK) return rv;
  CK_ULONG made = commitment.size();
  const CK_RV rv =
      device->C_Encrypt(session, Mutable(spec::kCommitmentBlocks), commitment.size(), commitment.data(), &made);
  return rv == CKR_OK && made != commitment.size() ? CKR_DEVICE_ERROR : rv;
}

// AES-GCM with the header's IV, header and context being the associated data.
class Gcm {
 public:
  Gcm(const ManagedHeader& header, ByteView encoded, ByteView context)
      : iv_(header.iv), associated_data_(spec::ManagedAssociatedData(encoded, context)) {
    parameters_ = {iv_.data(),
                   iv_.size(),
                   iv_.size() * 8,
                   associated_data_.data(),
                   associated_data_.size(),
                   8 * ManagedHeader::kTagBytes};
  }
  Gcm(const Gcm&) = delete;
  Gcm& operator=(const Gcm&) = delete;
  CK_MECHANISM_PTR mechanism() { return &mechanism_; }

 private:
  std::array<std::uint8_t, 12> iv_;
  Bytes associated_data_;
  CK_GCM_PARAMS parameters_{};
  CK_MECHANISM mechanism_{CKM_AES_GCM, &parameters_, sizeof parameters_};
};

Failure<Error> NotOfThisKey(spec::Detail detail, const char* why) {
  return Fail(CKR_ENCRYPTED_DATA_INVALID, why, detail);
}

}  // namespace

namespace {

// The record of the call says which context was given, before anything may fail.
void NoteContext(Invocation& invocation, ByteView context) {
  const std::string text = AuditedContext(invocation.daemon, context);
  if (!text.empty()) invocation.audit_text += (invocation.audit_text.empty() ? "" : " ") + text;
}

}  // namespace

Fallible<Bytes> EncryptManaged(Invocation& invocation, const Object& key, ByteView context, ByteView plain,
                               Moment moment) {
  NoteContext(invocation, context);
  if (plain.size() > CMKD_MANAGED_PLAINTEXT_MAX)
    return Fail(CKR_DATA_LEN_RANGE, "the managed mechanism takes 4096 bytes; more is for a data key");
  const auto algorithm = spec::ManagedAlgorithmFor(spec::KeyBits(key.attributes).value_or(0));
  if (!algorithm) return Fail(CKR_KEY_SIZE_RANGE, "no length of an AES key");
  ASSIGN_OR_RETURN(const Candidate candidate, CurrentCandidate(invocation, key, cmk::Use::kProtect, moment));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  RETURN_IF_ERROR(CountUse(invocation, key, candidate, cmk::Use::kProtect, CKM_CMKD_AES_MANAGED, plain.size()));
  ManagedHeader header;
  header.algorithm = *algorithm;
  header.key_id = IdOf(key);
  header.key_version = candidate.version.value;
  FillRandom(header.iv);
  Bytes ciphertext(plain.size() + CMKD_MANAGED_OVERHEAD);
  RETURN_IF_ERROR(backend->Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
    const auto handle = lease.Load(candidate.name, candidate.material);
    if (!handle.ok()) return handle.error().rv;
    if (const CK_RV rv = Commit(device, lease.session(), *handle, header.commitment); rv != CKR_OK) return rv;
    const auto encoded = spec::EncodeManagedHeader(header);
    std::copy(encoded.begin(), encoded.end(), ciphertext.begin());
    Gcm gcm(header, encoded, context);
    if (const CK_RV rv = device->C_EncryptInit(lease.session(), gcm.mechanism(), *handle); rv != CKR_OK) return rv;
    const CK_ULONG expected = ciphertext.size() - ManagedHeader::kBytes;
    CK_ULONG made = expected;
    const CK_RV rv = device->C_Encrypt(lease.session(), Mutable(plain), plain.size(),
                                       ciphertext.data() + ManagedHeader::kBytes, &made);
    return rv == CKR_OK && made != expected ? CKR_DEVICE_ERROR : rv;
  }));
  invocation.audit.version = candidate.version.value;
  return ciphertext;
}

Fallible<SecretBytes> DecryptManaged(Invocation& invocation, const Object& key, ByteView context, ByteView ciphertext,
                                     Moment moment) {
  NoteContext(invocation, context);
  if (ciphertext.size() < CMKD_MANAGED_OVERHEAD ||
      ciphertext.size() > CMKD_MANAGED_OVERHEAD + CMKD_MANAGED_PLAINTEXT_MAX) {
    return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "no managed ciphertext has this length");
  }
  const auto header = spec::ReadManagedHeader(ciphertext);
  if (!header) return NotOfThisKey(spec::kCiphertextUnreadable, "the header cannot be read");
  if (header->key_id != IdOf(key)) return NotOfThisKey(spec::kOtherKeysCiphertext, "the header names another key");
  if (header->algorithm != spec::ManagedAlgorithmFor(spec::KeyBits(key.attributes).value_or(0)))
    return NotOfThisKey(spec::kCiphertextUnreadable, "the header's algorithm is not the key's");
  ASSIGN_OR_RETURN(const Candidate candidate,
                   VersionCandidate(invocation, key, {header->key_version}, cmk::Use::kProcess, moment));
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  const ByteView sealed = ciphertext.subspan(ManagedHeader::kBytes);
  Gcm gcm(*header, ciphertext.first(ManagedHeader::kBytes), context);
  // Some devices want room for the tag as well.
  SecretBytes plain(sealed.size());
  CK_ULONG made = 0;
  bool committed = false;
  const Status status = backend->Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
    const auto handle = lease.Load(candidate.name, candidate.material);
    if (!handle.ok()) return handle.error().rv;
    std::array<std::uint8_t, 32> commitment{};
    if (const CK_RV rv = Commit(device, lease.session(), *handle, commitment); rv != CKR_OK) return rv;
    committed = ConstantTimeEqual(commitment, header->commitment);
    if (!committed) return CKR_OK;
    if (const CK_RV rv = device->C_DecryptInit(lease.session(), gcm.mechanism(), *handle); rv != CKR_OK) return rv;
    made = plain.size();
    return device->C_Decrypt(lease.session(), Mutable(sealed), sealed.size(), plain.bytes().data(), &made);
  });
  if (!status.ok() && !backend->IsWrongKey(CKM_AES_GCM, status.error().rv)) return Failure{status.error()};
  if (!status.ok() || !committed)
    return NotOfThisKey(spec::kAuthenticationFailed, "the commitment, the context or the tag does not fit");
  if (made != sealed.size() - ManagedHeader::kTagBytes)
    return Fail(CKR_DEVICE_ERROR, "the device gave another length than the mechanism has");
  plain.Truncate(made);
  invocation.audit.version = candidate.version.value;
  RETURN_IF_ERROR(CountUse(invocation, key, candidate, cmk::Use::kProcess, CKM_CMKD_AES_MANAGED, 0));
  return plain;
}

}  // namespace cmkd::daemon

// The raw operation, and what takes each padding off.
#include "daemon/service/rsa_padding.h"

#include "common/pkcs1_padding.h"
#include "daemon/crypto/digest.h"
#include "daemon/crypto/oaep.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::daemon {

namespace {

bool IsPkcs1(const spec::MechanismRow& row) { return row.recipe == spec::Recipe::kRsaPkcs && row.digest == 0; }

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

Fallible<SecretBytes> DecryptRaw(Invocation& invocation, const Candidate& candidate, ByteView input) {
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  SecretBytes block(input.size());
  CK_ULONG length = input.size();
  RETURN_IF_ERROR(backend->Run([&](CK_FUNCTION_LIST_PTR device, Backend::Lease& lease) -> CK_RV {
    const auto handle = lease.Load(candidate.name, candidate.material);
    if (!handle.ok()) return handle.error().rv;
    CK_MECHANISM raw{CKM_RSA_X_509, nullptr, 0};
    if (const CK_RV rv = device->C_DecryptInit(lease.session(), &raw, *handle); rv != CKR_OK) return rv;
    length = input.size();
    return device->C_Decrypt(lease.session(), const_cast<CK_BYTE_PTR>(input.data()), input.size(), block.bytes().data(),
                             &length);
  }));
  if (length != input.size()) return Fail(CKR_DEVICE_ERROR, "the device gave a block of another length");
  return block;
}

Fallible<SecretBytes> RemoveOaepPadding(const CK_MECHANISM& mechanism, const SecretBytes& block) {
  CK_RSA_PKCS_OAEP_PARAMS parameters{};
  std::memcpy(&parameters, mechanism.pParameter, sizeof parameters);
  const ByteView label(static_cast<const std::uint8_t*>(parameters.pSourceData), parameters.ulSourceDataLen);
  auto plain =
      RemoveOaep(block.view(), DigestName(parameters.hashAlg), DigestName(spec::MgfDigest(parameters.mgf)), label);
  if (!plain) return Fail(CKR_ENCRYPTED_DATA_INVALID, "the padding is wrong");
  return std::move(*plain);
}

// What is made up depends on the ciphertext and on a secret of the key that only this daemon has.
SecretBytes RemovePkcs1(const Daemon& daemon, const Object& key, const SecretBytes& block, ByteView ciphertext) {
  const Digest of_key = HmacSha256(daemon.rejection_key.view(), {key.attributes.View(CKA_MODULUS)});
  const Digest of_message = HmacSha256(of_key, {ciphertext});
  const auto prf = [&](std::initializer_list<ByteView> pieces) {
    const Digest made = HmacSha256(of_message, pieces);
    return Bytes(made.begin(), made.end());
  };
  return SecretBytes(RemovePkcs1Padding(block.view(), prf, std::nullopt).message());
}

}  // namespace

bool IsUnpaddedHere(const Invocation& invocation, const spec::MechanismRow& row) {
  if (row.recipe != spec::Recipe::kRsaOaep && !IsPkcs1(row)) return false;
  const auto backend = BackendOf(invocation);
  return backend.ok() && !(*backend)->software() && (*backend)->FindMechanism(CKM_RSA_X_509) != nullptr;
}

bool HidesWrongPadding(const Backend& backend, const spec::MechanismRow& row) {
  return !IsPkcs1(row) || backend.software() || backend.FindMechanism(CKM_RSA_X_509) != nullptr;
}

Fallible<SecretBytes> DecryptRsaHere(Invocation& invocation, const spec::MechanismRow& row,
                                     const CK_MECHANISM& mechanism, const Object& key, const Candidate& candidate,
                                     ByteView input) {
  const std::size_t modulus = (spec::KeyBits(key.attributes).value_or(0) + 7) / 8;
  if (input.size() != modulus || modulus < 12)
    return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "the ciphertext is not as long as the modulus");
  invocation.audit.version = candidate.version.value;
  ASSIGN_OR_RETURN(const SecretBytes block, DecryptRaw(invocation, candidate, input));
  if (!IsPkcs1(row)) return RemoveOaepPadding(mechanism, block);
  return RemovePkcs1(invocation.daemon, key, block, input);
}

Fallible<Made> UnwrapWithRsaHere(Invocation& invocation, Backend& backend, const spec::MechanismRow& row,
                                 const CK_MECHANISM& mechanism, const Object& unwrapping, const Candidate& candidate,
                                 ByteView input, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, CK_ULONG value_bytes,
                                 const WrappingKey& under) {
  if (!IsPkcs1(row) || !IsUnpaddedHere(invocation, row)) {
    return backend.UnwrapKey(mechanism, candidate.name, candidate.material, input, object_class, type, value_bytes,
                             under);
  }
  if (!spec::IsSecretKeyClass(object_class))
    return Fail(CKR_WRAPPED_KEY_INVALID, "a private key does not fit into an RSA block");
  auto opened = DecryptRsaHere(invocation, row, mechanism, unwrapping, candidate, input);
  if (!opened.ok()) {
    if (opened.error().rv == CKR_ENCRYPTED_DATA_LEN_RANGE) opened.error().rv = CKR_WRAPPED_KEY_LEN_RANGE;
    return Failure{std::move(opened.error())};
  }
  const SecretBytes& value = *opened;
  const CK_ULONG wanted = value_bytes == 0 ? value.size() : value_bytes;
  if (value.size() != wanted || !spec::IsSecretLength(type, value.size()))
    return Fail(CKR_WRAPPED_KEY_INVALID, "what was wrapped is no such key");
  spec::Attributes whole;
  whole.SetUlong(CKA_CLASS, object_class);
  whole.SetUlong(CKA_KEY_TYPE, type);
  whole.Set(CKA_VALUE, value.view());
  return backend.Import(whole, under);
}

}  // namespace cmkd::daemon

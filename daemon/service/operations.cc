// Encrypt, decrypt, digest, sign and verify (PKCS#11 sections 5.8 to 5.16): the handlers, each a line about what
// operation_run.h does.
#include "daemon/service/handlers.h"
#include "daemon/service/operation_run.h"
#include "daemon/service/recover.h"
#include "pkcs11/spec/signed_data.h"

namespace cmkd::daemon {

using spec::CallId;
using spec::OperationKind;

namespace {

Status Single(Invocation& invocation, OperationKind which, const spec::BytesIn& input, spec::BytesOut& output) {
  return WithOperation(invocation, which, true, output.query(), [&](Operation& operation) -> Status {
    RecordUse(invocation, operation, input.length);
    if (which == OperationKind::kSign) RETURN_IF_ERROR(spec::CheckSignedData(*operation.row, input.view()));
    return TransformWhole(invocation, operation, input.view(), output);
  });
}

Status Feed(Invocation& invocation, OperationKind which, const spec::BytesIn& input) {
  return WithOperation(invocation, which, false, false, [&](Operation& operation) {
    RecordUse(invocation, operation, input.length);
    return FeedPart(invocation, operation, input.view());
  });
}

Status Update(Invocation& invocation, OperationKind which, const spec::BytesIn& input, spec::BytesOut& output) {
  return WithOperation(invocation, which, false, output.query(), [&](Operation& operation) {
    RecordUse(invocation, operation, input.length);
    return UpdatePart(invocation, operation, input.view(), output);
  });
}

Status Final(Invocation& invocation, OperationKind which, spec::BytesOut& output) {
  return WithOperation(invocation, which, true, output.query(), [&](Operation& operation) {
    RecordUse(invocation, operation, 0);
    return FinishParts(invocation, operation, output);
  });
}

Status Verify(Invocation& invocation, OperationKind which, ByteView input, const spec::BytesIn* signature) {
  return WithOperation(invocation, which, true, false, [&](Operation& operation) {
    RecordUse(invocation, operation, input.size());
    return VerifyWhole(invocation, operation, input, signature == nullptr ? operation.signature : signature->view());
  });
}

Status VerifyEnd(Invocation& invocation, OperationKind which, const spec::BytesIn* signature) {
  return WithOperation(invocation, which, true, false, [&](Operation& operation) {
    RecordUse(invocation, operation, 0);
    return FinishVerify(invocation, operation, signature == nullptr ? operation.signature : signature->view());
  });
}

// Dual-function calls (2.40, "Dual-function cryptographic functions"): the plaintext, which goes into encryption or
// comes out of decryption, is digested, signed or verified beside it. Without output nothing is passed on.
Status Both(Invocation& invocation, OperationKind cipher, const spec::BytesIn& input, spec::BytesOut& output) {
  const OperationKind other = spec::SecondOperation(invocation.id);
  RETURN_IF_ERROR(ActiveOperation(invocation, cipher));
  RETURN_IF_ERROR(ActiveOperation(invocation, other));
  Status status = Update(invocation, cipher, input, output);
  if (status.ok() && !output.query()) {
    const ByteView plain = cipher == OperationKind::kEncrypt ? input.view() : ByteView(output.data, *output.length);
    const std::uint64_t bytes = invocation.audit.output_bytes;
    status = WithOperation(invocation, other, false, false,
                           [&](Operation& operation) { return FeedPart(invocation, operation, plain); });
    invocation.audit.output_bytes = bytes;
    if (!status.ok()) invocation.session->operation(cipher).reset();
  } else if (!status.ok() && !GoesOn(status)) {
    invocation.session->operation(other).reset();
  }
  return status;
}

// The value of a secret key as digest input. Only of keys whose value the caller could read anyhow: a digest of an
// unknown key with chosen data beside it is a way to find it out.
Fallible<SecretBytes> ValueToDigest(Invocation& invocation, CK_OBJECT_HANDLE handle) {
  ASSIGN_OR_RETURN(const ObjectPtr key, FindVisible(invocation, handle, CKR_KEY_HANDLE_INVALID));
  RecordKey(invocation, *key, invocation.audit.mechanism);
  if (!key->is_key()) return Fail(CKR_KEY_HANDLE_INVALID, "the object is not a key");
  if (key->object_class != CKO_SECRET_KEY || !spec::MayReveal(key->attributes, CKA_VALUE))
    return Fail(CKR_KEY_INDIGESTIBLE, "only secret keys that may be read are digested");
  constexpr CK_ATTRIBUTE_TYPE kValue[] = {CKA_VALUE};
  ASSIGN_OR_RETURN(const spec::Attributes read, ReadSecretParts(invocation, *key, kValue));
  SecretBytes value(read.View(CKA_VALUE).size());
  if (value.size() == 0) return Fail(CKR_KEY_INDIGESTIBLE, "the device does not give the key's value");
  std::memcpy(value.bytes().data(), read.View(CKA_VALUE).data(), value.size());
  return value;
}

}  // namespace

// ---- Encryption and decryption

Status Handle(Invocation& i, spec::Call<CallId::C_EncryptInit>& c) {
  return BeginOperation(i, OperationKind::kEncrypt, c.mechanism.value, c.key.value);
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
  return BeginOperation(i, OperationKind::kDecrypt, c.mechanism.value, c.key.value);
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

// ---- Digests

Status Handle(Invocation& i, spec::Call<CallId::C_DigestInit>& c) {
  return BeginOperation(i, OperationKind::kDigest, c.mechanism.value, CK_INVALID_HANDLE);
}
Status Handle(Invocation& i, spec::Call<CallId::C_Digest>& c) {
  return Single(i, OperationKind::kDigest, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_DigestUpdate>& c) { return Feed(i, OperationKind::kDigest, c.input); }
Status Handle(Invocation& invocation, spec::Call<CallId::C_DigestKey>& call) {
  return WithOperation(invocation, OperationKind::kDigest, false, false, [&](Operation& operation) -> Status {
    RecordUse(invocation, operation, 0);
    ASSIGN_OR_RETURN(const SecretBytes value, ValueToDigest(invocation, call.object.value));
    return FeedPart(invocation, operation, value.view());
  });
}
Status Handle(Invocation& i, spec::Call<CallId::C_DigestFinal>& c) {
  return Final(i, OperationKind::kDigest, c.output);
}

// ---- Signatures and MACs

Status Handle(Invocation& i, spec::Call<CallId::C_SignInit>& c) {
  return BeginOperation(i, OperationKind::kSign, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& i, spec::Call<CallId::C_Sign>& c) {
  return Single(i, OperationKind::kSign, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_SignUpdate>& c) { return Feed(i, OperationKind::kSign, c.input); }
Status Handle(Invocation& i, spec::Call<CallId::C_SignFinal>& c) { return Final(i, OperationKind::kSign, c.output); }

Status Handle(Invocation& i, spec::Call<CallId::C_SignRecoverInit>& c) {
  return BeginOperation(i, OperationKind::kSignRecover, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& i, spec::Call<CallId::C_SignRecover>& c) {
  return Single(i, OperationKind::kSignRecover, c.input, c.output);
}

// ---- Verification

Status Handle(Invocation& i, spec::Call<CallId::C_VerifyInit>& c) {
  return BeginOperation(i, OperationKind::kVerify, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& i, spec::Call<CallId::C_Verify>& c) {
  return Verify(i, OperationKind::kVerify, c.input.view(), &c.signature);
}
Status Handle(Invocation& i, spec::Call<CallId::C_VerifyUpdate>& c) { return Feed(i, OperationKind::kVerify, c.input); }
Status Handle(Invocation& i, spec::Call<CallId::C_VerifyFinal>& c) {
  return VerifyEnd(i, OperationKind::kVerify, &c.input);
}

Status Handle(Invocation& i, spec::Call<CallId::C_VerifyRecoverInit>& c) {
  return BeginOperation(i, OperationKind::kVerifyRecover, c.mechanism.value, c.key.value);
}
Status Handle(Invocation& invocation, spec::Call<CallId::C_VerifyRecover>& call) {
  return WithOperation(invocation, OperationKind::kVerifyRecover, true, call.output.query(), [&](Operation& operation) {
    RecordUse(invocation, operation, call.input.length);
    return RecoverData(invocation, operation, call.input.view(), call.output);
  });
}

// 3.2: the signature comes first and is kept until the data has been seen.
Status Handle(Invocation& invocation, spec::Call<CallId::C_VerifySignatureInit>& call) {
  RETURN_IF_ERROR(BeginOperation(invocation, OperationKind::kVerifySignature, call.mechanism.value, call.key.value));
  if (call.mechanism.value == nullptr) return {};
  Operation& operation = *invocation.session->operation(OperationKind::kVerifySignature);
  operation.signature = ToBytes(call.signature.view());
  return {};
}
Status Handle(Invocation& i, spec::Call<CallId::C_VerifySignature>& c) {
  return Verify(i, OperationKind::kVerifySignature, c.input.view(), nullptr);
}
Status Handle(Invocation& i, spec::Call<CallId::C_VerifySignatureUpdate>& c) {
  return Feed(i, OperationKind::kVerifySignature, c.input);
}
Status Handle(Invocation& i, spec::Call<CallId::C_VerifySignatureFinal>&) {
  return VerifyEnd(i, OperationKind::kVerifySignature, nullptr);
}

// ---- Two at once

Status Handle(Invocation& i, spec::Call<CallId::C_DigestEncryptUpdate>& c) {
  return Both(i, OperationKind::kEncrypt, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_DecryptDigestUpdate>& c) {
  return Both(i, OperationKind::kDecrypt, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_SignEncryptUpdate>& c) {
  return Both(i, OperationKind::kEncrypt, c.input, c.output);
}
Status Handle(Invocation& i, spec::Call<CallId::C_DecryptVerifyUpdate>& c) {
  return Both(i, OperationKind::kDecrypt, c.input, c.output);
}

}  // namespace cmkd::daemon

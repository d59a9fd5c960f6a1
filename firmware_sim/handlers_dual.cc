// Dual-function calls (PKCS#11 3.2 section 5.17): one part goes through a cipher and through a digest or MAC.
#include "firmware_sim/handlers.h"

namespace cmkd::sim {
namespace {

// The plaintext is what is digested or signed: the input of encryption, the output of decryption.
Status BothParts(Context& context, OperationKind cipher, OperationKind other, const spec::BytesIn& in,
                 const spec::BytesOut& out) {
  if (context.session->operation(other) == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no Init before");
  const bool encrypting = cipher == OperationKind::kEncrypt;
  const bool query = out.query();
  // The input may lie where the output goes.
  const Bytes plain = encrypting && !query ? ToBytes(in.view()) : Bytes();
  RETURN_IF_ERROR(TransformPart(context, cipher, in.view(), out));
  if (query) return {};
  return FeedPart(context, other, encrypting ? ByteView(plain) : ByteView(out.data, *out.length));
}

}  // namespace

Status Handle(Context& context, spec::Call<CallId::C_DigestEncryptUpdate>& call) {
  return BothParts(context, OperationKind::kEncrypt, OperationKind::kDigest, call.input, call.output);
}

Status Handle(Context& context, spec::Call<CallId::C_DecryptDigestUpdate>& call) {
  return BothParts(context, OperationKind::kDecrypt, OperationKind::kDigest, call.input, call.output);
}

Status Handle(Context& context, spec::Call<CallId::C_SignEncryptUpdate>& call) {
  return BothParts(context, OperationKind::kEncrypt, OperationKind::kSign, call.input, call.output);
}

Status Handle(Context& context, spec::Call<CallId::C_DecryptVerifyUpdate>& call) {
  return BothParts(context, OperationKind::kDecrypt, OperationKind::kVerify, call.input, call.output);
}

}  // namespace cmkd::sim

// PKCS #1 v1.5 and raw RSA, backwards.
#include "daemon/service/recover.h"

#include <algorithm>

namespace cmkd::daemon {

namespace {

// RFC 8017 section 9.2, block type 1: 00 01 FF…FF 00 data, at least eight FF. Nothing in it is secret.
std::optional<ByteView> RemoveBlockType1(ByteView block) {
  if (block.size() < 11 || block[0] != 0 || block[1] != 1) return std::nullopt;
  const auto end = std::find_if(block.begin() + 2, block.end(), [](std::uint8_t b) { return b != 0xFF; });
  const std::size_t at = static_cast<std::size_t>(end - block.begin());
  if (end == block.end() || *end != 0 || at < 10) return std::nullopt;
  return block.subspan(at + 1);
}

}  // namespace

Status RecoverData(Invocation& invocation, Operation& operation, ByteView signature, spec::BytesOut& output) {
  Status waiting;
  if (TakePending(operation, output, signature, waiting)) return waiting;
  operation.pending.reset();
  const std::size_t modulus = (operation.key_bits + 7) / 8;
  if (signature.size() != modulus) return Fail(CKR_SIGNATURE_LEN_RANGE, "the signature is not as long as the modulus");
  const bool padded = operation.row->recipe == spec::Recipe::kRsaPkcs;
  if (output.query()) {
    *output.length = padded ? modulus - 11 : modulus;
    return {};
  }
  CK_BYTE_PTR block = invocation.arena.Allocate(modulus);
  CK_ULONG length = modulus;
  const Status done = RunWithKey(
      invocation, operation, [&](CK_FUNCTION_LIST_PTR device, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
        CK_MECHANISM raw{CKM_RSA_X_509, nullptr, 0};
        if (const CK_RV rv = device->C_EncryptInit(session, &raw, key); rv != CKR_OK) return rv;
        length = modulus;
        return device->C_Encrypt(session, const_cast<CK_BYTE_PTR>(signature.data()), signature.size(), block, &length);
      });
  if (!done.ok()) {
    // A number that is not below the modulus is refused by the device as data, and is no signature.
    const CK_RV rv = done.error().rv;
    if (rv == CKR_DATA_INVALID || rv == CKR_DATA_LEN_RANGE) return Fail(CKR_SIGNATURE_INVALID, done.error().why);
    return done;
  }
  if (length != modulus) return Fail(CKR_DEVICE_ERROR, "the device gave a block of another length");
  if (!padded) return Deliver(invocation, operation, output, {block, modulus}, signature);
  const auto data = RemoveBlockType1({block, modulus});
  if (!data) return Fail(CKR_SIGNATURE_INVALID, "the padding is wrong", spec::kAuthenticationFailed);
  return Deliver(invocation, operation, output, *data, signature);
}

}  // namespace cmkd::daemon

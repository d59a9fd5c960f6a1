// What the device can compute, without a word of how: ciphers, signatures and MACs, digests, agreement, random bytes,
// and the few things the device needs for itself. Chosen by the mechanism's row; implemented in primitive_*.cc over
// OpenSSL.
//
// One object is one operation and belongs to one thread at a time; its Key must outlive it. Parameters are copied or
// applied when the operation is made: the caller's memory is not looked at afterwards. The row, the key's type and
// size, and the parameter's form (spec::CheckParameter) have been checked before.
#pragma once

#include <memory>
#include <optional>

#include "firmware_sim/key.h"
#include "pkcs11/spec/error.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::sim {

enum class Mode : std::uint8_t { kEncrypt, kDecrypt };

// Encryption or decryption; also what wrapping and unwrapping run on.
class Cipher {
 public:
  virtual ~Cipher() = default;

  // All at once; `out` has at least spec::OutputLength() bytes. Returns how many were written. On failure nothing that
  // came of an unverified input has been written. Errors: CKR_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_LEN_RANGE,
  // CKR_ENCRYPTED_DATA_INVALID.
  virtual Fallible<std::size_t> Whole(ByteView in, MutableBytes out) = 0;

  // Undoes a Whole() whose result the caller had no room for.
  virtual Status Restart() { return {}; }

  // In parts (rows with Parts::kMulti). UpdateBytes is exact, FinalBytesMax a bound.
  virtual std::size_t UpdateBytes(std::size_t) const { return 0; }
  virtual Status Update(ByteView, MutableBytes) { return Fail(CKR_FUNCTION_NOT_SUPPORTED, "single-part only"); }
  virtual std::size_t FinalBytesMax() const { return 0; }
  virtual Fallible<std::size_t> Final(MutableBytes) { return Fail(CKR_FUNCTION_NOT_SUPPORTED, "single-part only"); }
};

// The detail of an error: the device has seen that it computes wrongly, and must not go on.
inline constexpr CK_ULONG kFaultyComputation = 1000;

// A signature or MAC, made or verified.
class Signature {
 public:
  virtual ~Signature() = default;

  virtual Status Update(ByteView in) = 0;
  // After the last Update. `out` has at least spec::OutputLength() bytes; returns how many were written. Errors:
  // CKR_DEVICE_ERROR with kFaultyComputation, and `out` is wiped.
  virtual Fallible<std::size_t> Sign(MutableBytes out) = 0;
  // Errors: CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE.
  virtual Status Verify(ByteView signature) = 0;
};

class Digest {
 public:
  virtual ~Digest() = default;
  virtual Status Update(ByteView in) = 0;
  virtual std::size_t bytes() const = 0;
  virtual Status Final(MutableBytes out) = 0;
};

Fallible<std::unique_ptr<Cipher>> MakeCipher(const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                                             const Key& key, Mode mode);

// Decryption for C_UnwrapKey. The same as MakeCipher(), except that PKCS #1 v1.5 yields `value_bytes` bytes whatever
// the ciphertext holds, when that is given.
Fallible<std::unique_ptr<Cipher>> MakeUnwrapCipher(const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                                                   const Key& key, std::optional<std::size_t> value_bytes);

Fallible<std::unique_ptr<Signature>> MakeSignature(const spec::MechanismRow& row, const CK_MECHANISM& mechanism,
                                                   const Key& key);

// C_VerifyRecover: a signature to what was signed, by a row with CKF_VERIFY_RECOVER. Errors: CKR_SIGNATURE_INVALID,
// CKR_SIGNATURE_LEN_RANGE.
Fallible<std::unique_ptr<Cipher>> MakeRecovery(const spec::MechanismRow& row, const Key& key);

Fallible<std::unique_ptr<Digest>> MakeDigest(CK_MECHANISM_TYPE digest);
// The digest of a row; of SHA-512/t the one that the parameter says.
Fallible<std::unique_ptr<Digest>> MakeRowDigest(const spec::MechanismRow& row, const CK_MECHANISM& mechanism);

// What a key derives, as many bytes as asked for (all that there are, or what the mechanism makes, when nullopt).
// `others` are the keys that the parameter names beside the base key, in its order. Errors: CKR_PUBLIC_KEY_INVALID for
// the other side's; CKR_KEY_SIZE_RANGE when there are not that many bytes; CKR_TEMPLATE_INCOMPLETE when the length must
// be said and was not; CKR_KEY_HANDLE_INVALID without one of them; CKR_KEY_TYPE_INCONSISTENT.
Fallible<SecretBytes> Derive(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key,
                             std::span<const KeyPtr> others, std::optional<std::size_t> bytes);

// PBKDF2: the only key that is made of something that is no key.
Fallible<SecretBytes> FromPassword(const CK_MECHANISM& mechanism, std::size_t bytes);

// Random bytes for keys. Errors: CKR_DEVICE_ERROR.
Status RandomBytes(MutableBytes out);
// The same for C_GenerateRandom, never for keys: small requests share a turn of the generator.
Status RandomBytesForCaller(MutableBytes out);

// Stirs the caller's bytes into the generator; never the only source.
void SeedRandom(ByteView seed);

// scrypt (RFC 7914) with the device's cost parameters.
Status HashPin(ByteView pin, ByteView salt, MutableBytes out);

// AES-256-GCM with a random nonce: nonce ‖ ciphertext ‖ tag. For the flash.
inline constexpr std::size_t kSealOverhead = 12 + 16;
Fallible<Bytes> Seal(ByteView key, ByteView aad, ByteView plain);
// Errors: CKR_DEVICE_ERROR when the bytes are not what was sealed.
Fallible<SecretBytes> Unseal(ByteView key, ByteView aad, ByteView sealed);

}  // namespace cmkd::sim

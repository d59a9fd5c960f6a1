// RSA signatures: PKCS #1 v1.5, PSS and raw (RFC 8017), ANSI X9.31; and the recovery of what was signed.
#include <openssl/rsa.h>

#include "firmware_sim/primitive_signature.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;

struct RsaPadding {
  Recipe recipe;
  CK_MECHANISM_TYPE digest = 0;
  CK_MECHANISM_TYPE mgf_digest = 0;
  int salt_bytes = 0;
};

bool ApplyPadding(EVP_PKEY_CTX* context, const RsaPadding& padding) {
  const int mode = padding.recipe == Recipe::kRsaPss    ? RSA_PKCS1_PSS_PADDING
                   : padding.recipe == Recipe::kRsaX509 ? RSA_NO_PADDING
                   : padding.recipe == Recipe::kRsaX931 ? RSA_X931_PADDING
                                                        : RSA_PKCS1_PADDING;
  // X9.31 ends with the number of its hash, which the library wants to know first.
  const bool digest_first = padding.recipe == Recipe::kRsaX931;
  if (digest_first && EVP_PKEY_CTX_set_signature_md(context, DigestAlgorithm(padding.digest)) != 1) return false;
  if (EVP_PKEY_CTX_set_rsa_padding(context, mode) != 1) return false;
  if (digest_first) return true;
  if (padding.digest != 0 && EVP_PKEY_CTX_set_signature_md(context, DigestAlgorithm(padding.digest)) != 1) return false;
  if (padding.recipe != Recipe::kRsaPss) return true;
  return EVP_PKEY_CTX_set_rsa_mgf1_md(context, DigestAlgorithm(padding.mgf_digest)) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(context, padding.salt_bytes) == 1;
}

// A context prepared for this key, padding and direction.
Fallible<Borrowed<EVP_PKEY_CTX>> BorrowRsa(const Key& key, const RsaPadding& padding, bool verify) {
  const std::uint64_t tag = std::uint64_t{1} << 63 | static_cast<std::uint64_t>(padding.recipe) << 52 |
                            static_cast<std::uint64_t>(padding.digest) << 36 |
                            static_cast<std::uint64_t>(padding.mgf_digest) << 20 |
                            static_cast<std::uint64_t>(padding.salt_bytes) << 1 | (verify ? 1 : 0);
  Borrowed<EVP_PKEY_CTX> context(key.engine(), tag);
  if (context) return context;
  context.Adopt(EVP_PKEY_CTX_new_from_pkey(Library(), key.engine().pkey.get(), nullptr));
  const bool good = context &&
                    (verify ? EVP_PKEY_verify_init(context.get()) : EVP_PKEY_sign_init(context.get())) == 1 &&
                    ApplyPadding(context.get(), padding);
  if (!good) {
    context.Drop();
    return LibraryRefusal(CKR_MECHANISM_PARAM_INVALID, "RSA padding");
  }
  return context;
}

// The hashes that X9.31 has numbers for (ISO/IEC 10118).
CK_MECHANISM_TYPE X931Digest(std::uint8_t number) {
  switch (number) {
    case 0x33: return CKM_SHA_1;
    case 0x34: return CKM_SHA256;
    case 0x35: return CKM_SHA512;
    case 0x36: return CKM_SHA384;
    default: return 0;
  }
}

class RsaSignature final : public PublicKeySignature {
 public:
  RsaSignature(std::unique_ptr<Digest> digest, const Key& key, RsaPadding padding)
      : PublicKeySignature(std::move(digest)), key_(key), padding_(padding), modulus_bytes_((key.bits() + 7) / 8) {}

 protected:
  Fallible<std::size_t> SignMessage(ByteView message, MutableBytes out) override {
    RETURN_IF_ERROR(CheckLength(message, CKR_DATA_LEN_RANGE));
    const Bytes padded = PadRaw(message);
    const ByteView input = padding_.recipe == Recipe::kRsaX509 ? ByteView(padded) : HashOf(message);
    std::size_t n = out.size();
    ASSIGN_OR_RETURN(const auto context, BorrowRsa(key_, PaddingOf(message), false));
    if (EVP_PKEY_sign(context.get(), out.data(), &n, input.data(), input.size()) != 1) {
      return LibraryRefusal(padding_.recipe == Recipe::kRsaX509 ? CKR_DATA_INVALID : CKR_DEVICE_ERROR, "RSA signing");
    }
    return n;
  }

  // A fault in one half of the CRT computation gives the primes away (Boneh, DeMillo, Lipton).
  bool TellsItsKeyWhenWrong() const override { return true; }

  Status VerifyMessage(ByteView message, ByteView signature) override {
    if (signature.size() != modulus_bytes_) return Fail(CKR_SIGNATURE_LEN_RANGE, "not the length of the modulus");
    RETURN_IF_ERROR(CheckLength(message, CKR_DATA_LEN_RANGE));
    // The library finds no signature of nothing right: the whole block is compared instead.
    const bool nothing = padding_.recipe == Recipe::kRsaPkcs && padding_.digest == 0 && message.empty();
    const Bytes padded = nothing ? EmptyBlock() : PadRaw(message);
    const ByteView input = nothing || padding_.recipe == Recipe::kRsaX509 ? ByteView(padded) : HashOf(message);
    const RsaPadding padding = nothing ? RsaPadding{.recipe = Recipe::kRsaX509} : PaddingOf(message);
    ASSIGN_OR_RETURN(const auto context, BorrowRsa(key_, padding, true));
    if (EVP_PKEY_verify(context.get(), signature.data(), signature.size(), input.data(), input.size()) != 1) {
      return LibraryRefusal(CKR_SIGNATURE_INVALID, "RSA");
    }
    return {};
  }

 private:
  Status CheckLength(ByteView message, CK_RV refusal) const {
    const bool fits = padding_.recipe == Recipe::kRsaX509  ? message.size() <= modulus_bytes_
                      : padding_.recipe == Recipe::kRsaPss ? message.size() == spec::DigestLength(padding_.digest)
                      : padding_.recipe == Recipe::kRsaX931
                          ? spec::DigestLength(PaddingOf(message).digest) == HashOf(message).size() && !message.empty()
                          : padding_.digest != 0 || message.size() + 11 <= modulus_bytes_;
    if (!fits) return Fail(refusal, "data of a length that this padding does not take");
    return {};
  }
  // CKM_RSA_X9_31 takes a hash and its number; the library makes the number again.
  bool IsNumberedHash() const { return padding_.recipe == Recipe::kRsaX931 && padding_.digest == 0; }
  ByteView HashOf(ByteView message) const {
    return IsNumberedHash() && !message.empty() ? message.first(message.size() - 1) : message;
  }
  RsaPadding PaddingOf(ByteView message) const {
    RsaPadding padding = padding_;
    if (IsNumberedHash() && !message.empty()) padding.digest = X931Digest(message.back());
    return padding;
  }
  // The padding of PKCS #1 v1.5 around no data: 00 01 FF … FF 00.
  Bytes EmptyBlock() const {
    Bytes block(modulus_bytes_, 0xFF);
    block[0] = 0;
    block[1] = 1;
    block.back() = 0;
    return block;
  }
  // CKM_RSA_X_509 takes the data as a number: zeros in front (PKCS#11 3.2 section 6.1.8).
  Bytes PadRaw(ByteView message) const {
    if (padding_.recipe != Recipe::kRsaX509) return {};
    Bytes padded(modulus_bytes_);
    std::copy(message.begin(), message.end(), padded.end() - static_cast<std::ptrdiff_t>(message.size()));
    return padded;
  }

  const Key& key_;
  RsaPadding padding_;
  std::size_t modulus_bytes_;
};

// C_VerifyRecover: what a signature was made of.
class RsaRecovery final : public Cipher {
 public:
  RsaRecovery(PKeyContext context, std::size_t modulus_bytes)
      : context_(std::move(context)), modulus_bytes_(modulus_bytes) {}
  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    if (in.size() != modulus_bytes_) return Fail(CKR_SIGNATURE_LEN_RANGE, "not the length of the modulus");
    Bytes message(modulus_bytes_);
    std::size_t n = message.size();
    if (EVP_PKEY_verify_recover(context_.get(), message.data(), &n, in.data(), in.size()) != 1) {
      return LibraryRefusal(CKR_SIGNATURE_INVALID, "RSA recovery");
    }
    if (n > out.size()) return Fail(CKR_DEVICE_ERROR, "longer than there is room");
    std::copy(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(n), out.begin());
    return n;
  }

 private:
  PKeyContext context_;
  std::size_t modulus_bytes_;
};

}  // namespace

CipherResult MakeRecovery(const spec::MechanismRow& row, const Key& key) {
  PKeyContext context(EVP_PKEY_CTX_new_from_pkey(Library(), key.engine().pkey.get(), nullptr));
  if (context == nullptr || EVP_PKEY_verify_recover_init(context.get()) != 1 ||
      !ApplyPadding(context.get(), {.recipe = row.recipe})) {
    return LibraryFailure("RSA recovery");
  }
  return std::unique_ptr<Cipher>(std::make_unique<RsaRecovery>(std::move(context), (key.bits() + 7) / 8));
}

SignatureResult MakeRsaSignature(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key) {
  RsaPadding padding{.recipe = row.recipe, .digest = row.digest};
  if (row.recipe == Recipe::kRsaPss) {
    const auto& parameter = *static_cast<const CK_RSA_PKCS_PSS_PARAMS*>(mechanism.pParameter);
    // A row that hashes itself fixes the digest; the parameter must say the same (PKCS#11 3.2 section 6.1.10).
    if (row.digest != 0 && parameter.hashAlg != row.digest)
      return Fail(CKR_MECHANISM_PARAM_INVALID, "PSS: another hash");
    padding.digest = parameter.hashAlg;
    padding.mgf_digest = spec::MgfDigest(parameter.mgf);
    const std::size_t modulus_bytes = (key.bits() + 6) / 8;  // of the encoded message: one bit less than the modulus
    const std::size_t digest_bytes = spec::DigestLength(padding.digest);
    if (digest_bytes + 2 > modulus_bytes || parameter.sLen > modulus_bytes - digest_bytes - 2) {
      return Fail(CKR_MECHANISM_PARAM_INVALID, "PSS: the salt does not fit the modulus");
    }
    padding.salt_bytes = static_cast<int>(parameter.sLen);
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Digest> digest, RowDigest(row));
  return std::unique_ptr<Signature>(std::make_unique<RsaSignature>(std::move(digest), key, padding));
}

}  // namespace cmkd::sim

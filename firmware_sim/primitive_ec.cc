// ECDSA (FIPS 186-5), EdDSA (RFC 8032) and Diffie-Hellman on curves (NIST SP 800-56A, RFC 7748).
#include <openssl/ec.h>
#include <openssl/ecdsa.h>

#include <algorithm>

#include "firmware_sim/der.h"
#include "firmware_sim/derive.h"
#include "firmware_sim/engine.h"
#include "firmware_sim/primitive_signature.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::sim {
namespace {

using EcdsaNumbers = std::unique_ptr<ECDSA_SIG, ReleaseWith<ECDSA_SIG_free>>;

constexpr std::size_t kDerSignatureBytesMax = 256;  // of P-521: 2 × 66 and headers

Fallible<Borrowed<EVP_PKEY_CTX>> BorrowEcdsa(const Key& key, bool verify) {
  Borrowed<EVP_PKEY_CTX> context(key.engine(), std::uint64_t{1} << 62 | (verify ? 1 : 0));
  if (context) return context;
  context.Adopt(EVP_PKEY_CTX_new_from_pkey(Library(), key.engine().pkey.get(), nullptr));
  if (!context || (verify ? EVP_PKEY_verify_init(context.get()) : EVP_PKEY_sign_init(context.get())) != 1) {
    context.Drop();
    return LibraryFailure("ECDSA");
  }
  return context;
}

// PKCS#11 has r ‖ s, each as long as the order; the library has SEQUENCE { r, s }.
class EcdsaSignature final : public PublicKeySignature {
 public:
  EcdsaSignature(std::unique_ptr<Digest> digest, const Key& key)
      : PublicKeySignature(std::move(digest)), key_(key), half_((key.bits() + 7) / 8) {}

 protected:
  Fallible<std::size_t> SignMessage(ByteView message, MutableBytes out) override {
    ASSIGN_OR_RETURN(const auto context, BorrowEcdsa(key_, false));
    std::uint8_t encoded[kDerSignatureBytesMax];
    std::size_t n = sizeof encoded;
    if (EVP_PKEY_sign(context.get(), encoded, &n, message.data(), message.size()) != 1) return LibraryFailure("ECDSA");
    return DerToHalves({encoded, n}, half_, out);
  }

  // Shorter signatures are allowed as long as both halves are equally long (PKCS#11 3.2 section 6.3.1, "EC
  // Signatures").
  Status VerifyMessage(ByteView message, ByteView signature) override {
    if (signature.empty() || signature.size() % 2 != 0 || signature.size() > 2 * half_) {
      return Fail(CKR_SIGNATURE_LEN_RANGE, "not two halves of at most the length of the order");
    }
    std::uint8_t encoded[kDerSignatureBytesMax];
    const ByteView written = HalvesToDer(signature, encoded);
    if (written.empty()) return Fail(CKR_SIGNATURE_LEN_RANGE, "too long");
    ASSIGN_OR_RETURN(const auto context, BorrowEcdsa(key_, true));
    if (EVP_PKEY_verify(context.get(), written.data(), written.size(), message.data(), message.size()) != 1) {
      return LibraryRefusal(CKR_SIGNATURE_INVALID, "ECDSA");
    }
    return {};
  }

 private:
  const Key& key_;
  std::size_t half_;
};

class EddsaSignature final : public PublicKeySignature {
 public:
  explicit EddsaSignature(const Key& key) : PublicKeySignature(nullptr), key_(key) {}

 protected:
  Fallible<std::size_t> SignMessage(ByteView message, MutableBytes out) override {
    const DigestContext context(EVP_MD_CTX_new());
    std::size_t n = out.size();
    if (context == nullptr ||
        EVP_DigestSignInit_ex(context.get(), nullptr, nullptr, Library(), nullptr, key_.engine().pkey.get(), nullptr) !=
            1 ||
        EVP_DigestSign(context.get(), out.data(), &n, message.data(), message.size()) != 1) {
      return LibraryFailure("EdDSA");
    }
    return n;
  }
  // Its nonce is the same for the same message: a wrong signature beside the right one gives the key.
  bool TellsItsKeyWhenWrong() const override { return true; }
  Status VerifyMessage(ByteView message, ByteView signature) override {
    if (signature.size() != 2 * ((key_.bits() + 8) / 8))
      return Fail(CKR_SIGNATURE_LEN_RANGE, "not the length of EdDSA's");
    const DigestContext context(EVP_MD_CTX_new());
    if (context == nullptr || EVP_DigestVerifyInit_ex(context.get(), nullptr, nullptr, Library(), nullptr,
                                                      key_.engine().pkey.get(), nullptr) != 1) {
      return LibraryFailure("EdDSA");
    }
    if (EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) != 1) {
      return LibraryRefusal(CKR_SIGNATURE_INVALID, "EdDSA");
    }
    return {};
  }

 private:
  const Key& key_;
};

Fallible<SecretBytes> SharedSecret(const Key& key, ByteView peer_point) {
  Parts parts;
  parts[Part::kPoint] = spec::PointOf(peer_point, *key.curve());
  ASSIGN_OR_RETURN(const EnginePtr peer, PreparePublic(key.type(), key.curve(), parts));
  const PKeyContext context(EVP_PKEY_CTX_new_from_pkey(Library(), key.engine().pkey.get(), nullptr));
  std::size_t n = (key.bits() + 7) / 8;
  SecretBytes secret(n);
  // The peer's point was checked when it was read; checking its order as well would double the cost and, with a
  // cofactor of 1, add nothing. On X25519 and X448 the result is refused when it is zero: a point of small order.
  if (context == nullptr || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer_ex(context.get(), peer->pkey.get(), 0) != 1 ||
      EVP_PKEY_derive(context.get(), secret.bytes().data(), &n) != 1) {
    return LibraryRefusal(CKR_PUBLIC_KEY_INVALID, "the two keys do not agree on a secret");
  }
  secret.Truncate(n);
  return secret;
}

}  // namespace

SignatureResult MakeEcdsa(const spec::MechanismRow& row, const CK_MECHANISM&, const Key& key) {
  ASSIGN_OR_RETURN(std::unique_ptr<Digest> digest, RowDigest(row));
  return std::unique_ptr<Signature>(std::make_unique<EcdsaSignature>(std::move(digest), key));
}

SignatureResult MakeEddsa(const spec::MechanismRow&, const CK_MECHANISM& mechanism, const Key& key) {
  // OpenSSL 3.0 has pure EdDSA without context only (RFC 8032 section 5.1); Ed448 with an empty context is the pure
  // one.
  if (mechanism.pParameter != nullptr) {
    const auto& parameter = *static_cast<const CK_EDDSA_PARAMS*>(mechanism.pParameter);
    const bool pure_448 = key.bits() == 448 && parameter.phFlag == CK_FALSE && parameter.ulContextDataLen == 0;
    if (!pure_448) return Fail(CKR_MECHANISM_PARAM_INVALID, "only pure EdDSA without context");
  }
  return std::unique_ptr<Signature>(std::make_unique<EddsaSignature>(key));
}

// ANSI X9.63 section 5.6.3 hashes secret, counter and shared data; SP 800-56C section 4.1 has the counter first.
Fallible<SecretBytes> ApplyKdf(CK_ULONG kdf, ByteView secret, ByteView shared, std::size_t bytes) {
  const bool counter_first = spec::IsSp800Kdf(kdf);
  SecretBytes out(bytes);
  std::uint8_t block[64];
  std::size_t made = 0;
  for (std::uint32_t counter = 1; made < bytes; ++counter) {
    ASSIGN_OR_RETURN(const auto digest, MakeDigest(spec::KdfDigest(kdf)));
    const std::uint8_t number[] = {static_cast<std::uint8_t>(counter >> 24), static_cast<std::uint8_t>(counter >> 16),
                                   static_cast<std::uint8_t>(counter >> 8), static_cast<std::uint8_t>(counter)};
    RETURN_IF_ERROR(digest->Update(counter_first ? ByteView(number) : secret));
    RETURN_IF_ERROR(digest->Update(counter_first ? secret : ByteView(number)));
    RETURN_IF_ERROR(digest->Update(shared));
    RETURN_IF_ERROR(digest->Final(block));
    const std::size_t part = std::min(digest->bytes(), bytes - made);
    std::memcpy(out.bytes().data() + made, block, part);
    made += part;
  }
  Wipe(block);
  return out;
}

Fallible<SecretBytes> AgreeOnCurve(const spec::MechanismRow&, const CK_MECHANISM& mechanism, const DeriveInput& input) {
  const auto& parameter = *static_cast<const CK_ECDH1_DERIVE_PARAMS*>(mechanism.pParameter);
  ASSIGN_OR_RETURN(SecretBytes secret, SharedSecret(input.key, {parameter.pPublicData, parameter.ulPublicDataLen}));
  if (parameter.kdf != CKD_NULL) {
    const ByteView shared{parameter.pSharedData, parameter.ulSharedDataLen};
    return ApplyKdf(parameter.kdf, secret.view(), shared, input.bytes.value_or(secret.size()));
  }
  if (input.bytes.value_or(secret.size()) > secret.size())
    return Fail(CKR_KEY_SIZE_RANGE, "the secret has fewer bytes");
  // CKD_NULL: the leading bytes of the secret go (PKCS#11 3.2 section 6.3.17: "truncated from the leading end").
  const std::size_t wanted = input.bytes.value_or(secret.size());
  return SecretBytes(secret.view().last(wanted));
}

}  // namespace cmkd::sim

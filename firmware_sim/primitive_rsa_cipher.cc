// RSA encryption: PKCS #1 v1.5 with implicit rejection, OAEP and raw (RFC 8017, draft-irtf-cfrg-rsa-guidance).
#include <openssl/rsa.h>

#include "firmware_sim/primitive_factories.h"
#include "firmware_sim/rsa_rejection.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;

class RsaCipher final : public Cipher {
 public:
  RsaCipher(PKeyContext context, const Key& key, Recipe recipe, Mode mode, std::optional<std::size_t> value_bytes)
      : context_(std::move(context)),
        key_(key),
        recipe_(recipe),
        mode_(mode),
        value_bytes_(value_bytes),
        modulus_bytes_((key.bits() + 7) / 8) {}

  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    return mode_ == Mode::kEncrypt ? Encrypt(in, out) : Decrypt(in, out);
  }

 private:
  Fallible<std::size_t> Encrypt(ByteView in, MutableBytes out) {
    Bytes padded;
    if (recipe_ == Recipe::kRsaX509) {
      if (in.size() > modulus_bytes_) return Fail(CKR_DATA_LEN_RANGE, "longer than the modulus");
      padded.resize(modulus_bytes_ - in.size());
      padded.insert(padded.end(), in.begin(), in.end());
      in = padded;
    }
    std::size_t n = out.size();
    if (EVP_PKEY_encrypt(context_.get(), out.data(), &n, in.data(), in.size()) != 1) {
      return LibraryRefusal(CKR_DATA_LEN_RANGE, "RSA encryption");
    }
    Wipe(padded);
    return n;
  }

  Fallible<std::size_t> Decrypt(ByteView in, MutableBytes out) {
    if (in.size() != modulus_bytes_) return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "not the length of the modulus");
    Bytes plain(modulus_bytes_);
    std::size_t n = plain.size();
    if (EVP_PKEY_decrypt(context_.get(), plain.data(), &n, in.data(), in.size()) != 1) {
      Wipe(plain);
      return LibraryRefusal(CKR_ENCRYPTED_DATA_INVALID, "RSA decryption");
    }
    ByteView message = ByteView(plain).first(n);
    Fallible<Pkcs1Message> chosen = Fail(CKR_DEVICE_ERROR, "not chosen");
    if (recipe_ == Recipe::kRsaPkcs) {
      chosen = RemovePkcs1(plain, key_.engine().rejection, in, value_bytes_);
      if (!chosen.ok()) return Failure{chosen.error()};
      message = chosen->message();
    }
    const bool fits = message.size() <= out.size();
    if (fits && !message.empty()) std::memcpy(out.data(), message.data(), message.size());
    const std::size_t bytes = message.size();
    Wipe(plain);
    if (!fits) return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "longer than what was asked for");
    return bytes;
  }

  PKeyContext context_;
  const Key& key_;
  Recipe recipe_;
  Mode mode_;
  std::optional<std::size_t> value_bytes_;
  std::size_t modulus_bytes_;
};

bool ApplyOaep(EVP_PKEY_CTX* context, const CK_RSA_PKCS_OAEP_PARAMS& parameter) {
  if (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) != 1 ||
      EVP_PKEY_CTX_set_rsa_oaep_md(context, DigestAlgorithm(parameter.hashAlg)) != 1 ||
      EVP_PKEY_CTX_set_rsa_mgf1_md(context, DigestAlgorithm(spec::MgfDigest(parameter.mgf))) != 1) {
    return false;
  }
  if (parameter.pSourceData == nullptr || parameter.ulSourceDataLen == 0) return true;
  // OpenSSL takes the copy over.
  void* label = OPENSSL_memdup(parameter.pSourceData, parameter.ulSourceDataLen);
  if (label == nullptr) return false;
  if (EVP_PKEY_CTX_set0_rsa_oaep_label(context, label, static_cast<int>(parameter.ulSourceDataLen)) == 1) return true;
  OPENSSL_free(label);
  return false;
}

CipherResult Make(Recipe recipe, const CK_MECHANISM* mechanism, const Key& key, Mode mode,
                  std::optional<std::size_t> value_bytes) {
  PKeyContext context(EVP_PKEY_CTX_new_from_pkey(Library(), key.engine().pkey.get(), nullptr));
  const bool encrypting = mode == Mode::kEncrypt;
  bool good = context != nullptr &&
              (encrypting ? EVP_PKEY_encrypt_init(context.get()) : EVP_PKEY_decrypt_init(context.get())) == 1;
  if (good && recipe == Recipe::kRsaOaep) {
    good = ApplyOaep(context.get(), *static_cast<const CK_RSA_PKCS_OAEP_PARAMS*>(mechanism->pParameter));
  } else if (good) {
    // v1.5 decryption is raw here; the padding is taken off in constant time by RemovePkcs1().
    const bool raw = recipe == Recipe::kRsaX509 || !encrypting;
    good = EVP_PKEY_CTX_set_rsa_padding(context.get(), raw ? RSA_NO_PADDING : RSA_PKCS1_PADDING) == 1;
  }
  if (!good) return LibraryRefusal(CKR_MECHANISM_PARAM_INVALID, "RSA padding");
  return std::unique_ptr<Cipher>(std::make_unique<RsaCipher>(std::move(context), key, recipe, mode, value_bytes));
}

}  // namespace

CipherResult MakeRsaCipher(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key, Mode mode) {
  return Make(row.recipe, &mechanism, key, mode, std::nullopt);
}

CipherResult MakeRsaUnwrap(const Key& key, std::size_t value_bytes) {
  return Make(Recipe::kRsaPkcs, nullptr, key, Mode::kDecrypt, value_bytes);
}

}  // namespace cmkd::sim

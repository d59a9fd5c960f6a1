// SM2: signatures (GB/T 32918.2) and encryption (GB/T 32918.4). What is encrypted is C1, C3, C2 as the standard has
// them, the point uncompressed; the library has them in DER.
#include <algorithm>

#include "firmware_sim/der.h"
#include "firmware_sim/primitive_signature.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::sim {
namespace {

constexpr std::size_t kHalf = 32;
constexpr std::size_t kPointBytes = 1 + 2 * kHalf;
// The identity that signatures are bound to when nothing else was agreed (GM/T 0009).
constexpr std::string_view kUsualIdentity = "1234567812345678";

class Sm2Signature final : public PublicKeySignature {
 public:
  // With `hashing` the message goes through SM3 together with the identity and the public key; else it is a digest.
  Sm2Signature(const Key& key, bool hashing) : PublicKeySignature(nullptr), key_(key), hashing_(hashing) {}

 protected:
  Fallible<std::size_t> SignMessage(ByteView message, MutableBytes out) override {
    std::uint8_t encoded[kDerSignatureMax];
    std::size_t n = sizeof encoded;
    RETURN_IF_ERROR(Run(message, encoded, &n, false));
    return DerToHalves({encoded, n}, kHalf, out);
  }
  Status VerifyMessage(ByteView message, ByteView signature) override {
    if (signature.size() != 2 * kHalf) return Fail(CKR_SIGNATURE_LEN_RANGE, "not two numbers of SM2");
    std::uint8_t encoded[kDerSignatureMax];
    const ByteView written = HalvesToDer(signature, encoded);
    std::copy(written.begin(), written.end(), encoded);
    std::size_t n = written.size();
    return Run(message, encoded, &n, true);
  }

 private:
  static constexpr std::size_t kDerSignatureMax = 128;

  Status Run(ByteView message, std::uint8_t* encoded, std::size_t* n, bool verify) const {
    const bool good = hashing_ ? RunHashing(message, encoded, n, verify) : RunDigest(message, encoded, n, verify);
    if (good) return {};
    return LibraryRefusal(verify ? CKR_SIGNATURE_INVALID : CKR_DATA_LEN_RANGE, "SM2");
  }
  bool RunHashing(ByteView message, std::uint8_t* encoded, std::size_t* n, bool verify) const {
    const DigestContext context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* inner = nullptr;
    EVP_PKEY* pkey = key_.engine().pkey.get();
    const auto begin = verify ? EVP_DigestVerifyInit_ex : EVP_DigestSignInit_ex;
    if (context == nullptr || begin(context.get(), &inner, "SM3", Library(), nullptr, pkey, nullptr) != 1 ||
        EVP_PKEY_CTX_set1_id(inner, kUsualIdentity.data(), static_cast<int>(kUsualIdentity.size())) != 1) {
      return false;
    }
    if (verify) return EVP_DigestVerify(context.get(), encoded, *n, message.data(), message.size()) == 1;
    return EVP_DigestSign(context.get(), encoded, n, message.data(), message.size()) == 1;
  }
  bool RunDigest(ByteView digest, std::uint8_t* encoded, std::size_t* n, bool verify) const {
    if (digest.size() != kHalf) return false;
    const PKeyContext context(EVP_PKEY_CTX_new_from_pkey(Library(), key_.engine().pkey.get(), nullptr));
    if (context == nullptr) return false;
    if (verify) {
      return EVP_PKEY_verify_init(context.get()) == 1 &&
             EVP_PKEY_verify(context.get(), encoded, *n, digest.data(), digest.size()) == 1;
    }
    return EVP_PKEY_sign_init(context.get()) == 1 &&
           EVP_PKEY_sign(context.get(), encoded, n, digest.data(), digest.size()) == 1;
  }

  const Key& key_;
  bool hashing_;
};

class Sm2Cipher final : public Cipher {
 public:
  Sm2Cipher(const Key& key, Mode mode) : key_(key), mode_(mode) {}
  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    return mode_ == Mode::kEncrypt ? Encrypt(in, out) : Decrypt(in, out);
  }

 private:
  static constexpr std::size_t kOverhead = kPointBytes + kHalf;
  static constexpr std::size_t kInputMax = std::size_t{1} << 20;

  Fallible<std::size_t> Encrypt(ByteView in, MutableBytes out) const {
    if (in.empty() || in.size() > kInputMax) return Fail(CKR_DATA_LEN_RANGE, "nothing to encrypt, or too much");
    const PKeyContext context(EVP_PKEY_CTX_new_from_pkey(Library(), key_.engine().pkey.get(), nullptr));
    Bytes encoded(in.size() + 256);
    std::size_t n = encoded.size();
    if (context == nullptr || EVP_PKEY_encrypt_init(context.get()) != 1 ||
        EVP_PKEY_encrypt(context.get(), encoded.data(), &n, in.data(), in.size()) != 1) {
      return LibraryFailure("SM2 encryption");
    }
    der::Reader outer(ByteView(encoded).first(n));
    der::Reader parts = outer.Enter(der::kSequence);
    const ByteView x = parts.Integer(), y = parts.Integer();
    const ByteView hash = parts.Value(der::kOctetString), text = parts.Value(der::kOctetString);
    if (!parts.AtEnd() || x.size() > kHalf || y.size() > kHalf || hash.size() != kHalf || text.size() != in.size()) {
      return LibraryFailure("SM2 encoding");
    }
    std::fill(out.begin(), out.begin() + kPointBytes, std::uint8_t{0});
    out[0] = 4;
    std::copy(x.begin(), x.end(), out.begin() + static_cast<std::ptrdiff_t>(1 + kHalf - x.size()));
    std::copy(y.begin(), y.end(), out.begin() + static_cast<std::ptrdiff_t>(kPointBytes - y.size()));
    std::copy(hash.begin(), hash.end(), out.begin() + kPointBytes);
    std::copy(text.begin(), text.end(), out.begin() + kOverhead);
    return in.size() + kOverhead;
  }

  Fallible<std::size_t> Decrypt(ByteView in, MutableBytes out) const {
    if (in.size() <= kOverhead || in.size() > kInputMax || in[0] != 4) {
      return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "not as long as anything SM2 makes");
    }
    Bytes buffer(in.size() + 64);
    der::Writer writer(buffer);
    writer.Value(der::kOctetString, in.subspan(kOverhead));
    writer.Value(der::kOctetString, in.subspan(kPointBytes, kHalf));
    writer.Integer(in.subspan(1 + kHalf, kHalf));
    writer.Integer(in.subspan(1, kHalf));
    writer.Wrap(der::kSequence, 0);
    const PKeyContext context(EVP_PKEY_CTX_new_from_pkey(Library(), key_.engine().pkey.get(), nullptr));
    const ByteView encoded = writer.written();
    Bytes plain(in.size());
    std::size_t n = plain.size();
    const bool good = writer.ok() && context != nullptr && EVP_PKEY_decrypt_init(context.get()) == 1 &&
                      EVP_PKEY_decrypt(context.get(), plain.data(), &n, encoded.data(), encoded.size()) == 1 &&
                      n == in.size() - kOverhead;
    if (good) std::copy(plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(n), out.begin());
    Wipe(plain);
    if (!good) return LibraryRefusal(CKR_ENCRYPTED_DATA_INVALID, "SM2 decryption");
    return n;
  }

  const Key& key_;
  Mode mode_;
};

}  // namespace

SignatureResult MakeSm2Signature(const spec::MechanismRow& row, const CK_MECHANISM&, const Key& key) {
  return std::unique_ptr<Signature>(std::make_unique<Sm2Signature>(key, row.digest != 0));
}

CipherResult MakeSm2Cipher(const spec::MechanismRow&, const CK_MECHANISM&, const Key& key, Mode mode) {
  return std::unique_ptr<Cipher>(std::make_unique<Sm2Cipher>(key, mode));
}

}  // namespace cmkd::sim

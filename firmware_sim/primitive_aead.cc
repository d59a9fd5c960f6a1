// AES-GCM (NIST SP 800-38D), ChaCha20-Poly1305 (RFC 8439) and AES-CCM (NIST SP 800-38C). Decryption gives nothing out
// before the tag has been verified.
#include <algorithm>

#include "firmware_sim/gcm_long_iv.h"
#include "firmware_sim/primitive_factories.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::sim {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 30;  // EVP counts in int
constexpr std::size_t kLibraryIvBytesMax = 128;       // OpenSSL 3.0's own limit

// One direction over OpenSSL. `out` may be `in`.
class GcmStream {
 public:
  explicit GcmStream(Borrowed<EVP_CIPHER_CTX> context) : context_(std::move(context)) {}

  bool Start(ByteView iv, ByteView aad, Mode mode) {
    if (EVP_CipherInit_ex2(context_.get(), nullptr, nullptr, iv.data(), mode == Mode::kEncrypt ? 1 : 0, nullptr) != 1) {
      return false;
    }
    return aad.empty() || Run(aad, nullptr);
  }
  bool Run(ByteView in, std::uint8_t* out) {
    while (!in.empty()) {
      const std::size_t part = std::min(in.size(), kChunk);
      int n = 0;
      if (EVP_CipherUpdate(context_.get(), out, &n, in.data(), static_cast<int>(part)) != 1) return false;
      if (out != nullptr) out += part;
      in = in.subspan(part);
    }
    return true;
  }
  bool FinishEncrypt(MutableBytes tag) {
    int n = 0;
    std::uint8_t none[16];
    return EVP_CipherFinal_ex(context_.get(), none, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(tag.size()), tag.data()) == 1;
  }
  bool FinishDecrypt(ByteView tag) {
    int n = 0;
    std::uint8_t none[16];
    return EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag.size()),
                               const_cast<std::uint8_t*>(tag.data())) == 1 &&
           EVP_CipherFinal_ex(context_.get(), none, &n) == 1;
  }

 private:
  Borrowed<EVP_CIPHER_CTX> context_;
};

template <class Stream>
class GcmEncryption final : public Cipher {
 public:
  GcmEncryption(Stream stream, std::size_t tag_bytes) : stream_(std::move(stream)), tag_bytes_(tag_bytes) {}

  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    RETURN_IF_ERROR(Update(in, out));
    ASSIGN_OR_RETURN(const std::size_t last, Final(out.subspan(in.size())));
    return in.size() + last;
  }
  std::size_t UpdateBytes(std::size_t input) const override { return input; }
  Status Update(ByteView in, MutableBytes out) override {
    if (!stream_.Run(in, out.data())) return LibraryRefusal(CKR_DATA_LEN_RANGE, "GCM update");
    return {};
  }
  std::size_t FinalBytesMax() const override { return tag_bytes_; }
  Fallible<std::size_t> Final(MutableBytes out) override {
    if (!stream_.FinishEncrypt(out.first(tag_bytes_))) return LibraryFailure("GCM tag");
    return tag_bytes_;
  }

 private:
  Stream stream_;
  std::size_t tag_bytes_;
};

template <class Stream>
class GcmDecryption final : public Cipher {
 public:
  GcmDecryption(Stream stream, std::size_t tag_bytes) : stream_(std::move(stream)), tag_bytes_(tag_bytes) {}
  ~GcmDecryption() override { Wipe(gathered_); }

  // The caller's buffer may be memory that others read: the plaintext gets there after the tag was verified.
  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    if (in.size() < tag_bytes_) return Fail(CKR_ENCRYPTED_DATA_LEN_RANGE, "shorter than the tag");
    const std::size_t bytes = in.size() - tag_bytes_;
    std::uint8_t small[256];
    std::unique_ptr<std::uint8_t[]> large;
    if (bytes > sizeof small) large = std::make_unique_for_overwrite<std::uint8_t[]>(bytes);
    const MutableBytes plain{bytes > sizeof small ? large.get() : small, bytes};
    const bool good = stream_.Run(in.first(bytes), plain.data()) && stream_.FinishDecrypt(in.subspan(bytes));
    if (good && bytes != 0) std::memcpy(out.data(), plain.data(), bytes);
    Wipe(plain);
    if (!good) return LibraryRefusal(CKR_ENCRYPTED_DATA_INVALID, "GCM tag");
    return bytes;
  }
  Status Update(ByteView in, MutableBytes) override {
    gathered_.insert(gathered_.end(), in.begin(), in.end());
    return {};
  }
  std::size_t FinalBytesMax() const override {
    return gathered_.size() < tag_bytes_ ? 0 : gathered_.size() - tag_bytes_;
  }
  Fallible<std::size_t> Final(MutableBytes out) override { return Whole(gathered_, out); }

 private:
  Stream stream_;
  std::size_t tag_bytes_;
  Bytes gathered_;
};

template <class Stream>
std::unique_ptr<Cipher> MakeGcmOver(Stream stream, std::size_t tag_bytes, Mode mode) {
  if (mode == Mode::kEncrypt) return std::make_unique<GcmEncryption<Stream>>(std::move(stream), tag_bytes);
  return std::make_unique<GcmDecryption<Stream>>(std::move(stream), tag_bytes);
}

spec::GcmParameter ReadChacha(const CK_MECHANISM& mechanism) {
  const auto& parameter = *static_cast<const CK_SALSA20_CHACHA20_POLY1305_PARAMS*>(mechanism.pParameter);
  return {{parameter.pNonce, parameter.ulNonceLen / 8}, {parameter.pAAD, parameter.ulAADLen}, 128};
}

// CCM must know the length before it begins, so it is done whole.
class CcmCipher final : public Cipher {
 public:
  CcmCipher(const Key& key, const spec::CcmParameter& parameter, Mode mode)
      : key_(key),
        nonce_(ToBytes(parameter.nonce)),
        aad_(ToBytes(parameter.aad)),
        announced_(parameter.data_bytes),
        mac_bytes_(parameter.mac_bytes),
        mode_(mode) {}

  Fallible<std::size_t> Whole(ByteView in, MutableBytes out) override {
    const bool encrypting = mode_ == Mode::kEncrypt;
    const CK_RV refusal = encrypting ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
    if (!encrypting && in.size() < mac_bytes_) return Fail(refusal, "shorter than the MAC");
    const std::size_t bytes = encrypting ? in.size() : in.size() - mac_bytes_;
    // Programs announce the plaintext or, when decrypting, the ciphertext; those that wrap keys do not know it.
    if (announced_ != 0 && announced_ != bytes && announced_ != in.size()) {
      return Fail(refusal, "not as much data as ulDataLen says");
    }
    if (nonce_.size() == 13 && bytes > 0xffff) return Fail(refusal, "too much data for such a long nonce");
    if (bytes > kChunk) return Fail(refusal, "too much data");
    return encrypting ? Encrypt(in, out) : Decrypt(in.first(bytes), in.subspan(bytes), out);
  }

 private:
  // A context with key, nonce, lengths and associated data; for decryption with the MAC, too.
  CipherContext Start(const std::uint8_t* mac, std::size_t bytes) const {
    CipherContext context(EVP_CIPHER_CTX_new());
    const ByteView value = key_.part(Part::kValue);
    const EVP_CIPHER* algorithm = CipherAlgorithm(spec::Recipe::kAesCcm, key_.type(), value.size());
    const int direction = mode_ == Mode::kEncrypt ? 1 : 0;
    int n = 0;
    const bool good =
        context != nullptr && algorithm != nullptr &&
        EVP_CipherInit_ex2(context.get(), algorithm, nullptr, nullptr, direction, nullptr) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_IVLEN, static_cast<int>(nonce_.size()), nullptr) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(mac_bytes_),
                            const_cast<std::uint8_t*>(mac)) == 1 &&
        EVP_CipherInit_ex2(context.get(), nullptr, value.data(), nonce_.data(), direction, nullptr) == 1 &&
        EVP_CipherUpdate(context.get(), nullptr, &n, nullptr, static_cast<int>(bytes)) == 1 &&
        (aad_.empty() || EVP_CipherUpdate(context.get(), nullptr, &n, aad_.data(), static_cast<int>(aad_.size())) == 1);
    if (!good) context.reset();
    return context;
  }

  Fallible<std::size_t> Encrypt(ByteView in, MutableBytes out) const {
    const CipherContext context = Start(nullptr, in.size());
    int n = 0;
    // A NULL input means something else to the library.
    std::uint8_t none = 0;
    const std::uint8_t* from = in.empty() ? &none : in.data();
    if (context == nullptr || EVP_CipherUpdate(context.get(), out.data(), &n, from, static_cast<int>(in.size())) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(mac_bytes_),
                            out.data() + in.size()) != 1) {
      return LibraryFailure("CCM");
    }
    return in.size() + mac_bytes_;
  }

  Fallible<std::size_t> Decrypt(ByteView in, ByteView mac, MutableBytes out) const {
    const CipherContext context = Start(mac.data(), in.size());
    if (context == nullptr) return LibraryFailure("CCM");
    Bytes plain(in.size() + 1);
    int n = 0;
    const std::uint8_t* from = in.empty() ? plain.data() : in.data();
    const bool good = EVP_CipherUpdate(context.get(), plain.data(), &n, from, static_cast<int>(in.size())) == 1;
    if (good && !in.empty()) std::memcpy(out.data(), plain.data(), in.size());
    Wipe(plain);
    if (!good) return LibraryRefusal(CKR_ENCRYPTED_DATA_INVALID, "CCM tag");
    return in.size();
  }

  const Key& key_;
  Bytes nonce_, aad_;
  std::size_t announced_, mac_bytes_;
  Mode mode_;
};

// A context whose IV length is set already: the length is part of the tag it is parked under.
Fallible<Borrowed<EVP_CIPHER_CTX>> BorrowGcm(spec::Recipe recipe, const Key& key, std::size_t iv_bytes, Mode mode) {
  const std::uint64_t tag = static_cast<std::uint64_t>(recipe) << 1 | (mode == Mode::kDecrypt ? 1 : 0) |
                            static_cast<std::uint64_t>(iv_bytes) << 16;
  Borrowed<EVP_CIPHER_CTX> context(key.engine(), tag);
  if (context) return context;
  context.Adopt(EVP_CIPHER_CTX_new());
  const ByteView value = key.part(Part::kValue);
  const EVP_CIPHER* algorithm = CipherAlgorithm(recipe, key.type(), value.size());
  if (!context || algorithm == nullptr ||
      EVP_CipherInit_ex2(context.get(), algorithm, value.data(), nullptr, mode == Mode::kEncrypt ? 1 : 0, nullptr) !=
          1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_IVLEN, static_cast<int>(iv_bytes), nullptr) != 1) {
    context.Drop();
    return LibraryFailure("GCM key");
  }
  return context;
}

}  // namespace

CipherResult MakeGcm(const spec::MechanismRow& row, const CK_MECHANISM& mechanism, const Key& key, Mode mode) {
  const bool gcm = row.recipe == spec::Recipe::kAesGcm;
  const spec::GcmParameter parameter = gcm ? spec::ReadGcm(mechanism) : ReadChacha(mechanism);
  const std::size_t tag_bytes = parameter.tag_bits / 8;
  if (parameter.iv.size() > kLibraryIvBytesMax) {
    ASSIGN_OR_RETURN(LongIvGcm stream, LongIvGcm::Start(key, parameter.iv, parameter.aad, mode));
    return MakeGcmOver(std::move(stream), tag_bytes, mode);
  }
  ASSIGN_OR_RETURN(Borrowed<EVP_CIPHER_CTX> context, BorrowGcm(row.recipe, key, parameter.iv.size(), mode));
  GcmStream stream(std::move(context));
  if (!stream.Start(parameter.iv, parameter.aad, mode)) return LibraryFailure("GCM start");
  return MakeGcmOver(std::move(stream), tag_bytes, mode);
}

CipherResult MakeCcm(const spec::MechanismRow&, const CK_MECHANISM& mechanism, const Key& key, Mode mode) {
  const spec::CcmParameter parameter = spec::ReadCcm(mechanism);
  return std::unique_ptr<Cipher>(std::make_unique<CcmCipher>(key, parameter, mode));
}

}  // namespace cmkd::sim

// AES-GCM (NIST SP 800-38D). Decryption gives nothing out before the tag has been verified.
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

// A context whose IV length is set already: the length is part of the tag it is parked under.
Fallible<Borrowed<EVP_CIPHER_CTX>> BorrowGcm(const Key& key, std::size_t iv_bytes, Mode mode) {
  const std::uint64_t tag = static_cast<std::uint64_t>(spec::Recipe::kAesGcm) << 1 | (mode == Mode::kDecrypt ? 1 : 0) |
                            static_cast<std::uint64_t>(iv_bytes) << 16;
  Borrowed<EVP_CIPHER_CTX> context(key.engine(), tag);
  if (context) return context;
  context.Adopt(EVP_CIPHER_CTX_new());
  const ByteView value = key.part(Part::kValue);
  const EVP_CIPHER* algorithm = AesAlgorithm(spec::Recipe::kAesGcm, value.size());
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

CipherResult MakeGcm(const spec::MechanismRow&, const CK_MECHANISM& mechanism, const Key& key, Mode mode) {
  const spec::GcmParameter parameter = spec::ReadGcm(mechanism);
  const std::size_t tag_bytes = parameter.tag_bits / 8;
  if (parameter.iv.size() > kLibraryIvBytesMax) {
    ASSIGN_OR_RETURN(LongIvGcm stream, LongIvGcm::Start(key, parameter.iv, parameter.aad, mode));
    return MakeGcmOver(std::move(stream), tag_bytes, mode);
  }
  ASSIGN_OR_RETURN(Borrowed<EVP_CIPHER_CTX> context, BorrowGcm(key, parameter.iv.size(), mode));
  GcmStream stream(std::move(context));
  if (!stream.Start(parameter.iv, parameter.aad, mode)) return LibraryFailure("GCM start");
  return MakeGcmOver(std::move(stream), tag_bytes, mode);
}

}  // namespace cmkd::sim

// Digests, random bytes, and what the device needs for itself: PIN hashing and the seal of the flash.
// SHA-512/t for any t needs another initial value than the library's digests have; only the old interface takes one.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "firmware_sim/noise_source.h"
#include "firmware_sim/primitive_factories.h"
#include "firmware_sim/rehearsal.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::sim {
namespace {

class EvpDigest final : public Digest {
 public:
  EvpDigest(DigestContext context, std::size_t bytes) : context_(std::move(context)), bytes_(bytes) {}
  Status Update(ByteView in) override {
    if (EVP_DigestUpdate(context_.get(), in.data(), in.size()) != 1) return LibraryFailure("digest update");
    return {};
  }
  std::size_t bytes() const override { return bytes_; }
  Status Final(MutableBytes out) override {
    unsigned n = 0;
    if (out.size() < bytes_ || EVP_DigestFinal_ex(context_.get(), out.data(), &n) != 1) return LibraryFailure("digest");
    return {};
  }

 private:
  DigestContext context_;
  std::size_t bytes_;
};

// FIPS 180-4 section 5.3.6: SHA-512 from a changed initial value, over the name of the digest, makes the initial value
// of SHA-512/t.
class Sha512T final : public Digest {
 public:
  explicit Sha512T(std::size_t bytes) : bytes_(bytes) {
    SHA512_Init(&context_);
    for (auto& word : context_.h) word ^= 0xa5a5a5a5a5a5a5a5u;
    const std::string name = "SHA-512/" + std::to_string(bytes * 8);
    SHA512_Update(&context_, name.data(), name.size());
    std::uint8_t made[SHA512_DIGEST_LENGTH];
    SHA512_Final(made, &context_);
    SHA512_Init(&context_);
    for (std::size_t i = 0; i < 8; ++i) {
      context_.h[i] = 0;
      for (std::size_t j = 0; j < 8; ++j) context_.h[i] = context_.h[i] << 8 | made[8 * i + j];
    }
  }
  ~Sha512T() override { OPENSSL_cleanse(&context_, sizeof context_); }
  Status Update(ByteView in) override {
    if (SHA512_Update(&context_, in.data(), in.size()) != 1) return LibraryFailure("digest update");
    return {};
  }
  std::size_t bytes() const override { return bytes_; }
  Status Final(MutableBytes out) override {
    std::uint8_t whole[SHA512_DIGEST_LENGTH];
    if (out.size() < bytes_ || SHA512_Final(whole, &context_) != 1) return LibraryFailure("digest");
    std::memcpy(out.data(), whole, bytes_);
    return {};
  }

 private:
  SHA512_CTX context_;
  std::size_t bytes_;
};

// 16 MiB and about 40 ms: what a small device can spend on a PIN.
constexpr std::uint64_t kScryptN = 1u << 14, kScryptR = 8, kScryptP = 1;

constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;

}  // namespace

Fallible<std::unique_ptr<Digest>> MakeDigest(CK_MECHANISM_TYPE digest) {
  const EVP_MD* algorithm = DigestAlgorithm(digest);
  DigestContext context(EVP_MD_CTX_new());
  if (algorithm == nullptr || context == nullptr || EVP_DigestInit_ex2(context.get(), algorithm, nullptr) != 1) {
    return LibraryFailure("digest start");
  }
  return std::unique_ptr<Digest>(std::make_unique<EvpDigest>(std::move(context), spec::DigestLength(digest)));
}

Fallible<std::unique_ptr<Digest>> MakeRowDigest(const spec::MechanismRow& row, const CK_MECHANISM& mechanism) {
  if (row.digest == CKM_SHA512_T) {
    return std::unique_ptr<Digest>(std::make_unique<Sha512T>(spec::ReadHashBits(row, mechanism)));
  }
  return MakeDigest(row.digest);
}

namespace {

// How often a thread asks for random bytes before fresh noise is stirred in; in a rehearsal always, so that a fault of
// the noise source shows at once.
constexpr std::uint32_t kRefreshInterval = 256;

// Bytes for callers made ahead, some hundreds at once: a generator's turn costs more than all else that a small request
// does. Never of keys. What was handed out is wiped; what is left when its thread ends nobody has
// seen.
struct MadeAhead {
  std::array<std::uint8_t, 512> bytes;
  std::size_t left;
  pid_t process;  // a forked child does not go on with its parent's
};
thread_local MadeAhead made_ahead{};

void ForgetMadeAhead() {
  Wipe(made_ahead.bytes);
  made_ahead.left = 0;
}

Status StirNoise() {
  thread_local std::uint32_t calls = 0;
  NoiseSource& noise = NoiseSource::Get();
  if (noise.alarmed()) return noise.Alarm();
  if (++calls % kRefreshInterval != 0 && Rehearsal::Current() == nullptr) return {};
  return noise.Refresh();
}

}  // namespace

Status RandomBytes(MutableBytes out) {
  RETURN_IF_ERROR(StirNoise());
  if (!out.empty() && RAND_priv_bytes_ex(Library(), out.data(), out.size(), 0) != 1) return LibraryFailure("random");
  return {};
}

Status RandomBytesForCaller(MutableBytes out) {
  if (out.size() > made_ahead.bytes.size() / 8 || Rehearsal::Current() != nullptr) return RandomBytes(out);
  RETURN_IF_ERROR(StirNoise());
  if (const pid_t process = ::getpid(); made_ahead.left < out.size() || made_ahead.process != process) {
    ForgetMadeAhead();
    RETURN_IF_ERROR(RandomBytes(made_ahead.bytes));
    made_ahead.left = made_ahead.bytes.size();
    made_ahead.process = process;
  }
  const MutableBytes next = MutableBytes(made_ahead.bytes).subspan(made_ahead.left - out.size(), out.size());
  std::copy(next.begin(), next.end(), out.begin());
  Wipe(next);
  made_ahead.left -= out.size();
  return {};
}

void SeedRandom(ByteView seed) {
  ForgetMadeAhead();
  // As additional input to a reseed from the operating system: the caller may know the bytes, so they count for
  // nothing.
  (void)EVP_RAND_reseed(RAND_get0_private(Library()), 0, nullptr, 0, seed.data(), seed.size());
}

Status HashPin(ByteView pin, ByteView salt, MutableBytes out) {
  const Kdf algorithm(EVP_KDF_fetch(Library(), "SCRYPT", ""));
  const KdfContext context(algorithm == nullptr ? nullptr : EVP_KDF_CTX_new(algorithm.get()));
  std::uint64_t n = kScryptN, r = kScryptR, p = kScryptP;
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, const_cast<std::uint8_t*>(pin.data()), pin.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, const_cast<std::uint8_t*>(salt.data()), salt.size()),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_R, &r),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_P, &p),
      OSSL_PARAM_construct_end()};
  if (context == nullptr || EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) != 1) {
    return LibraryFailure("scrypt");
  }
  return {};
}

Fallible<Bytes> Seal(ByteView key, ByteView aad, ByteView plain) {
  Bytes sealed(plain.size() + kSealOverhead);
  RETURN_IF_ERROR(RandomBytes(MutableBytes(sealed).first(kNonceBytes)));
  const CipherContext context(EVP_CIPHER_CTX_new());
  std::uint8_t* text = sealed.data() + kNonceBytes;
  int n = 0;
  const EVP_CIPHER* algorithm = CipherAlgorithm(spec::Recipe::kAesGcm, CKK_AES, key.size());
  if (context == nullptr || algorithm == nullptr ||
      EVP_EncryptInit_ex2(context.get(), algorithm, key.data(), sealed.data(), nullptr) != 1 ||
      EVP_EncryptUpdate(context.get(), nullptr, &n, aad.data(), static_cast<int>(aad.size())) != 1 ||
      EVP_EncryptUpdate(context.get(), text, &n, plain.data(), static_cast<int>(plain.size())) != 1 ||
      EVP_EncryptFinal_ex(context.get(), text + plain.size(), &n) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, text + plain.size()) != 1) {
    return LibraryFailure("seal");
  }
  return sealed;
}

Fallible<SecretBytes> Unseal(ByteView key, ByteView aad, ByteView sealed) {
  if (sealed.size() < kSealOverhead) return Fail(CKR_DEVICE_ERROR, "sealed record is too short");
  SecretBytes plain(sealed.size() - kSealOverhead);
  const CipherContext context(EVP_CIPHER_CTX_new());
  const ByteView text = sealed.subspan(kNonceBytes, plain.size());
  const ByteView tag = sealed.last(kTagBytes);
  int n = 0;
  std::uint8_t none[16];
  const EVP_CIPHER* algorithm = CipherAlgorithm(spec::Recipe::kAesGcm, CKK_AES, key.size());
  if (context == nullptr || algorithm == nullptr ||
      EVP_DecryptInit_ex2(context.get(), algorithm, key.data(), sealed.data(), nullptr) != 1 ||
      EVP_DecryptUpdate(context.get(), nullptr, &n, aad.data(), static_cast<int>(aad.size())) != 1 ||
      EVP_DecryptUpdate(context.get(), plain.bytes().data(), &n, text.data(), static_cast<int>(text.size())) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, const_cast<std::uint8_t*>(tag.data())) !=
          1 ||
      EVP_DecryptFinal_ex(context.get(), none, &n) != 1) {
    return LibraryRefusal(CKR_DEVICE_ERROR, "sealed record is damaged");
  }
  return plain;
}

}  // namespace cmkd::sim

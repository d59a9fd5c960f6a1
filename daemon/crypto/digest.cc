// SHA-256, HMAC and HKDF from OpenSSL. Algorithms are fetched once and contexts kept per thread: in OpenSSL 3 both cost
// several times what hashing a record costs.
#include "daemon/crypto/digest.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "daemon/crypto/fatal.h"

namespace cmkd::daemon {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
  void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
  void operator()(EVP_KDF* kdf) const { EVP_KDF_free(kdf); }
};
using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeContext>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, FreeContext>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, FreeContext>;

template <class T>
T* Must(T* made, const char* step) {
  if (made == nullptr) CryptoFailed(step);
  return made;
}

void Must(int result, const char* step) {
  if (result != 1) CryptoFailed(step);
}

const EVP_MD* Sha256Algorithm() {
  static const EVP_MD* const algorithm = Must(EVP_MD_fetch(nullptr, "SHA256", nullptr), "SHA-256 fetch");
  return algorithm;
}

EVP_MAC* HmacAlgorithm() {
  static EVP_MAC* const algorithm = Must(EVP_MAC_fetch(nullptr, "HMAC", nullptr), "HMAC fetch");
  return algorithm;
}

DigestContext NewDigestContext() { return DigestContext(Must(EVP_MD_CTX_new(), "digest context")); }

void Begin(EVP_MD_CTX* context) { Must(EVP_DigestInit_ex2(context, Sha256Algorithm(), nullptr), "SHA-256 begin"); }

void Feed(EVP_MD_CTX* context, ByteView data) {
  if (!data.empty()) Must(EVP_DigestUpdate(context, data.data(), data.size()), "SHA-256 update");
}

Digest End(EVP_MD_CTX* context) {
  Digest digest;
  Must(EVP_DigestFinal_ex(context, digest.data(), nullptr), "SHA-256 end");
  return digest;
}

OSSL_PARAM DigestName(const char* parameter) {
  return OSSL_PARAM_construct_utf8_string(parameter, const_cast<char*>("SHA256"), 0);
}

}  // namespace

Digest Sha256(ByteView data) { return Sha256({data}); }

Digest Sha256(std::initializer_list<ByteView> pieces) {
  thread_local const DigestContext context = NewDigestContext();
  Begin(context.get());
  for (const ByteView piece : pieces) Feed(context.get(), piece);
  return End(context.get());
}

Digest HmacSha256(ByteView key, std::initializer_list<ByteView> pieces) {
  thread_local const MacContext context(Must(EVP_MAC_CTX_new(HmacAlgorithm()), "HMAC context"));
  static constexpr std::uint8_t kNoKey = 0;  // a null key would mean "the one before"
  const OSSL_PARAM parameters[] = {DigestName(OSSL_MAC_PARAM_DIGEST), OSSL_PARAM_construct_end()};
  const std::uint8_t* bytes = key.empty() ? &kNoKey : key.data();
  Must(EVP_MAC_init(context.get(), bytes, key.size(), parameters), "HMAC begin");
  for (const ByteView piece : pieces) {
    if (!piece.empty()) Must(EVP_MAC_update(context.get(), piece.data(), piece.size()), "HMAC update");
  }
  Digest mac;
  std::size_t size = 0;
  Must(EVP_MAC_final(context.get(), mac.data(), &size, mac.size()), "HMAC end");
  return mac;
}

SecretBytes DeriveKey(ByteView root, std::string_view label, std::size_t size) {
  const std::unique_ptr<EVP_KDF, FreeContext> kdf(Must(EVP_KDF_fetch(nullptr, "HKDF", nullptr), "HKDF fetch"));
  const KdfContext context(Must(EVP_KDF_CTX_new(kdf.get()), "HKDF context"));
  const OSSL_PARAM parameters[] = {
      DigestName(OSSL_KDF_PARAM_DIGEST),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<std::uint8_t*>(root.data()), root.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, const_cast<char*>(label.data()), label.size()),
      OSSL_PARAM_construct_end()};
  SecretBytes key(size);
  Must(EVP_KDF_derive(context.get(), key.bytes().data(), size, parameters), "HKDF");
  return key;
}

struct Sha256Stream::State {
  DigestContext context = NewDigestContext();
};

Sha256Stream::Sha256Stream() : state_(std::make_unique<State>()) { Begin(state_->context.get()); }
Sha256Stream::~Sha256Stream() = default;
Sha256Stream::Sha256Stream(Sha256Stream&&) noexcept = default;
Sha256Stream& Sha256Stream::operator=(Sha256Stream&&) noexcept = default;

Sha256Stream& Sha256Stream::Update(ByteView data) {
  Feed(state_->context.get(), data);
  return *this;
}

Digest Sha256Stream::Finish() {
  const Digest digest = End(state_->context.get());
  Begin(state_->context.get());
  return digest;
}

}  // namespace cmkd::daemon

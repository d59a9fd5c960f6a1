// OpenSSL reads and writes the key.
#include "daemon/crypto/private_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

namespace cmkd::daemon {

namespace {

template <class T, void (*free_it)(T*)>
using Owned = std::unique_ptr<T, decltype([](T* pointer) { free_it(pointer); })>;

// DER that OpenSSL allocated: wiped when it goes.
class Der {
 public:
  Der() = default;
  ~Der() {
    if (bytes_ != nullptr && length_ > 0) ::OPENSSL_cleanse(bytes_, static_cast<std::size_t>(length_));
    ::OPENSSL_free(bytes_);
  }
  Der(const Der&) = delete;
  Der& operator=(const Der&) = delete;
  unsigned char** out() { return &bytes_; }
  bool Set(int length) {
    length_ = length;
    return length > 0;
  }
  ByteView view() const { return {bytes_, static_cast<std::size_t>(length_)}; }

 private:
  unsigned char* bytes_ = nullptr;
  int length_ = 0;
};

}  // namespace

std::optional<EncodedPair> EncodePair(ByteView private_key) {
  const unsigned char* at = private_key.data();
  const Owned<EVP_PKEY, ::EVP_PKEY_free> key(::d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(private_key.size())));
  if (key == nullptr) return std::nullopt;
  const Owned<PKCS8_PRIV_KEY_INFO, ::PKCS8_PRIV_KEY_INFO_free> info(::EVP_PKEY2PKCS8(key.get()));
  Der private_der, public_der;
  if (info == nullptr || !private_der.Set(::i2d_PKCS8_PRIV_KEY_INFO(info.get(), private_der.out())))
    return std::nullopt;
  if (!public_der.Set(::i2d_PUBKEY(key.get(), public_der.out()))) return std::nullopt;
  return EncodedPair{SecretBytes(private_der.view()), ToBytes(public_der.view())};
}

}  // namespace cmkd::daemon

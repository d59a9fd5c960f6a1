// OpenSSL's id-aes256-wrap-pad.
#include "daemon/crypto/key_wrap.h"

#include <openssl/evp.h>

#include <memory>

namespace cmkd::daemon {

namespace {

constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kWrappedMax = 8192;

}  // namespace

std::optional<SecretBytes> UnwrapPadded(ByteView key, ByteView wrapped) {
  if (key.size() != kKeyBytes || wrapped.size() < 16 || wrapped.size() % 8 != 0 || wrapped.size() > kWrappedMax)
    return std::nullopt;
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&::EVP_CIPHER_CTX_free)> context(::EVP_CIPHER_CTX_new(),
                                                                                  &::EVP_CIPHER_CTX_free);
  if (context == nullptr) return std::nullopt;
  ::EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  if (::EVP_DecryptInit_ex(context.get(), ::EVP_aes_256_wrap_pad(), nullptr, key.data(), nullptr) != 1)
    return std::nullopt;
  SecretBytes plain(wrapped.size());
  int length = 0;
  const int done = ::EVP_DecryptUpdate(context.get(), plain.bytes().data(), &length, wrapped.data(),
                                       static_cast<int>(wrapped.size()));
  if (done != 1 || length <= 0) return std::nullopt;
  return SecretBytes(plain.view().first(static_cast<std::size_t>(length)));
}

}  // namespace cmkd::daemon

// OAEP by OpenSSL's own constant-time check.
#define OPENSSL_SUPPRESS_DEPRECATED  // the padding functions have no replacement for blocks that come from elsewhere
#include "daemon/crypto/oaep.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <string>

namespace cmkd::daemon {

std::optional<SecretBytes> RemoveOaep(ByteView block, std::string_view hash, std::string_view mgf_hash,
                                      ByteView label) {
  const EVP_MD* digest = EVP_get_digestbyname(std::string(hash).c_str());
  const EVP_MD* mgf_digest = EVP_get_digestbyname(std::string(mgf_hash).c_str());
  if (digest == nullptr || mgf_digest == nullptr || block.empty() || block.size() > 4096 || label.size() > 65536)
    return std::nullopt;
  SecretBytes message(block.size());
  const int size = static_cast<int>(block.size());
  const int length =
      RSA_padding_check_PKCS1_OAEP_mgf1(message.bytes().data(), size, block.data(), size, size, label.data(),
                                        static_cast<int>(label.size()), digest, mgf_digest);
  if (length < 0) return std::nullopt;
  message.Truncate(static_cast<std::size_t>(length));
  return message;
}

}  // namespace cmkd::daemon

// OpenSSL's two generators behind the functions of random.h.
#include "daemon/crypto/random.h"

#include <openssl/rand.h>

#include "daemon/crypto/fatal.h"

namespace cmkd::daemon {

void FillRandom(MutableBytes out) {
  if (!out.empty() && RAND_bytes_ex(nullptr, out.data(), out.size(), 0) != 1) CryptoFailed("public random bytes");
}

void FillSecretRandom(MutableBytes out) {
  if (!out.empty() && RAND_priv_bytes_ex(nullptr, out.data(), out.size(), 0) != 1) CryptoFailed("secret random bytes");
}

Id16 RandomId() {
  Id16 id;
  FillRandom(id);
  return id;
}

SecretBytes RandomKey(std::size_t size) {
  SecretBytes key(size);
  FillSecretRandom(key.bytes());
  return key;
}

}  // namespace cmkd::daemon

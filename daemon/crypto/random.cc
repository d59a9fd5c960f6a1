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

// One question of the generator costs as much for 32 ids as for one, and an id is no secret.
Id16 RandomId() {
  thread_local std::array<Id16, 32> drawn;
  thread_local std::size_t left = 0;
  if (left == 0) {
    FillRandom({drawn.front().data(), sizeof drawn});
    left = drawn.size();
  }
  return drawn[--left];
}

SecretBytes RandomKey(std::size_t size) {
  SecretBytes key(size);
  FillSecretRandom(key.bytes());
  return key;
}

}  // namespace cmkd::daemon

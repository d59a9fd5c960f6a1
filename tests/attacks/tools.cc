// What an attacker computes for himself.
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "tests/attacks/bench.h"

namespace cmkd::attacks {
namespace {

const EVP_CIPHER* Ecb(std::size_t bytes) {
  return bytes == 16 ? EVP_aes_128_ecb() : bytes == 24 ? EVP_aes_192_ecb() : EVP_aes_256_ecb();
}
const EVP_CIPHER* Cbc(std::size_t bytes) {
  return bytes == 16 ? EVP_aes_128_cbc() : bytes == 24 ? EVP_aes_192_cbc() : EVP_aes_256_cbc();
}
const EVP_CIPHER* GcmCipher(std::size_t bytes) {
  return bytes == 16 ? EVP_aes_128_gcm() : bytes == 24 ? EVP_aes_192_gcm() : EVP_aes_256_gcm();
}

struct Context {
  Context() : cipher(EVP_CIPHER_CTX_new()) {}
  ~Context() { EVP_CIPHER_CTX_free(cipher); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  EVP_CIPHER_CTX* cipher;
};

Bytes Unpadded(const EVP_CIPHER* cipher, const Bytes& key, const Bytes& iv, const Bytes& data) {
  const Context context;
  Bytes out(data.size() + 32);
  int done = 0, last = 0;
  if (EVP_DecryptInit_ex(context.cipher, cipher, nullptr, key.data(), iv.empty() ? nullptr : iv.data()) != 1) return {};
  EVP_CIPHER_CTX_set_padding(context.cipher, 0);
  if (EVP_DecryptUpdate(context.cipher, out.data(), &done, data.data(), static_cast<int>(data.size())) != 1) return {};
  if (EVP_DecryptFinal_ex(context.cipher, out.data() + done, &last) != 1) return {};
  out.resize(static_cast<std::size_t>(done + last));
  return out;
}

EVP_PKEY* Pkey(void* key) { return static_cast<EVP_PKEY*>(key); }

Bytes Number(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return {};
  Bytes bytes(static_cast<std::size_t>(BN_num_bytes(number)));
  BN_bn2bin(number, bytes.data());
  BN_free(number);
  return bytes;
}

struct Numbers {
  Numbers() : context(BN_CTX_new()) {}
  ~Numbers() {
    for (BIGNUM* number : made) BN_free(number);
    BN_CTX_free(context);
  }
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;
  BIGNUM* New() {
    made.push_back(BN_new());
    return made.back();
  }
  BIGNUM* Prime(int bits) {
    BIGNUM* prime = New();
    BN_generate_prime_ex(prime, bits, 0, nullptr, nullptr, nullptr);
    return prime;
  }
  // The product of two numbers, as bytes.
  Bytes Product(const BIGNUM* a, const BIGNUM* b) {
    BIGNUM* n = New();
    BN_mul(n, a, b, context);
    Bytes bytes(static_cast<std::size_t>(BN_num_bytes(n)));
    BN_bn2bin(n, bytes.data());
    return bytes;
  }
  BN_CTX* context;
  std::vector<BIGNUM*> made;
};

bool IsSmallPrime(unsigned n) {
  for (unsigned d = 2; d * d <= n; ++d) {
    if (n % d == 0) return false;
  }
  return n > 1;
}

// A prime of `bits` as the flawed generator makes them: M is the product of the first `count` primes.
BIGNUM* RocaPrime(Numbers& numbers, int bits, int count) {
  BIGNUM* m = numbers.New();
  BN_one(m);
  for (unsigned n = 2; count > 0; ++n) {
    if (IsSmallPrime(n)) {
      BN_mul_word(m, n);
      --count;
    }
  }
  BIGNUM *base = numbers.New(), *a = numbers.New(), *k = numbers.New(), *p = numbers.New();
  BN_set_word(base, 65537);
  do {
    BN_rand(a, 60, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY);
    BN_rand(k, bits - BN_num_bits(m), BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ANY);
    BN_mod_exp(a, base, a, m, numbers.context);
    BN_mul(p, k, m, numbers.context);
    BN_add(p, p, a);
  } while (BN_check_prime(p, numbers.context, nullptr) != 1);
  return p;
}

}  // namespace

Bytes EvenModulus() {
  Numbers numbers;
  Bytes n = numbers.Product(numbers.Prime(1024), numbers.Prime(1024));
  n.back() = static_cast<std::uint8_t>(n.back() & 0xFE);
  return n;
}

Bytes ModulusWithSmallFactor() {
  Numbers numbers;
  BIGNUM* small = numbers.New();
  BN_set_word(small, 641);
  return numbers.Product(numbers.Prime(2039), small);
}

Bytes ModulusOfClosePrimes() {
  Numbers numbers;
  BIGNUM* p = numbers.Prime(1024);
  BIGNUM* q = numbers.New();
  BN_copy(q, p);
  do {
    BN_add_word(q, 2);
  } while (BN_check_prime(q, numbers.context, nullptr) != 1);
  return numbers.Product(p, q);
}

Bytes RocaModulus() {
  Numbers numbers;
  // 126 primes, as for keys of 2048 bits.
  return numbers.Product(RocaPrime(numbers, 1024, 126), RocaPrime(numbers, 1024, 126));
}

Bytes AesGcm(const Bytes& key, const Bytes& iv, const Bytes& data) {
  const Context context;
  Bytes out(data.size() + 16);
  int done = 0, last = 0;
  EVP_EncryptInit_ex(context.cipher, GcmCipher(key.size()), nullptr, nullptr, nullptr);
  EVP_CIPHER_CTX_ctrl(context.cipher, EVP_CTRL_GCM_SET_IVLEN, static_cast<int>(iv.size()), nullptr);
  EVP_EncryptInit_ex(context.cipher, nullptr, nullptr, key.data(), iv.data());
  EVP_EncryptUpdate(context.cipher, out.data(), &done, data.data(), static_cast<int>(data.size()));
  EVP_EncryptFinal_ex(context.cipher, out.data() + done, &last);
  EVP_CIPHER_CTX_ctrl(context.cipher, EVP_CTRL_GCM_GET_TAG, 16, out.data() + data.size());
  return out;
}

Bytes AesCbcDecrypt(const Bytes& key, const Bytes& iv, const Bytes& data) {
  return Unpadded(Cbc(key.size()), key, iv, data);
}

BlockDecrypt AesBlockDecrypt(const Bytes& key) {
  return [key](const Bytes& block) { return Unpadded(Ecb(key.size()), key, {}, block); };
}

Bytes UndoKeyWrap(const BlockDecrypt& decrypt, const Bytes& blob) {
  if (blob.size() < 24 || blob.size() % 8 != 0) return {};
  const std::size_t n = blob.size() / 8 - 1;
  Bytes a(blob.begin(), blob.begin() + 8);
  Bytes r(blob.begin() + 8, blob.end());
  for (std::size_t j = 6; j-- > 0;) {
    for (std::size_t i = n; i > 0; --i) {
      const std::uint64_t t = n * j + i;
      Bytes block = a;
      for (std::size_t b = 0; b < 8; ++b) block[b] = static_cast<std::uint8_t>(block[b] ^ (t >> (56 - 8 * b)));
      const auto half = r.begin() + static_cast<std::ptrdiff_t>(8 * (i - 1));
      block.insert(block.end(), half, half + 8);
      const Bytes plain = decrypt(block);
      if (plain.size() != 16) return {};
      a.assign(plain.begin(), plain.begin() + 8);
      std::copy(plain.begin() + 8, plain.end(), half);
    }
  }
  return r;
}

Bytes MakeKeyWrap(const BlockDecrypt& encrypt, const Bytes& key) {
  const std::size_t n = key.size() / 8;
  Bytes a(8, 0xA6);
  Bytes r = key;
  for (std::size_t j = 0; j < 6; ++j) {
    for (std::size_t i = 1; i <= n; ++i) {
      Bytes block = a;
      const auto half = r.begin() + static_cast<std::ptrdiff_t>(8 * (i - 1));
      block.insert(block.end(), half, half + 8);
      const Bytes sealed = encrypt(block);
      if (sealed.size() != 16) return {};
      a.assign(sealed.begin(), sealed.begin() + 8);
      std::copy(sealed.begin() + 8, sealed.end(), half);
      const std::uint64_t t = n * j + i;
      for (std::size_t b = 0; b < 8; ++b) a[b] = static_cast<std::uint8_t>(a[b] ^ (t >> (56 - 8 * b)));
    }
  }
  a.insert(a.end(), r.begin(), r.end());
  return a;
}

OwnRsa::OwnRsa(unsigned bits) : key_(EVP_RSA_gen(bits)) {}
OwnRsa::~OwnRsa() { EVP_PKEY_free(Pkey(key_)); }
Bytes OwnRsa::modulus() const { return Number(Pkey(key_), "n"); }
Bytes OwnRsa::exponent() const { return Number(Pkey(key_), "e"); }
Bytes OwnRsa::DecryptOaep(const Bytes& data) const { return Decrypt(data, RSA_PKCS1_OAEP_PADDING); }
Bytes OwnRsa::DecryptPkcs1(const Bytes& data) const { return Decrypt(data, RSA_PKCS1_PADDING); }

Bytes OwnRsa::Decrypt(const Bytes& data, int padding) const {
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new(Pkey(key_), nullptr);
  Bytes out(1024);
  std::size_t length = out.size();
  EVP_PKEY_decrypt_init(context);
  EVP_PKEY_CTX_set_rsa_padding(context, padding);
  const bool done = EVP_PKEY_decrypt(context, out.data(), &length, data.data(), data.size()) == 1;
  EVP_PKEY_CTX_free(context);
  out.resize(done ? length : 0);
  return out;
}

Bytes P256Parameters() { return {0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07}; }

Bytes P256Generator() {
  // SEC 2 section 2.4.2, uncompressed.
  return {0x04, 0x6B, 0x17, 0xD1, 0xF2, 0xE1, 0x2C, 0x42, 0x47, 0xF8, 0xBC, 0xE6, 0xE5, 0x63, 0xA4, 0x40, 0xF2,
          0x77, 0x03, 0x7D, 0x81, 0x2D, 0xEB, 0x33, 0xA0, 0xF4, 0xA1, 0x39, 0x45, 0xD8, 0x98, 0xC2, 0x96, 0x4F,
          0xE3, 0x42, 0xE2, 0xFE, 0x1A, 0x7F, 0x9B, 0x8E, 0xE7, 0xEB, 0x4A, 0x7C, 0x0F, 0x9E, 0x16, 0x2B, 0xCE,
          0x33, 0x57, 0x6B, 0x31, 0x5E, 0xCE, 0xCB, 0xB6, 0x40, 0x68, 0x37, 0xBF, 0x51, 0xF5};
}

Bytes Random(std::size_t bytes) {
  Bytes made(bytes);
  RAND_bytes(made.data(), static_cast<int>(bytes));
  return made;
}

}  // namespace cmkd::attacks

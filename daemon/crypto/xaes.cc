// XAES-256-GCM over OpenSSL's AES. The key of one record is CMAC's first steps written out (C2SP XAES-256-GCM,
// "Overview"): two blocks of AES under the long-lived key.
#include "daemon/crypto/xaes.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <climits>
#include <memory>

#include "daemon/crypto/fatal.h"

namespace cmkd::daemon {
namespace {

using Block = std::array<std::uint8_t, 16>;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

void Must(int result, const char* step) {
  if (result != 1) CryptoFailed(step);
}

// A context with its algorithm set, kept per thread: making one costs more than sealing a record.
CipherContext NewContext(const char* name, bool encrypt) {
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, name, nullptr);
  CipherContext context(EVP_CIPHER_CTX_new());
  if (cipher == nullptr || context == nullptr) CryptoFailed(name);
  Must(EVP_CipherInit_ex2(context.get(), cipher, nullptr, nullptr, encrypt ? 1 : 0, nullptr), name);
  EVP_CIPHER_free(cipher);  // the context holds it
  return context;
}

int Length(std::size_t size) {
  if (size > INT_MAX) CryptoFailed("length of a record");
  return static_cast<int>(size);
}

void Update(EVP_CIPHER_CTX* context, std::uint8_t* out, ByteView in) {
  int written = 0;
  if (!in.empty()) Must(EVP_CipherUpdate(context, out, &written, in.data(), Length(in.size())), "AES update");
}

// Doubling in GF(2^128), as CMAC's subkey K1 (SP 800-38B, 6.1); without a branch on the secret.
Block Double(const Block& block) {
  Block doubled;
  for (std::size_t i = 0; i < 16; ++i) {
    const int next = i + 1 < 16 ? block[i + 1] >> 7 : 0;
    doubled[i] = static_cast<std::uint8_t>(block[i] << 1 | next);
  }
  doubled[15] = static_cast<std::uint8_t>(doubled[15] ^ (0x87 & -(block[0] >> 7)));
  return doubled;
}

// The long-lived key that a thread sealed or opened with last, expanded, and CMAC's subkey of it. Records come many at
// once under one key, and to expand it takes as long as the rest of a short record's key.
struct LongKey {
  ~LongKey() { Forget(); }
  void Forget() {
    Wipe(key);
    Wipe(k1);
    known = false;
  }
  void Become(ByteView wanted) {
    if (wanted.size() != key.size()) CryptoFailed("AES key");
    if (known && CRYPTO_memcmp(key.data(), wanted.data(), key.size()) == 0) return;
    Forget();
    std::copy_n(wanted.begin(), key.size(), key.begin());
    Must(EVP_EncryptInit_ex2(context.get(), nullptr, key.data(), nullptr, nullptr), "AES key");
    EVP_CIPHER_CTX_set_padding(context.get(), 0);
    Update(context.get(), k1.data(), Block{});
    k1 = Double(k1);
    known = true;
  }

  const CipherContext context = NewContext("AES-256-ECB", true);
  std::array<std::uint8_t, 32> key;
  Block k1;
  bool known = false;
};

// The key of one record, wiped when it goes.
struct RecordKey {
  RecordKey(ByteView key, ByteView nonce) {
    thread_local LongKey long_key;
    long_key.Become(key);
    std::array<std::uint8_t, 32> input{};
    for (std::size_t half = 0; half < 2; ++half) {
      std::uint8_t* block = input.data() + 16 * half;
      block[1] = static_cast<std::uint8_t>(half + 1);  // SP 800-108 counter, 16 bits
      block[2] = 'X';
      std::copy_n(nonce.begin(), 12, block + 4);
      for (std::size_t i = 0; i < 16; ++i) block[i] = static_cast<std::uint8_t>(block[i] ^ long_key.k1[i]);
    }
    Update(long_key.context.get(), bytes.data(), input);
    Wipe(input);
  }
  ~RecordKey() { Wipe(bytes); }
  RecordKey(const RecordKey&) = delete;
  RecordKey& operator=(const RecordKey&) = delete;

  std::array<std::uint8_t, 32> bytes;
};

}  // namespace

void XaesSeal(ByteView key, ByteView nonce, ByteView associated, ByteView plain, std::uint8_t* out) {
  thread_local const CipherContext context = NewContext("AES-256-GCM", true);
  const RecordKey record_key(key, nonce);
  Must(EVP_EncryptInit_ex2(context.get(), nullptr, record_key.bytes.data(), nonce.data() + 12, nullptr), "GCM begin");
  Update(context.get(), nullptr, associated);
  Update(context.get(), out, plain);
  int rest = 0;
  Must(EVP_EncryptFinal_ex(context.get(), out + plain.size(), &rest), "GCM end");
  Must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kXaesTagBytes, out + plain.size()), "GCM tag");
}

bool XaesOpen(ByteView key, ByteView nonce, ByteView associated, ByteView sealed, std::uint8_t* out) {
  if (sealed.size() < kXaesTagBytes) return false;
  thread_local const CipherContext context = NewContext("AES-256-GCM", false);
  const RecordKey record_key(key, nonce);
  const ByteView ciphertext = sealed.first(sealed.size() - kXaesTagBytes);
  Block tag;
  std::copy_n(sealed.end() - kXaesTagBytes, kXaesTagBytes, tag.begin());
  Must(EVP_DecryptInit_ex2(context.get(), nullptr, record_key.bytes.data(), nonce.data() + 12, nullptr), "GCM begin");
  Must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kXaesTagBytes, tag.data()), "GCM tag");
  Update(context.get(), nullptr, associated);
  Update(context.get(), out, ciphertext);
  std::uint8_t nothing[16];
  int rest = 0;
  if (EVP_DecryptFinal_ex(context.get(), nothing, &rest) == 1) return true;
  Wipe({out, ciphertext.size()});
  return false;
}

}  // namespace cmkd::daemon

// See openssl.h.
#include "firmware_sim/openssl.h"

#include <openssl/err.h>

#include <new>
#include <string>

#include "pkcs11/spec/vendor.h"

namespace cmkd::sim {
namespace {

using spec::Recipe;

// The library's name of a mode; that of the cipher goes before it.
struct ModeName {
  Recipe recipe;
  const char* name;
};
constexpr ModeName kModes[] = {
    {Recipe::kEcb, "ECB"},    {Recipe::kCbc, "CBC"},   {Recipe::kCbcPad, "CBC"},  {Recipe::kCtr, "CTR"},
    {Recipe::kOfb, "OFB"},    {Recipe::kCfb1, "CFB1"}, {Recipe::kCfb8, "CFB8"},   {Recipe::kCfb128, "CFB"},
    {Recipe::kCfb64, "CFB"},  {Recipe::kXts, "XTS"},   {Recipe::kCts, "CBC-CTS"}, {Recipe::kAesGcm, "GCM"},
    {Recipe::kAesCcm, "CCM"},
};

// A block cipher with a length of its key.
struct CipherName {
  CK_KEY_TYPE type;
  std::size_t key_bytes;
  const char* name;
};
constexpr CipherName kCiphers[] = {
    {CKK_AES, 16, "AES-128"},     {CKK_AES, 24, "AES-192"},     {CKK_AES, 32, "AES-256"},
    {CKK_AES_XTS, 32, "AES-128"}, {CKK_AES_XTS, 64, "AES-256"}, {CKK_SM4, 16, "SM4"},
    {CKK_DES, 8, "DES-EDE3"},     {CKK_DES2, 16, "DES-EDE3"},   {CKK_DES3, 24, "DES-EDE3"},
};

struct DigestName {
  CK_MECHANISM_TYPE type;
  const char* name;
};
constexpr DigestName kDigests[] = {
    {CKM_SHA_1, "SHA1"},
    {CKM_SHA224, "SHA224"},
    {CKM_SHA256, "SHA256"},
    {CKM_SHA384, "SHA384"},
    {CKM_SHA512, "SHA512"},
    {CKM_SHA512_224, "SHA512-224"},
    {CKM_SHA512_256, "SHA512-256"},
    {CKM_SHA3_224, "SHA3-224"},
    {CKM_SHA3_256, "SHA3-256"},
    {CKM_SHA3_384, "SHA3-384"},
    {CKM_SHA3_512, "SHA3-512"},
    {CKM_BLAKE2B_512, "BLAKE2B-512"},
    {CKM_SM3, "SM3"},
    {CKM_MD5, "MD5"},
};

struct MacName {
  Recipe recipe;
  const char* name;
};
constexpr MacName kMacs[] = {
    {Recipe::kHmac, "HMAC"}, {Recipe::kCmac, "CMAC"}, {Recipe::kGmac, "GMAC"}, {Recipe::kPoly1305, "POLY1305"}};

// Everything fetched once. Fetching on each use costs more than the operation on a short input.
struct Algorithms {
  OSSL_LIB_CTX* library = OSSL_LIB_CTX_new();
  const EVP_CIPHER* ciphers[std::size(kCiphers)][std::size(kModes)];
  const EVP_CIPHER* chacha20;
  const EVP_CIPHER* chacha20_poly1305;
  const EVP_MD* digests[std::size(kDigests)];
  const EVP_MD* shake_128;
  const EVP_MD* shake_256;
  EVP_MAC* macs[std::size(kMacs)];

  Algorithms() {
    if (library == nullptr) throw std::bad_alloc();
    for (std::size_t i = 0; i < std::size(kCiphers); ++i) {
      for (std::size_t j = 0; j < std::size(kModes); ++j) {
        const std::string name = std::string(kCiphers[i].name) + "-" + kModes[j].name;
        ciphers[i][j] = EVP_CIPHER_fetch(library, name.c_str(), "");
      }
    }
    chacha20 = EVP_CIPHER_fetch(library, "ChaCha20", "");
    chacha20_poly1305 = EVP_CIPHER_fetch(library, "ChaCha20-Poly1305", "");
    for (std::size_t i = 0; i < std::size(kDigests); ++i) digests[i] = EVP_MD_fetch(library, kDigests[i].name, "");
    shake_128 = EVP_MD_fetch(library, "SHAKE-128", "");
    shake_256 = EVP_MD_fetch(library, "SHAKE-256", "");
    for (std::size_t i = 0; i < std::size(kMacs); ++i) macs[i] = EVP_MAC_fetch(library, kMacs[i].name, "");
    ERR_clear_error();
  }
};

Algorithms& All() {
  static Algorithms* const all = new Algorithms;  // leaked: see Library()
  return *all;
}

}  // namespace

OSSL_LIB_CTX* Library() { return All().library; }

const EVP_CIPHER* CipherAlgorithm(Recipe recipe, CK_KEY_TYPE key_type, std::size_t key_bytes) {
  if (recipe == Recipe::kChacha20) return All().chacha20;
  if (recipe == Recipe::kChacha20Poly1305) return All().chacha20_poly1305;
  for (std::size_t i = 0; i < std::size(kCiphers); ++i) {
    if (kCiphers[i].type != key_type || kCiphers[i].key_bytes != key_bytes) continue;
    for (std::size_t j = 0; j < std::size(kModes); ++j) {
      if (kModes[j].recipe == recipe) return All().ciphers[i][j];
    }
  }
  return nullptr;
}

ByteView CipherKey(const Key& key, std::array<std::uint8_t, 24>& room) {
  const ByteView value = key.part(Part::kValue);
  if (key.type() != CKK_DES && key.type() != CKK_DES2) return value;
  for (std::size_t i = 0; i < room.size(); ++i) room[i] = value[i % value.size()];
  return room;
}

const EVP_MD* DigestAlgorithm(CK_MECHANISM_TYPE digest) {
  for (std::size_t i = 0; i < std::size(kDigests); ++i) {
    if (kDigests[i].type == digest) return All().digests[i];
  }
  return nullptr;
}

const EVP_MD* ShakeAlgorithm(CK_MECHANISM_TYPE derivation) {
  return derivation == CKM_SHAKE_128_KEY_DERIVATION ? All().shake_128 : All().shake_256;
}

EVP_MAC* MacAlgorithm(Recipe recipe) {
  for (std::size_t i = 0; i < std::size(kMacs); ++i) {
    if (kMacs[i].recipe == recipe) return All().macs[i];
  }
  return nullptr;
}

Failure<Error> LibraryFailure(const char* what) { return LibraryRefusal(CKR_DEVICE_ERROR, what); }

Failure<Error> LibraryRefusal(CK_RV rv, const char* what) {
  ERR_clear_error();
  return Fail(rv, what);
}

BigNumber ToNumber(ByteView bytes) {
  return BigNumber(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
}

void ReleaseEngine::operator()(Engine* engine) const { delete engine; }

}  // namespace cmkd::sim

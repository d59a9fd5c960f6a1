// See openssl.h.
#include "firmware_sim/openssl.h"

#include <openssl/err.h>

#include <new>

namespace cmkd::sim {
namespace {

using spec::Recipe;

struct CipherRow {
  Recipe recipe;
  const char* names[3];  // for keys of 16, 24 and 32 bytes
};
constexpr CipherRow kCiphers[] = {
    {Recipe::kAesEcb, {"AES-128-ECB", "AES-192-ECB", "AES-256-ECB"}},
    {Recipe::kAesCbc, {"AES-128-CBC", "AES-192-CBC", "AES-256-CBC"}},
    {Recipe::kAesCbcPad, {"AES-128-CBC", "AES-192-CBC", "AES-256-CBC"}},
    {Recipe::kAesCtr, {"AES-128-CTR", "AES-192-CTR", "AES-256-CTR"}},
    {Recipe::kAesGcm, {"AES-128-GCM", "AES-192-GCM", "AES-256-GCM"}},
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
};

// Everything fetched once. Fetching on each use costs more than the operation on a short input.
struct Algorithms {
  OSSL_LIB_CTX* library = OSSL_LIB_CTX_new();
  const EVP_CIPHER* ciphers[std::size(kCiphers)][3];
  const EVP_MD* digests[std::size(kDigests)];
  EVP_MAC* hmac;
  EVP_MAC* cmac;

  Algorithms() {
    if (library == nullptr) throw std::bad_alloc();
    for (std::size_t i = 0; i < std::size(kCiphers); ++i) {
      for (std::size_t j = 0; j < 3; ++j) ciphers[i][j] = EVP_CIPHER_fetch(library, kCiphers[i].names[j], "");
    }
    for (std::size_t i = 0; i < std::size(kDigests); ++i) digests[i] = EVP_MD_fetch(library, kDigests[i].name, "");
    hmac = EVP_MAC_fetch(library, "HMAC", "");
    cmac = EVP_MAC_fetch(library, "CMAC", "");
    ERR_clear_error();
  }
};

Algorithms& All() {
  static Algorithms* const all = new Algorithms;  // leaked: see Library()
  return *all;
}

}  // namespace

OSSL_LIB_CTX* Library() { return All().library; }

const EVP_CIPHER* AesAlgorithm(Recipe recipe, std::size_t key_bytes) {
  if (key_bytes != 16 && key_bytes != 24 && key_bytes != 32) return nullptr;
  for (std::size_t i = 0; i < std::size(kCiphers); ++i) {
    if (kCiphers[i].recipe == recipe) return All().ciphers[i][(key_bytes - 16) / 8];
  }
  return nullptr;
}

const EVP_MD* DigestAlgorithm(CK_MECHANISM_TYPE digest) {
  for (std::size_t i = 0; i < std::size(kDigests); ++i) {
    if (kDigests[i].type == digest) return All().digests[i];
  }
  return nullptr;
}

EVP_MAC* MacAlgorithm(Recipe recipe) { return recipe == Recipe::kAesCmac ? All().cmac : All().hmac; }

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

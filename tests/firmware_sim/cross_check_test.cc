// The device against OpenSSL used another way: what one makes the other must accept, over all hashes, masks, salts and
// lengths.
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <memory>

#include "firmware_sim/gcm_long_iv.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/mechanism_table.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

struct Hash {
  CK_MECHANISM_TYPE type;
  CK_RSA_PKCS_MGF_TYPE mgf;
  CK_MECHANISM_TYPE pss;
  CK_ULONG kdf;
  const char* name;
};
constexpr Hash kHashes[] = {
    {CKM_SHA_1, CKG_MGF1_SHA1, CKM_SHA1_RSA_PKCS_PSS, CKD_SHA1_KDF, "SHA1"},
    {CKM_SHA224, CKG_MGF1_SHA224, CKM_SHA224_RSA_PKCS_PSS, CKD_SHA224_KDF, "SHA224"},
    {CKM_SHA256, CKG_MGF1_SHA256, CKM_SHA256_RSA_PKCS_PSS, CKD_SHA256_KDF, "SHA256"},
    {CKM_SHA384, CKG_MGF1_SHA384, CKM_SHA384_RSA_PKCS_PSS, CKD_SHA384_KDF, "SHA384"},
    {CKM_SHA512, CKG_MGF1_SHA512, CKM_SHA512_RSA_PKCS_PSS, CKD_SHA512_KDF, "SHA512"},
    {CKM_SHA3_224, CKG_MGF1_SHA3_224, CKM_SHA3_224_RSA_PKCS_PSS, CKD_SHA3_224_KDF, "SHA3-224"},
    {CKM_SHA3_256, CKG_MGF1_SHA3_256, CKM_SHA3_256_RSA_PKCS_PSS, CKD_SHA3_256_KDF, "SHA3-256"},
    {CKM_SHA3_384, CKG_MGF1_SHA3_384, CKM_SHA3_384_RSA_PKCS_PSS, CKD_SHA3_384_KDF, "SHA3-384"},
    {CKM_SHA3_512, CKG_MGF1_SHA3_512, CKM_SHA3_512_RSA_PKCS_PSS, CKD_SHA3_512_KDF, "SHA3-512"},
};

using KeyPointer = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using ContextPointer = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;
using NumberPointer = std::unique_ptr<BIGNUM, decltype(&BN_free)>;

class CrossCheckTest : public DeviceTest {
 protected:
  // The public key as OpenSSL reads it from CKA_PUBLIC_KEY_INFO.
  KeyPointer Public(CK_OBJECT_HANDLE object) {
    const Bytes info = Attribute(object, CKA_PUBLIC_KEY_INFO);
    const std::uint8_t* at = info.data();
    return {d2i_PUBKEY(nullptr, &at, static_cast<long>(info.size())), EVP_PKEY_free};
  }
  static Bytes HashOf(const Hash& hash, const Bytes& text) {
    Bytes out(64);
    unsigned n = 0;
    EVP_Digest(text.data(), text.size(), out.data(), &n, EVP_get_digestbyname(hash.name), nullptr);
    out.resize(n);
    return out;
  }
};

TEST_F(CrossCheckTest, PssWithEveryHashAndSalt) {
  const Pair pair = GenerateRsa();
  const KeyPointer key = Public(pair.public_key);
  const Bytes text(100, 1);
  for (const Hash& hash : kHashes) {
    const Bytes digest = HashOf(hash, text);
    for (const CK_ULONG salt : {CK_ULONG{0}, CK_ULONG{20}, static_cast<CK_ULONG>(digest.size())}) {
      SCOPED_TRACE(std::string(hash.name) + " " + std::to_string(salt));
      const CK_RSA_PKCS_PSS_PARAMS parameter{hash.type, hash.mgf, salt};
      const Bytes signature = Sign(M(hash.pss, parameter), pair.private_key, text);
      ASSERT_EQ(rv, CKR_OK);
      const ContextPointer context(EVP_PKEY_CTX_new(key.get(), nullptr), EVP_PKEY_CTX_free);
      EVP_PKEY_verify_init(context.get());
      EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PSS_PADDING);
      EVP_PKEY_CTX_set_signature_md(context.get(), EVP_get_digestbyname(hash.name));
      EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), static_cast<int>(salt));
      EXPECT_EQ(EVP_PKEY_verify(context.get(), signature.data(), signature.size(), digest.data(), digest.size()), 1);
      EXPECT_EQ(Verify(M(CKM_RSA_PKCS_PSS, parameter), pair.public_key, digest, signature), CKR_OK);
      const CK_RSA_PKCS_PSS_PARAMS other{hash.type, hash.mgf, salt + 1};
      EXPECT_EQ(Verify(M(CKM_RSA_PKCS_PSS, other), pair.public_key, digest, signature), CKR_SIGNATURE_INVALID);
    }
  }
}

TEST_F(CrossCheckTest, PssRefusesWhatDoesNotFit) {
  const Pair pair = GenerateRsa();
  const CK_RSA_PKCS_PSS_PARAMS longest{CKM_SHA256, CKG_MGF1_SHA256, 256 - 32 - 2};
  const CK_RSA_PKCS_PSS_PARAMS too_long{CKM_SHA256, CKG_MGF1_SHA256, 256 - 32 - 1};
  const CK_RSA_PKCS_PSS_PARAMS other_hash{CKM_SHA384, CKG_MGF1_SHA384, 32};
  EXPECT_EQ(Sign(M(CKM_RSA_PKCS_PSS, longest), pair.private_key, Bytes(32)).size(), 256u);
  EXPECT_EQ(f->C_SignInit(session, M(CKM_RSA_PKCS_PSS, too_long), pair.private_key), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(f->C_SignInit(session, M(CKM_SHA256_RSA_PKCS_PSS, other_hash), pair.private_key),
            CKR_MECHANISM_PARAM_INVALID);
  Sign(M(CKM_RSA_PKCS_PSS, longest), pair.private_key, Bytes(31));
  EXPECT_EQ(rv, CKR_DATA_LEN_RANGE);
}

TEST_F(CrossCheckTest, OaepWithEveryPairOfHashAndMaskAndALabel) {
  const Pair pair = GenerateRsa();
  const KeyPointer key = Public(pair.public_key);
  const Bytes text(30, 5);
  Bytes label{'l', 'a', 'b', 'e', 'l'};
  for (const Hash& hash : kHashes) {
    for (const Hash& mask : kHashes) {
      SCOPED_TRACE(std::string(hash.name) + " " + mask.name);
      const CK_RSA_PKCS_OAEP_PARAMS parameter{hash.type, mask.mgf, CKZ_DATA_SPECIFIED, label.data(), label.size()};
      const ContextPointer context(EVP_PKEY_CTX_new(key.get(), nullptr), EVP_PKEY_CTX_free);
      EVP_PKEY_encrypt_init(context.get());
      EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING);
      EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), EVP_get_digestbyname(hash.name));
      EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), EVP_get_digestbyname(mask.name));
      EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), OPENSSL_memdup(label.data(), label.size()),
                                       static_cast<int>(label.size()));
      Bytes sealed(256);
      std::size_t n = sealed.size();
      ASSERT_EQ(EVP_PKEY_encrypt(context.get(), sealed.data(), &n, text.data(), text.size()), 1);
      EXPECT_EQ(Decrypt(M(CKM_RSA_PKCS_OAEP, parameter), pair.private_key, sealed), text);
      const Bytes own = Encrypt(M(CKM_RSA_PKCS_OAEP, parameter), pair.public_key, text);
      EXPECT_EQ(Decrypt(M(CKM_RSA_PKCS_OAEP, parameter), pair.private_key, own), text);
      const CK_RSA_PKCS_OAEP_PARAMS unlabelled{hash.type, mask.mgf, CKZ_DATA_SPECIFIED, nullptr, 0};
      Decrypt(M(CKM_RSA_PKCS_OAEP, unlabelled), pair.private_key, own);
      EXPECT_EQ(rv, CKR_ENCRYPTED_DATA_INVALID);
    }
  }
}

// CKM_RSA_X_509 is x^d and x^e and nothing else.
TEST_F(CrossCheckTest, RawRsaIsModularArithmetic) {
  const Pair pair = GenerateRsa(2048, T().Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true));
  const auto number = [](const Bytes& bytes) {
    return NumberPointer(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr), BN_free);
  };
  const NumberPointer n = number(Attribute(pair.public_key, CKA_MODULUS)),
                      e = number(Attribute(pair.public_key, CKA_PUBLIC_EXPONENT));
  const NumberPointer d = number(Attribute(pair.private_key, CKA_PRIVATE_EXPONENT));
  const auto power = [&](const Bytes& base, const BIGNUM* exponent) {
    const std::unique_ptr<BN_CTX, decltype(&BN_CTX_free)> context(BN_CTX_new(), BN_CTX_free);
    const NumberPointer x = number(base), y(BN_new(), BN_free);
    BN_mod_exp(y.get(), x.get(), exponent, n.get(), context.get());
    Bytes out(256);
    BN_bn2binpad(y.get(), out.data(), 256);
    return out;
  };
  const Bytes text(100, 0x42);
  EXPECT_EQ(Sign(M(CKM_RSA_X_509), pair.private_key, text), power(text, d.get()));
  EXPECT_EQ(Verify(M(CKM_RSA_X_509), pair.public_key, text, power(text, d.get())), CKR_OK);
  EXPECT_EQ(Encrypt(M(CKM_RSA_X_509), pair.public_key, text), power(text, e.get()));
  Bytes padded(156);
  padded.insert(padded.end(), text.begin(), text.end());
  EXPECT_EQ(Decrypt(M(CKM_RSA_X_509), pair.private_key, power(text, e.get())), padded);
  Sign(M(CKM_RSA_X_509), pair.private_key, Bytes(256, 0xff));  // above the modulus
  EXPECT_EQ(rv, CKR_DATA_INVALID);
  Sign(M(CKM_RSA_X_509), pair.private_key, Bytes(257));
  EXPECT_EQ(rv, CKR_DATA_LEN_RANGE);
}

TEST_F(CrossCheckTest, RsaPkcs1TakesDataUpToItsLimit) {
  const Pair pair = GenerateRsa();
  const Bytes longest(245, 1);
  EXPECT_EQ(Decrypt(M(CKM_RSA_PKCS), pair.private_key, Encrypt(M(CKM_RSA_PKCS), pair.public_key, longest)), longest);
  Encrypt(M(CKM_RSA_PKCS), pair.public_key, Bytes(246));
  EXPECT_EQ(rv, CKR_DATA_LEN_RANGE);
  const Bytes signature = Sign(M(CKM_RSA_PKCS), pair.private_key, longest);
  EXPECT_EQ(Verify(M(CKM_RSA_PKCS), pair.public_key, longest, signature), CKR_OK);
  Sign(M(CKM_RSA_PKCS), pair.private_key, Bytes(246));
  EXPECT_EQ(rv, CKR_DATA_LEN_RANGE);
  EXPECT_EQ(Verify(M(CKM_RSA_PKCS), pair.public_key, longest, Bytes(255)), CKR_SIGNATURE_LEN_RANGE);
}

// A wrong padding is not told: CKR_OK, the same bytes each time, others for each ciphertext.
TEST_F(CrossCheckTest, Pkcs1DecryptionDoesNotTellAWrongPadding) {
  const Pair pair = GenerateRsa();
  Bytes first = Encrypt(M(CKM_RSA_X_509), pair.public_key, Bytes(200, 1)), second = first;
  second = Encrypt(M(CKM_RSA_X_509), pair.public_key, Bytes(200, 2));
  const Bytes opened = Decrypt(M(CKM_RSA_PKCS), pair.private_key, first);
  EXPECT_EQ(rv, CKR_OK);
  EXPECT_EQ(Decrypt(M(CKM_RSA_PKCS), pair.private_key, first), opened);
  EXPECT_NE(Decrypt(M(CKM_RSA_PKCS), pair.private_key, second), opened);
  EXPECT_EQ(rv, CKR_OK);
  Decrypt(M(CKM_RSA_PKCS), pair.private_key, Bytes(255));
  EXPECT_EQ(rv, CKR_ENCRYPTED_DATA_LEN_RANGE);
}

TEST_F(CrossCheckTest, EcdsaSignaturesHoldForOpenSsl) {
  for (const char* curve : {"P-224", "P-256", "P-384", "P-521", "secp256k1", "brainpoolP224r1", "brainpoolP256r1",
                            "brainpoolP320r1", "brainpoolP384r1", "brainpoolP512r1"}) {
    const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, curve);
    ASSERT_EQ(rv, CKR_OK) << curve;
    const KeyPointer key = Public(pair.public_key);
    for (const Hash& hash : kHashes) {
      const Bytes digest = HashOf(hash, Bytes(10, 1));
      const Bytes raw = Sign(M(CKM_ECDSA), pair.private_key, digest);
      const int half = static_cast<int>(raw.size() / 2);
      ECDSA_SIG* signature = ECDSA_SIG_new();
      ECDSA_SIG_set0(signature, BN_bin2bn(raw.data(), half, nullptr), BN_bin2bn(raw.data() + half, half, nullptr));
      std::uint8_t* encoded = nullptr;
      const int bytes = i2d_ECDSA_SIG(signature, &encoded);
      const ContextPointer context(EVP_PKEY_CTX_new(key.get(), nullptr), EVP_PKEY_CTX_free);
      EVP_PKEY_verify_init(context.get());
      EXPECT_EQ(EVP_PKEY_verify(context.get(), encoded, static_cast<std::size_t>(bytes), digest.data(), digest.size()),
                1)
          << curve;
      OPENSSL_free(encoded);
      ECDSA_SIG_free(signature);
    }
  }
}

// PKCS#11 3.2 section 6.3.1: verification takes shorter halves, if both are equally long.
// Mechanisms that hash themselves, against a hash made by OpenSSL and the mechanism that takes one.
TEST_F(CrossCheckTest, Sha3SignaturesAreOverSha3) {
  const Pair ec = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256"), rsa = GenerateRsa();
  const KeyPointer key = Public(rsa.public_key);
  const Bytes text(77, 9);
  const struct {
    CK_MECHANISM_TYPE digest, ecdsa, rsa;
  } rows[] = {{CKM_SHA3_224, CKM_ECDSA_SHA3_224, CKM_SHA3_224_RSA_PKCS},
              {CKM_SHA3_256, CKM_ECDSA_SHA3_256, CKM_SHA3_256_RSA_PKCS},
              {CKM_SHA3_384, CKM_ECDSA_SHA3_384, CKM_SHA3_384_RSA_PKCS},
              {CKM_SHA3_512, CKM_ECDSA_SHA3_512, CKM_SHA3_512_RSA_PKCS}};
  for (const auto& row : rows) {
    const Hash& hash = *std::find_if(std::begin(kHashes), std::end(kHashes),
                                     [&](const Hash& candidate) { return candidate.type == row.digest; });
    SCOPED_TRACE(hash.name);
    const Bytes digest = HashOf(hash, text);
    EXPECT_EQ(Verify(M(CKM_ECDSA), ec.public_key, digest, Sign(M(row.ecdsa), ec.private_key, text)), CKR_OK);
    EXPECT_EQ(Verify(M(row.ecdsa), ec.public_key, text, Sign(M(CKM_ECDSA), ec.private_key, digest)), CKR_OK);
    const Bytes signature = Sign(M(row.rsa), rsa.private_key, text);
    const ContextPointer context(EVP_PKEY_CTX_new(key.get(), nullptr), EVP_PKEY_CTX_free);
    EVP_PKEY_verify_init(context.get());
    EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING);
    EVP_PKEY_CTX_set_signature_md(context.get(), EVP_get_digestbyname(hash.name));
    EXPECT_EQ(EVP_PKEY_verify(context.get(), signature.data(), signature.size(), digest.data(), digest.size()), 1);
    EXPECT_EQ(Verify(M(row.rsa), rsa.public_key, text, signature), CKR_OK);
  }
}

// ANSI X9.31: 6B BB … BA, the hash, 33 CC; the signature or its complement to the modulus, whichever is smaller.
TEST_F(CrossCheckTest, X931SignaturesHaveTheirForm) {
  const Pair rsa = GenerateRsa();
  const Bytes text(50, 1), digest = HashOf(kHashes[0], text);
  const Bytes signature = Sign(M(CKM_SHA1_RSA_X9_31), rsa.private_key, text);
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Verify(M(CKM_SHA1_RSA_X9_31), rsa.public_key, text, signature), CKR_OK);
  Bytes hashed = digest;
  hashed.push_back(0x33);
  EXPECT_EQ(Verify(M(CKM_RSA_X9_31), rsa.public_key, hashed, signature), CKR_OK);
  const Bytes block = Encrypt(M(CKM_RSA_X_509), rsa.public_key, signature);
  Bytes expected(256, 0xbb);
  expected[0] = 0x6b;
  expected[234] = 0xba;
  std::copy(digest.begin(), digest.end(), expected.begin() + 235);
  expected[255] = 0x33;
  Bytes with_trailer(expected.begin() + 1, expected.end());
  with_trailer.push_back(0xcc);
  with_trailer[0] = 0x6b;
  const Bytes n = Attribute(rsa.public_key, CKA_MODULUS);
  const NumberPointer modulus(BN_bin2bn(n.data(), 256, nullptr), BN_free),
      made(BN_bin2bn(block.data(), 256, nullptr), BN_free);
  Bytes other(256);
  const NumberPointer complement(BN_new(), BN_free);
  BN_sub(complement.get(), modulus.get(), made.get());
  BN_bn2binpad(complement.get(), other.data(), 256);
  EXPECT_TRUE(block == with_trailer || other == with_trailer);
}

TEST_F(CrossCheckTest, EcdsaVerificationTakesShorterHalves) {
  const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256");
  const Bytes hash(32, 1);
  Bytes signature;
  // Until both halves begin with a zero byte the signature has to be made again; one in 65,536 is too rare, so cut
  // P-521's always-zero seven bits instead: its first byte is 0 or 1.
  const Pair wide = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-521");
  do signature = Sign(M(CKM_ECDSA), wide.private_key, hash);
  while (signature[0] != 0 || signature[66] != 0);
  Bytes shorter(signature.begin() + 1, signature.begin() + 66);
  shorter.insert(shorter.end(), signature.begin() + 67, signature.end());
  EXPECT_EQ(Verify(M(CKM_ECDSA), wide.public_key, hash, signature), CKR_OK);
  EXPECT_EQ(Verify(M(CKM_ECDSA), wide.public_key, hash, shorter), CKR_OK);
  shorter.pop_back();
  EXPECT_EQ(Verify(M(CKM_ECDSA), wide.public_key, hash, shorter), CKR_SIGNATURE_LEN_RANGE);
  EXPECT_EQ(Verify(M(CKM_ECDSA), pair.public_key, hash, Bytes(66)), CKR_SIGNATURE_LEN_RANGE);
}

TEST_F(CrossCheckTest, GcmWithIvsOfAnyLength) {
  const Bytes value(32, 7), aad(19, 8), text(45, 9);
  const auto key = SecretKey(CKK_AES, value);
  for (const std::size_t bytes : {1u, 7u, 12u, 13u, 16u, 128u, 129u, 1000u, 65535u}) {
    const Bytes iv(bytes, 3);
    const CK_GCM_PARAMS gcm = Gcm(iv, aad);
    const Bytes sealed = Encrypt(M(CKM_AES_GCM, gcm), key, text);
    ASSERT_EQ(rv, CKR_OK) << bytes;
    EXPECT_EQ(Decrypt(M(CKM_AES_GCM, gcm), key, sealed), text) << bytes;
  }
  const Bytes none;
  CK_GCM_PARAMS empty = Gcm(none, aad);
  EXPECT_EQ(f->C_EncryptInit(session, M(CKM_AES_GCM, empty), key), CKR_MECHANISM_PARAM_INVALID);
}

// The path for long IVs gives what OpenSSL gives where OpenSSL can.
TEST_F(CrossCheckTest, LongIvPathAgreesWithOpenSsl) {
  const Bytes value(16, 7), aad(19, 8), text(77, 9);
  const auto handle = SecretKey(CKK_AES, value);
  const KeyPtr key = *Key::Secret(CKK_AES, SecretBytes(value));
  for (const std::size_t bytes : {1u, 15u, 16u, 17u, 60u, 128u}) {
    const Bytes iv(bytes, 3);
    const CK_GCM_PARAMS gcm = Gcm(iv, aad);
    const Bytes expected = Encrypt(M(CKM_AES_GCM, gcm), handle, text);
    auto stream = LongIvGcm::Start(*key, iv, aad, Mode::kEncrypt);
    ASSERT_TRUE(stream.ok());
    Bytes sealed(text.size() + 16);
    ASSERT_TRUE(stream->Run(text, sealed.data()));
    ASSERT_TRUE(stream->FinishEncrypt(MutableBytes(sealed).last(16)));
    EXPECT_EQ(sealed, expected) << bytes;
  }
}

// ANSI X9.63: SHA-2 of secret, counter and shared data, computed here by hand for one block.
TEST_F(CrossCheckTest, DerivationFunctionsOfEcdh) {
  const T open = T().Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  const Pair one = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256"), two = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256");
  Bytes der_point = Attribute(two.public_key, CKA_EC_POINT), raw_point(der_point.begin() + 2, der_point.end());
  Bytes shared{1, 2, 3};
  const auto derive = [&](CK_ULONG kdf, Bytes& point, CK_ULONG bytes, Bytes* extra = nullptr) {
    CK_ECDH1_DERIVE_PARAMS parameter{kdf, extra == nullptr ? 0 : extra->size(),
                                     extra == nullptr ? nullptr : extra->data(), point.size(), point.data()};
    T attributes = open;
    attributes.Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET).Ulong(CKA_VALUE_LEN, bytes);
    CK_OBJECT_HANDLE made = 0;
    rv = f->C_DeriveKey(session, M(CKM_ECDH1_DERIVE, parameter), one.private_key, attributes.data(), attributes.size(),
                        &made);
    const CK_RV result = rv;
    const Bytes value = rv == CKR_OK ? Attribute(made, CKA_VALUE) : Bytes();
    rv = result;
    return value;
  };
  const Bytes secret = derive(CKD_NULL, raw_point, 32);
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(derive(CKD_NULL, der_point, 32), secret);
  // Truncation takes bytes from the leading end.
  EXPECT_EQ(derive(CKD_NULL, raw_point, 16), Bytes(secret.begin() + 16, secret.end()));
  derive(CKD_NULL, raw_point, 33);
  EXPECT_EQ(rv, CKR_KEY_SIZE_RANGE);
  for (const Hash& hash : kHashes) {
    Bytes block = secret;
    block.insert(block.end(), {0, 0, 0, 1});
    block.insert(block.end(), shared.begin(), shared.end());
    const Bytes first = HashOf(hash, block);
    block[35] = 2;
    const Bytes second = HashOf(hash, block);
    Bytes both = first;
    both.insert(both.end(), second.begin(), second.begin() + 5);
    EXPECT_EQ(derive(hash.kdf, raw_point, both.size(), &shared), both) << hash.name;
    // SP 800-56C has the counter in front.
    const CK_ULONG sp800 = hash.kdf == CKD_SHA1_KDF     ? CKD_SHA1_KDF_SP800
                           : hash.kdf <= CKD_SHA512_KDF ? hash.kdf - CKD_SHA224_KDF + CKD_SHA224_KDF_SP800
                                                        : hash.kdf - CKD_SHA3_224_KDF + CKD_SHA3_224_KDF_SP800;
    Bytes counter_first{0, 0, 0, 1};
    counter_first.insert(counter_first.end(), secret.begin(), secret.end());
    counter_first.insert(counter_first.end(), shared.begin(), shared.end());
    const Bytes one_step = HashOf(hash, counter_first);
    EXPECT_EQ(derive(sp800, raw_point, one_step.size(), &shared), one_step) << hash.name;
  }
  raw_point[10] ^= 1;
  derive(CKD_NULL, raw_point, 32);
  EXPECT_EQ(rv, CKR_PUBLIC_KEY_INVALID);
}

TEST_F(CrossCheckTest, AesModesOfAllLengths) {
  const Bytes value(24, 3), iv(16, 9);
  const auto key = SecretKey(CKK_AES, value);
  CK_AES_CTR_PARAMS ctr{64, {}};
  std::copy(iv.begin(), iv.end(), ctr.cb);
  for (std::size_t bytes = 0; bytes < 70; ++bytes) {
    const Bytes text(bytes, static_cast<std::uint8_t>(bytes));
    for (const bool counter : {false, true}) {
      Bytes expected(bytes + 16);
      int n = 0, last = 0;
      EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
      EVP_EncryptInit_ex(context, counter ? EVP_aes_192_ctr() : EVP_aes_192_cbc(), nullptr, value.data(), iv.data());
      EVP_EncryptUpdate(context, expected.data(), &n, text.data(), static_cast<int>(bytes));
      EVP_EncryptFinal_ex(context, expected.data() + n, &last);
      EVP_CIPHER_CTX_free(context);
      expected.resize(static_cast<std::size_t>(n + last));
      M padded(CKM_AES_CBC_PAD, iv), counted(CKM_AES_CTR, ctr);
      CK_MECHANISM* mechanism = counter ? counted : padded;
      EXPECT_EQ(Encrypt(mechanism, key, text), expected) << bytes;
      EXPECT_EQ(Decrypt(mechanism, key, expected), text) << bytes;
    }
  }
}

}  // namespace
}  // namespace cmkd::sim

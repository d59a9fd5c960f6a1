// Generating, wrapping, unwrapping and deriving keys.
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

class KeyTest : public DeviceTest {};

T Extractable() { return T().Bool(CKA_EXTRACTABLE, true); }
T SecretTemplate(CK_KEY_TYPE type) {
  return T().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, type).Bool(CKA_EXTRACTABLE, true);
}
T PrivateTemplate(CK_KEY_TYPE type) {
  return T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, type).Bool(CKA_EXTRACTABLE, true);
}

TEST_F(KeyTest, WrappedAesKeyComesBackAsTheSameKey) {
  const auto wrapping = GenerateAes(32, T().Bool(CKA_TOKEN, true).Bool(CKA_EXTRACTABLE, false));
  ASSERT_EQ(rv, CKR_OK);
  const auto key = GenerateAes(32, Extractable());
  const Bytes blob = Wrap(M(CKM_AES_KEY_WRAP_KWP), wrapping, key);
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(blob.size(), 40u);
  const Bytes iv(12, 7), text(100, 9);
  const CK_GCM_PARAMS gcm = Gcm(iv);
  const Bytes sealed = Encrypt(M(CKM_AES_GCM, gcm), key, text);
  ASSERT_EQ(rv, CKR_OK);
  ASSERT_EQ(f->C_DestroyObject(session, key), CKR_OK);
  const auto again = Unwrap(M(CKM_AES_KEY_WRAP_KWP), wrapping, blob, SecretTemplate(CKK_AES));
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Decrypt(M(CKM_AES_GCM, gcm), again, sealed), text);
}

TEST_F(KeyTest, RsaPairSignsAndItsPrivateHalfSurvivesWrapping) {
  const auto wrapping = GenerateAes();
  const Pair pair = GenerateRsa(2048, Extractable());
  ASSERT_EQ(rv, CKR_OK);
  const Bytes text(50, 1);
  const Bytes signature = Sign(M(CKM_SHA256_RSA_PKCS), pair.private_key, text);
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Verify(M(CKM_SHA256_RSA_PKCS), pair.public_key, text, signature), CKR_OK);
  const Bytes blob = Wrap(M(CKM_AES_KEY_WRAP_KWP), wrapping, pair.private_key);
  ASSERT_EQ(rv, CKR_OK);
  const auto again = Unwrap(M(CKM_AES_KEY_WRAP_KWP), wrapping, blob, PrivateTemplate(CKK_RSA));
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Sign(M(CKM_SHA256_RSA_PKCS), again, text), signature);
  EXPECT_EQ(Attribute(again, CKA_PUBLIC_KEY_INFO), Attribute(pair.public_key, CKA_PUBLIC_KEY_INFO));
}

TEST_F(KeyTest, EcPairSignsAndItsPrivateHalfSurvivesWrapping) {
  const auto wrapping = GenerateAes();
  for (const char* curve : {"P-256", "P-384", "P-521"}) {
    const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, curve, Extractable());
    ASSERT_EQ(rv, CKR_OK) << curve;
    const Bytes blob = Wrap(M(CKM_AES_KEY_WRAP_KWP), wrapping, pair.private_key);
    const auto again = Unwrap(M(CKM_AES_KEY_WRAP_KWP), wrapping, blob, PrivateTemplate(CKK_EC));
    ASSERT_EQ(rv, CKR_OK) << curve;
    const Bytes text(50, 1);
    const Bytes signature = Sign(M(CKM_ECDSA_SHA256), again, text);
    ASSERT_EQ(rv, CKR_OK) << curve;
    EXPECT_EQ(Verify(M(CKM_ECDSA_SHA256), pair.public_key, text, signature), CKR_OK);
  }
}

// Every kind of key under every mechanism that can take it out, and back with the same material.
TEST_F(KeyTest, EveryKeyComesBackFromEveryWrapping) {
  const auto aes = GenerateAes();
  const Bytes iv(16, 4);
  M mechanisms[] = {{CKM_AES_KEY_WRAP}, {CKM_AES_KEY_WRAP_KWP}, {CKM_AES_KEY_WRAP_PAD}, {CKM_AES_CBC_PAD, iv}};
  const T open = T().Bool(CKA_EXTRACTABLE, true).Bool(CKA_SENSITIVE, false);
  struct Private {
    CK_KEY_TYPE type;
    CK_OBJECT_HANDLE key;
  };
  const Private private_keys[] = {
      {CKK_RSA, GenerateRsa(2048, open).private_key},
      {CKK_EC, GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256", open).private_key},
      {CKK_EC, GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-521", open).private_key},
      {CKK_EC_EDWARDS, GenerateCurve(CKM_EC_EDWARDS_KEY_PAIR_GEN, "Ed25519", open).private_key},
      {CKK_EC_MONTGOMERY, GenerateCurve(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, "X25519", open).private_key}};
  for (M& mechanism : mechanisms) {
    SCOPED_TRACE(static_cast<CK_MECHANISM*>(mechanism)->mechanism);
    for (const std::size_t bytes : {16u, 24u, 32u}) {
      const auto key = SecretKey(CKK_AES, Bytes(bytes, 7));
      const auto again =
          Unwrap(mechanism, aes, Wrap(mechanism, aes, key), SecretTemplate(CKK_AES).Bool(CKA_SENSITIVE, false));
      ASSERT_EQ(rv, CKR_OK) << bytes;
      EXPECT_EQ(Attribute(again, CKA_VALUE), Bytes(bytes, 7));
    }
    for (const Private& one : private_keys) {
      const Bytes blob = Wrap(mechanism, aes, one.key);
      ASSERT_EQ(rv, CKR_OK) << one.type;
      const auto again = Unwrap(mechanism, aes, blob, PrivateTemplate(one.type).Bool(CKA_SENSITIVE, false));
      ASSERT_EQ(rv, CKR_OK) << one.type;
      const CK_ATTRIBUTE_TYPE part = one.type == CKK_RSA ? CKA_PRIME_1 : CKA_VALUE;
      EXPECT_EQ(Attribute(again, part), Attribute(one.key, part));
      EXPECT_EQ(Attribute(again, CKA_PUBLIC_KEY_INFO), Attribute(one.key, CKA_PUBLIC_KEY_INFO));
      Unwrap(mechanism, aes, blob, PrivateTemplate(one.type == CKK_RSA ? CKK_EC : CKK_RSA));
      EXPECT_EQ(rv, CKR_TEMPLATE_INCONSISTENT);
      Unwrap(mechanism, aes, blob, SecretTemplate(CKK_AES));
      EXPECT_EQ(rv, CKR_WRAPPED_KEY_LEN_RANGE);
    }
  }
}

TEST_F(KeyTest, SecretsOfOddLengthAreZeroPaddedUnderPlainKeyWrap) {
  const auto aes = GenerateAes();
  const Bytes value(21, 5);
  const auto key = SecretKey(CKK_GENERIC_SECRET, value);
  const Bytes blob = Wrap(M(CKM_AES_KEY_WRAP), aes, key);
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(blob.size(), 32u);
  const auto again = Unwrap(M(CKM_AES_KEY_WRAP), aes, blob,
                            SecretTemplate(CKK_GENERIC_SECRET).Bool(CKA_SENSITIVE, false).Ulong(CKA_VALUE_LEN, 21));
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Attribute(again, CKA_VALUE), value);
}

TEST_F(KeyTest, RsaWrapsSecretKeysOnly) {
  const Pair rsa = GenerateRsa();
  const auto key = SecretKey(CKK_AES, Bytes(32, 7));
  const CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
  M mechanisms[] = {{CKM_RSA_PKCS}, {CKM_RSA_PKCS_OAEP, oaep}};
  for (M& mechanism : mechanisms) {
    const Bytes blob = Wrap(mechanism, rsa.public_key, key);
    ASSERT_EQ(rv, CKR_OK);
    const auto again = Unwrap(mechanism, rsa.private_key, blob, SecretTemplate(CKK_AES).Bool(CKA_SENSITIVE, false));
    ASSERT_EQ(rv, CKR_OK);
    EXPECT_EQ(Attribute(again, CKA_VALUE), Bytes(32, 7));
    const Pair ec = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256", Extractable());
    Wrap(mechanism, rsa.public_key, ec.private_key);
    EXPECT_EQ(rv, CKR_KEY_NOT_WRAPPABLE);
    Wrap(mechanism, rsa.public_key, SecretKey(CKK_GENERIC_SECRET, Bytes(300, 1)));
    EXPECT_EQ(rv, CKR_KEY_SIZE_RANGE);
  }
}

// What v1.5 unwrapping makes of a wrong padding is a key like any other, of the length asked for.
TEST_F(KeyTest, WrongPaddingUnwrapsToSomeKeyOfTheWantedLength) {
  const Pair rsa = GenerateRsa();
  const Bytes wrong = Encrypt(M(CKM_RSA_X_509), rsa.public_key, Bytes(200, 1));
  const T attributes = SecretTemplate(CKK_AES).Bool(CKA_SENSITIVE, false).Ulong(CKA_VALUE_LEN, 32);
  const Bytes one = Attribute(Unwrap(M(CKM_RSA_PKCS), rsa.private_key, wrong, attributes), CKA_VALUE);
  EXPECT_EQ(one.size(), 32u);
  EXPECT_EQ(Attribute(Unwrap(M(CKM_RSA_PKCS), rsa.private_key, wrong, attributes), CKA_VALUE), one);
  // A right padding around another length is as wrong.
  const Bytes other_length = Encrypt(M(CKM_RSA_PKCS), rsa.public_key, Bytes(16, 1));
  const Bytes two = Attribute(Unwrap(M(CKM_RSA_PKCS), rsa.private_key, other_length, attributes), CKA_VALUE);
  EXPECT_EQ(two.size(), 32u);
  const Bytes right = Encrypt(M(CKM_RSA_PKCS), rsa.public_key, Bytes(32, 1));
  EXPECT_EQ(Attribute(Unwrap(M(CKM_RSA_PKCS), rsa.private_key, right, attributes), CKA_VALUE), Bytes(32, 1));
}

TEST_F(KeyTest, OnlyWhatMayLeaveIsWrapped) {
  const auto aes = GenerateAes();
  Wrap(M(CKM_AES_KEY_WRAP_KWP), aes, GenerateAes(32, T().Bool(CKA_EXTRACTABLE, false)));
  EXPECT_EQ(rv, CKR_KEY_UNEXTRACTABLE);
  Wrap(M(CKM_AES_KEY_WRAP_KWP), aes, GenerateAes(32, Extractable().Bool(CKA_WRAP_WITH_TRUSTED, true)));
  EXPECT_EQ(rv, CKR_KEY_NOT_WRAPPABLE);
  Wrap(M(CKM_AES_KEY_WRAP_KWP), aes, GenerateRsa().public_key);
  EXPECT_EQ(rv, CKR_KEY_NOT_WRAPPABLE);
  Wrap(M(CKM_AES_KEY_WRAP_KWP), GenerateAes(32, T().Bool(CKA_WRAP, false)), GenerateAes(32, Extractable()));
  EXPECT_EQ(rv, CKR_KEY_FUNCTION_NOT_PERMITTED);
  Wrap(M(CKM_AES_KEY_WRAP_KWP), 999, aes);
  EXPECT_EQ(rv, CKR_WRAPPING_KEY_HANDLE_INVALID);
  Wrap(M(CKM_AES_KEY_WRAP_KWP), aes, 999);
  EXPECT_EQ(rv, CKR_KEY_HANDLE_INVALID);
  Wrap(M(CKM_AES_KEY_WRAP_KWP), SecretKey(CKK_GENERIC_SECRET, Bytes(32)), aes);
  EXPECT_EQ(rv, CKR_WRAPPING_KEY_TYPE_INCONSISTENT);
  Wrap(M(CKM_AES_ECB), aes, GenerateAes(32, Extractable()));
  EXPECT_EQ(rv, CKR_MECHANISM_INVALID);
}

TEST_F(KeyTest, WrapTemplateAndUnwrapTemplateHold) {
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE wanted[] = {{CKA_ENCRYPT, &yes, 1}}, forced[] = {{CKA_SENSITIVE, &yes, 1}};
  const auto bytes = [](const CK_ATTRIBUTE* list) {
    return Bytes(reinterpret_cast<const std::uint8_t*>(list), reinterpret_cast<const std::uint8_t*>(list + 1));
  };
  const auto aes = GenerateAes(32, T().Raw(CKA_WRAP_TEMPLATE, bytes(wanted)).Raw(CKA_UNWRAP_TEMPLATE, bytes(forced)));
  ASSERT_EQ(rv, CKR_OK);
  Wrap(M(CKM_AES_KEY_WRAP_KWP), aes, GenerateAes(32, Extractable().Bool(CKA_ENCRYPT, false)));
  EXPECT_EQ(rv, CKR_KEY_NOT_WRAPPABLE);
  const Bytes blob = Wrap(M(CKM_AES_KEY_WRAP_KWP), aes, GenerateAes(32, Extractable().Bool(CKA_ENCRYPT, true)));
  ASSERT_EQ(rv, CKR_OK);
  Unwrap(M(CKM_AES_KEY_WRAP_KWP), aes, blob, SecretTemplate(CKK_AES).Bool(CKA_SENSITIVE, false));
  EXPECT_EQ(rv, CKR_TEMPLATE_INCONSISTENT);
  const auto again = Unwrap(M(CKM_AES_KEY_WRAP_KWP), aes, blob, SecretTemplate(CKK_AES));
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(Attribute(again, CKA_SENSITIVE), Bytes{1});
}

TEST_F(KeyTest, DamagedBlobsAreRefused) {
  const auto aes = GenerateAes();
  const Bytes blob = Wrap(M(CKM_AES_KEY_WRAP_KWP), aes, GenerateAes(32, Extractable()));
  Bytes damaged = blob;
  damaged[20] ^= 1;
  Unwrap(M(CKM_AES_KEY_WRAP_KWP), aes, damaged, SecretTemplate(CKK_AES));
  EXPECT_EQ(rv, CKR_WRAPPED_KEY_INVALID);
  Unwrap(M(CKM_AES_KEY_WRAP_KWP), aes, Bytes(8), SecretTemplate(CKK_AES));
  EXPECT_EQ(rv, CKR_WRAPPED_KEY_LEN_RANGE);
  Unwrap(M(CKM_AES_KEY_WRAP_KWP), aes, blob, SecretTemplate(CKK_AES).Ulong(CKA_VALUE_LEN, 16));
  EXPECT_EQ(rv, CKR_WRAPPED_KEY_LEN_RANGE);
  Unwrap(M(CKM_AES_KEY_WRAP_KWP), aes, blob, PrivateTemplate(CKK_EC));
  EXPECT_EQ(rv, CKR_WRAPPED_KEY_INVALID);
  Unwrap(M(CKM_AES_KEY_WRAP_KWP), aes, blob, T().Ulong(CKA_CLASS, CKO_SECRET_KEY));
  EXPECT_EQ(rv, CKR_TEMPLATE_INCOMPLETE);
}

TEST_F(KeyTest, UnwrappedKeyIsNotLocalAndWasNotAlwaysSensitive) {
  const auto aes = GenerateAes();
  const auto again =
      Unwrap(M(CKM_AES_KEY_WRAP_KWP), aes, Wrap(M(CKM_AES_KEY_WRAP_KWP), aes, GenerateAes(32, Extractable())),
             SecretTemplate(CKK_AES));
  EXPECT_EQ(Attribute(again, CKA_LOCAL), Bytes{0});
  EXPECT_EQ(Attribute(again, CKA_ALWAYS_SENSITIVE), Bytes{0});
  EXPECT_EQ(Attribute(again, CKA_NEVER_EXTRACTABLE), Bytes{0});
}

TEST_F(KeyTest, WrapAnswersLengthQueries) {
  const auto aes = GenerateAes();
  const auto key = GenerateAes(32, Extractable());
  CK_ULONG bytes = 0;
  EXPECT_EQ(f->C_WrapKey(session, M(CKM_AES_KEY_WRAP_KWP), aes, key, nullptr, &bytes), CKR_OK);
  EXPECT_EQ(bytes, 40u);
  Bytes out(40);
  bytes = 39;
  EXPECT_EQ(f->C_WrapKey(session, M(CKM_AES_KEY_WRAP_KWP), aes, key, out.data(), &bytes), CKR_BUFFER_TOO_SMALL);
  EXPECT_EQ(bytes, 40u);
}

TEST_F(KeyTest, SizesOutsideTheTableAreRefused) {
  GenerateAes(17);
  EXPECT_EQ(rv, CKR_KEY_SIZE_RANGE);
  GenerateRsa(1024);
  EXPECT_EQ(rv, CKR_KEY_SIZE_RANGE);
  GenerateCurve(CKM_EC_KEY_PAIR_GEN, "Ed25519");
  EXPECT_EQ(rv, CKR_CURVE_NOT_SUPPORTED);
  CK_OBJECT_HANDLE made = 0;
  T secret;
  secret.Ulong(CKA_VALUE_LEN, 100);
  EXPECT_EQ(f->C_GenerateKey(session, M(CKM_GENERIC_SECRET_KEY_GEN), secret.data(), secret.size(), &made), CKR_OK);
  EXPECT_EQ(f->C_GenerateKey(session, M(CKM_AES_GCM), secret.data(), secret.size(), &made), CKR_MECHANISM_INVALID);
}

TEST_F(KeyTest, GeneratedKeysDiffer) {
  const T open = T().Bool(CKA_SENSITIVE, false).Bool(CKA_EXTRACTABLE, true);
  EXPECT_NE(Attribute(GenerateAes(32, open), CKA_VALUE), Attribute(GenerateAes(32, open), CKA_VALUE));
  for (const char* curve : {"X25519", "X448"}) {
    const Pair one = GenerateCurve(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, curve, open);
    ASSERT_EQ(rv, CKR_OK);
    EXPECT_NE(Attribute(one.private_key, CKA_VALUE),
              Attribute(GenerateCurve(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, curve, open).private_key, CKA_VALUE));
  }
}

TEST_F(KeyTest, TwoPartiesAgree) {
  struct Case {
    CK_MECHANISM_TYPE generate;
    const char* curve;
  };
  for (const Case& c : {Case{CKM_EC_KEY_PAIR_GEN, "P-384"}, Case{CKM_EC_MONTGOMERY_KEY_PAIR_GEN, "X25519"},
                        Case{CKM_EC_MONTGOMERY_KEY_PAIR_GEN, "X448"}}) {
    const Pair one = GenerateCurve(c.generate, c.curve), two = GenerateCurve(c.generate, c.curve);
    Bytes secrets[2];
    for (const bool first : {true, false}) {
      Bytes point = Attribute(first ? two.public_key : one.public_key, CKA_EC_POINT);
      CK_ECDH1_DERIVE_PARAMS parameter{CKD_SHA256_KDF, 0, nullptr, point.size(), point.data()};
      T attributes = SecretTemplate(CKK_AES).Bool(CKA_SENSITIVE, false).Ulong(CKA_VALUE_LEN, 32);
      CK_OBJECT_HANDLE made = 0;
      ASSERT_EQ(f->C_DeriveKey(session, M(CKM_ECDH1_DERIVE, parameter), first ? one.private_key : two.private_key,
                               attributes.data(), attributes.size(), &made),
                CKR_OK);
      secrets[first ? 0 : 1] = Attribute(made, CKA_VALUE);
    }
    EXPECT_EQ(secrets[0], secrets[1]);
    EXPECT_EQ(secrets[0].size(), 32u);
  }
}

// What the daemon does when its cache turns over: thousands of session objects come and go.
TEST_F(KeyTest, ThousandsOfUnwrappedKeys) {
  const auto aes = GenerateAes(32, T().Bool(CKA_TOKEN, true).Bool(CKA_EXTRACTABLE, false));
  const Bytes blob = Wrap(M(CKM_AES_KEY_WRAP_KWP), aes, SecretKey(CKK_AES, Bytes(32, 7)));
  const Bytes block(16, 1), expected = Encrypt(M(CKM_AES_ECB), SecretKey(CKK_AES, Bytes(32, 7)), block);
  std::vector<CK_OBJECT_HANDLE> keys;
  for (int i = 0; i < 3000; ++i) keys.push_back(Unwrap(M(CKM_AES_KEY_WRAP_KWP), aes, blob, SecretTemplate(CKK_AES)));
  for (const CK_OBJECT_HANDLE key : keys) {
    ASSERT_EQ(Encrypt(M(CKM_AES_ECB), key, block), expected);
    ASSERT_EQ(f->C_DestroyObject(session, key), CKR_OK);
  }
}

TEST_F(KeyTest, HmacSignsAndVerifies) {
  const auto key = SecretKey(CKK_GENERIC_SECRET, Bytes(32, 3));
  const Bytes text(64, 5);
  const Bytes mac = Sign(M(CKM_SHA256_HMAC), key, text);
  ASSERT_EQ(rv, CKR_OK);
  EXPECT_EQ(mac.size(), 32u);
  EXPECT_EQ(Verify(M(CKM_SHA256_HMAC), key, text, mac), CKR_OK);
  Bytes wrong = mac;
  wrong[31] ^= 1;
  EXPECT_EQ(Verify(M(CKM_SHA256_HMAC), key, text, wrong), CKR_SIGNATURE_INVALID);
}

}  // namespace
}  // namespace cmkd::sim

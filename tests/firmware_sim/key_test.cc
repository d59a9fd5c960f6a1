// Generating, wrapping, unwrapping and deriving keys.
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

T Extractable() { return T().Bool(CKA_EXTRACTABLE, true); }
T SecretTemplate(CK_KEY_TYPE type) {
  return T().Ulong(CKA_CLASS, CKO_SECRET_KEY).Ulong(CKA_KEY_TYPE, type).Bool(CKA_EXTRACTABLE, true);
}
T PrivateTemplate(CK_KEY_TYPE type) {
  return T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, type).Bool(CKA_EXTRACTABLE, true);
}

TEST_F(DeviceTest, WrappedAesKeyComesBackAsTheSameKey) {
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

TEST_F(DeviceTest, RsaPairSignsAndItsPrivateHalfSurvivesWrapping) {
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

TEST_F(DeviceTest, EcPairSignsAndItsPrivateHalfSurvivesWrapping) {
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

TEST_F(DeviceTest, HmacSignsAndVerifies) {
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

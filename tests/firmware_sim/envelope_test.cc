// Keys that travel under a temporary key (CKM_RSA_AES_KEY_WRAP, CKM_ECDH_…_AES_KEY_WRAP), and under authenticated
// ciphers.
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_table.h"
#include "tests/firmware_sim/device_fixture.h"

namespace cmkd::sim {
namespace {

const Bytes kSecretValue = FromHex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");

class EnvelopeTest : public DeviceTest {
 protected:
  static T Wanted() {
    return T()
        .Ulong(CKA_CLASS, CKO_SECRET_KEY)
        .Ulong(CKA_KEY_TYPE, CKK_AES)
        .Bool(CKA_SENSITIVE, false)
        .Bool(CKA_EXTRACTABLE, true);
  }
  // Wraps, unwraps, and looks at what came out; a changed byte anywhere must not open.
  void RoundTrip(CK_MECHANISM* mechanism, CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE unwrapping, std::size_t bytes) {
    const auto key = SecretKey(CKK_AES, kSecretValue);
    Bytes wrapped = Wrap(mechanism, wrapping, key);
    ASSERT_EQ(rv, CKR_OK);
    EXPECT_EQ(wrapped.size(), bytes);
    const auto opened = Unwrap(mechanism, unwrapping, wrapped, Wanted());
    ASSERT_EQ(rv, CKR_OK);
    EXPECT_EQ(Attribute(opened, CKA_VALUE), kSecretValue);
    for (const std::size_t at : {std::size_t{1}, wrapped.size() - 1}) {
      wrapped[at] ^= 1;
      Unwrap(mechanism, unwrapping, wrapped, Wanted());
      EXPECT_EQ(rv, CKR_WRAPPED_KEY_INVALID) << at;
      wrapped[at] ^= 1;
    }
  }
};

TEST_F(EnvelopeTest, RsaCarriesATemporaryKeyOfEachSize) {
  const Pair pair = GenerateRsa();
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
  for (const CK_ULONG bits : {128u, 192u, 256u}) {
    const CK_RSA_AES_KEY_WRAP_PARAMS parameter{bits, &oaep};
    RoundTrip(M(CKM_RSA_AES_KEY_WRAP, parameter), pair.public_key, pair.private_key, 256 + 40);
  }
  const CK_RSA_AES_KEY_WRAP_PARAMS odd{160, &oaep};
  Wrap(M(CKM_RSA_AES_KEY_WRAP, odd), pair.public_key, SecretKey(CKK_AES, kSecretValue));
  EXPECT_EQ(rv, CKR_MECHANISM_PARAM_INVALID);
}

// The two parts are what the mechanism says they are: OAEP of an AES key, and KWP under it.
TEST_F(EnvelopeTest, RsaEnvelopeOpensPartByPart) {
  const Pair pair = GenerateRsa();
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};
  const CK_RSA_AES_KEY_WRAP_PARAMS parameter{256, &oaep};
  const Bytes wrapped = Wrap(M(CKM_RSA_AES_KEY_WRAP, parameter), pair.public_key, SecretKey(CKK_AES, kSecretValue));
  const Bytes temporary = Decrypt(M(CKM_RSA_PKCS_OAEP, oaep), pair.private_key, ToBytes(ByteView(wrapped).first(256)));
  ASSERT_EQ(temporary.size(), 32u);
  const auto key = SecretKey(CKK_AES, temporary);
  EXPECT_EQ(Decrypt(M(CKM_AES_KEY_WRAP_KWP), key, ToBytes(ByteView(wrapped).subspan(256))), kSecretValue);
}

TEST_F(EnvelopeTest, RsaCarriesPrivateKeys) {
  const Pair pair = GenerateRsa();
  const Pair cargo = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256", T().Bool(CKA_EXTRACTABLE, true));
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
  const CK_RSA_AES_KEY_WRAP_PARAMS parameter{256, &oaep};
  M mechanism(CKM_RSA_AES_KEY_WRAP, parameter);
  const Bytes wrapped = Wrap(mechanism, pair.public_key, cargo.private_key);
  ASSERT_EQ(rv, CKR_OK);
  const auto opened = Unwrap(mechanism, pair.private_key, wrapped,
                             T().Ulong(CKA_CLASS, CKO_PRIVATE_KEY).Ulong(CKA_KEY_TYPE, CKK_EC).Bool(CKA_SIGN, true));
  ASSERT_EQ(rv, CKR_OK);
  const Bytes text(32, 7);
  EXPECT_EQ(Verify(M(CKM_ECDSA), cargo.public_key, text, Sign(M(CKM_ECDSA), opened, text)), CKR_OK);
}

TEST_F(EnvelopeTest, CurvesCarryATemporaryKey) {
  Bytes shared{1, 2, 3};
  const CK_ECDH_AES_KEY_WRAP_PARAMS parameter{256, CKD_SHA256_KDF, shared.size(), shared.data()};
  for (const std::string_view curve : {"P-224", "P-256", "P-521", "secp256k1", "brainpoolP256r1", "brainpoolP512r1"}) {
    SCOPED_TRACE(curve);
    const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, curve,
                                    T().Bool(CKA_UNWRAP, true).Bool(CKA_DERIVE, true).Bool(CKA_SIGN, true));
    ASSERT_EQ(rv, CKR_OK);
    const std::size_t point = spec::FindCurveByName(curve)->point_bytes;
    for (const CK_MECHANISM_TYPE type : {CKM_ECDH_AES_KEY_WRAP, CKM_ECDH_COF_AES_KEY_WRAP}) {
      RoundTrip(M(type, parameter), pair.public_key, pair.private_key, point + 40);
    }
  }
  for (const std::string_view curve : {"X25519", "X448"}) {
    const Pair pair = GenerateCurve(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, curve, T().Bool(CKA_UNWRAP, true));
    RoundTrip(M(CKM_ECDH_X_AES_KEY_WRAP, parameter), pair.public_key, pair.private_key,
              spec::FindCurveByName(curve)->point_bytes + 40u);
  }
}

// The envelope taken apart with the mechanisms that it is made of.
TEST_F(EnvelopeTest, CurveEnvelopeOpensPartByPart) {
  const Pair pair = GenerateCurve(CKM_EC_KEY_PAIR_GEN, "P-256", T().Bool(CKA_UNWRAP, true).Bool(CKA_DERIVE, true));
  const CK_ECDH_AES_KEY_WRAP_PARAMS parameter{256, CKD_SHA256_KDF, 0, nullptr};
  Bytes wrapped = Wrap(M(CKM_ECDH_AES_KEY_WRAP, parameter), pair.public_key, SecretKey(CKK_AES, kSecretValue));
  ASSERT_EQ(wrapped.size(), 65u + 40u);
  const CK_ECDH1_DERIVE_PARAMS agree{CKD_SHA256_KDF, 0, nullptr, 65, wrapped.data()};
  CK_OBJECT_HANDLE temporary = 0;
  T wanted = Wanted().Ulong(CKA_VALUE_LEN, 32);
  ASSERT_EQ(
      f->C_DeriveKey(session, M(CKM_ECDH1_DERIVE, agree), pair.private_key, wanted.data(), wanted.size(), &temporary),
      CKR_OK);
  EXPECT_EQ(Decrypt(M(CKM_AES_KEY_WRAP_KWP), temporary, ToBytes(ByteView(wrapped).subspan(65))), kSecretValue);
}

TEST_F(EnvelopeTest, AuthenticatedCiphersWrap) {
  const Bytes iv(12, 3), aad{'a', 'a', 'd'};
  const auto aes = SecretKey(CKK_AES, kSecretValue);
  const CK_GCM_PARAMS gcm = Gcm(iv, aad);
  RoundTrip(M(CKM_AES_GCM, gcm), aes, aes, 32 + 16);
  const CK_GCM_WRAP_PARAMS gcm_wrap{const_cast<CK_BYTE*>(iv.data()),  12, 0,  CKG_NO_GENERATE,
                                    const_cast<CK_BYTE*>(aad.data()), 3,  128};
  RoundTrip(M(CKM_AES_GCM, gcm_wrap), aes, aes, 32 + 16);
  const CK_CCM_PARAMS ccm{0, const_cast<CK_BYTE*>(iv.data()), 12, const_cast<CK_BYTE*>(aad.data()), 3, 16};
  RoundTrip(M(CKM_AES_CCM, ccm), aes, aes, 32 + 16);
  const auto chacha = SecretKey(CKK_CHACHA20, kSecretValue);
  const CK_SALSA20_CHACHA20_POLY1305_PARAMS poly{const_cast<CK_BYTE*>(iv.data()), 96, const_cast<CK_BYTE*>(aad.data()),
                                                 3};
  RoundTrip(M(CKM_CHACHA20_POLY1305, poly), chacha, chacha, 32 + 16);
}

}  // namespace
}  // namespace cmkd::sim

// Curves in every encoding that programs send, and sizes of keys.
#include "pkcs11/spec/key_facts.h"

#include <gtest/gtest.h>

#include <set>

#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {
namespace {

Bytes PrintableString(std::string_view text) {
  Bytes der{0x13, static_cast<std::uint8_t>(text.size())};
  der.insert(der.end(), text.begin(), text.end());
  return der;
}

TEST(Curves, AreFoundByOidAndByName) {
  for (const Curve& curve : Curves()) {
    EXPECT_EQ(FindCurve(AsBytes(curve.oid)), &curve) << curve.name;
    EXPECT_EQ(FindCurve(PrintableString(curve.curve_name)), &curve) << curve.name;
    EXPECT_EQ(FindCurveByName(curve.name), &curve) << curve.name;
  }
}

TEST(Curves, HaveWellFormedAndDifferentOids) {
  std::set<std::string_view> oids;
  for (const Curve& curve : Curves()) {
    EXPECT_EQ(curve.oid[0], 6) << curve.name;
    EXPECT_EQ(static_cast<std::size_t>(curve.oid[1]), curve.oid.size() - 2) << curve.name;
    EXPECT_TRUE(oids.insert(curve.oid).second) << curve.name;
  }
}

TEST(Curves, HavePointsOfTheLengthThatTheirFieldGives) {
  for (const Curve& curve : Curves()) {
    const std::size_t coordinate = (curve.bits + 7u) / 8u;
    const std::size_t expected = curve.key_type == CKK_EC || curve.key_type == CKK_SM2 ? 2 * coordinate + 1
                                 : curve.key_type == CKK_EC_EDWARDS                    ? curve.bits / 8u + 1u
                                                                                       : coordinate;
    EXPECT_EQ(curve.point_bytes, expected) << curve.name;
  }
}

TEST(Curves, AreFoundByTheOlderEncodingsToo) {
  const Bytes gnu{0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01};
  EXPECT_EQ(FindCurve(gnu), FindCurveByName("Ed25519"));
  EXPECT_EQ(FindCurve(PrintableString("prime256v1")), FindCurveByName("P-256"));
}

TEST(Curves, TakeNothingElse) {
  EXPECT_EQ(FindCurve({}), nullptr);
  EXPECT_EQ(FindCurve(Bytes{0x05, 0x00}), nullptr) << "implicitlyCA";
  EXPECT_EQ(FindCurve(Bytes{0x30, 0x00}), nullptr) << "explicit parameters";
  EXPECT_EQ(FindCurve(PrintableString("secp160r1")), nullptr);
  Bytes long_by_one = ToBytes(AsBytes(FindCurveByName("P-256")->oid));
  long_by_one.push_back(0);
  EXPECT_EQ(FindCurve(long_by_one), nullptr);
}

TEST(Points, AreTakenBareAndAsOctetString) {
  for (const Curve& curve : Curves()) {
    const Bytes bare(curve.point_bytes, 0x04);
    Bytes der = bare.size() < 128 ? Bytes{0x04, static_cast<std::uint8_t>(bare.size())}
                                  : Bytes{0x04, 0x81, static_cast<std::uint8_t>(bare.size())};
    der.insert(der.end(), bare.begin(), bare.end());
    EXPECT_TRUE(Equal(PointOf(bare, curve), bare)) << curve.name;
    EXPECT_TRUE(Equal(PointOf(der, curve), bare)) << curve.name;
    EXPECT_TRUE(PointOf(ByteView(der).first(der.size() - 1), curve).empty()) << curve.name;
    EXPECT_TRUE(PointOf({}, curve).empty()) << curve.name;
  }
}

TEST(KeyBits, CountSecretsByValueOrByLength) {
  Attributes key;
  key.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  EXPECT_EQ(KeyBits(key), std::nullopt);
  key.SetUlong(CKA_VALUE_LEN, 32);
  EXPECT_EQ(KeyBits(key), 256u);
  key.Set(CKA_VALUE, Bytes(16));
  EXPECT_EQ(KeyBits(key), 128u);
}

TEST(KeyBits, CountTheModulusWithoutLeadingZeros) {
  Attributes key;
  key.SetUlong(CKA_CLASS, CKO_PUBLIC_KEY);
  key.SetUlong(CKA_KEY_TYPE, CKK_RSA);
  key.SetUlong(CKA_MODULUS_BITS, 3072);
  EXPECT_EQ(KeyBits(key), 3072u);
  Bytes modulus(257);
  modulus[1] = 0x80;
  key.Set(CKA_MODULUS, modulus);
  EXPECT_EQ(KeyBits(key), 2048u);
}

TEST(KeyBits, TakeCurvesFromTheirParameters) {
  Attributes key;
  key.SetUlong(CKA_CLASS, CKO_PRIVATE_KEY);
  key.SetUlong(CKA_KEY_TYPE, CKK_EC);
  EXPECT_EQ(KeyBits(key), std::nullopt);
  key.Set(CKA_EC_PARAMS, AsBytes(FindCurveByName("P-521")->oid));
  EXPECT_EQ(KeyBits(key), 521u);
}

TEST(BitLength, IsThatOfTheNumber) {
  EXPECT_EQ(BitLength({}), 0u);
  EXPECT_EQ(BitLength(Bytes{0, 0}), 0u);
  EXPECT_EQ(BitLength(Bytes{1}), 1u);
  EXPECT_EQ(BitLength(Bytes{0, 1, 0, 1}), 17u);
}

TEST(SecretLengths, AreThoseOfTheKeyType) {
  EXPECT_TRUE(IsSecretLength(CKK_AES, 24));
  EXPECT_FALSE(IsSecretLength(CKK_AES, 25));
  EXPECT_TRUE(IsSecretLength(CKK_AES_XTS, 64));
  EXPECT_FALSE(IsSecretLength(CKK_AES_XTS, 48));
  EXPECT_TRUE(IsSecretLength(CKK_SHA3_256_HMAC, 1));
  EXPECT_FALSE(IsSecretLength(CKK_GENERIC_SECRET, 4097));
  EXPECT_FALSE(IsSecretLength(CKK_RSA, 32));
  EXPECT_EQ(FixedSecretBytes(CKK_DES3), 24u);
  EXPECT_EQ(FixedSecretBytes(CKK_CHACHA20), 32u);
  EXPECT_EQ(FixedSecretBytes(CKK_AES), 0u);
  EXPECT_EQ(CipherBlockBytes(CKK_SM4), 16u);
  EXPECT_EQ(CipherBlockBytes(CKK_DES2), 8u);
  EXPECT_EQ(CipherBlockBytes(CKK_CHACHA20), 0u);
}

}  // namespace
}  // namespace cmkd::spec

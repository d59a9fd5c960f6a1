// What mechanisms that sign a ready hash take.
#include "pkcs11/spec/signed_data.h"

#include <gtest/gtest.h>

namespace cmkd::spec {
namespace {

Bytes DigestInfo(std::uint8_t hash_bytes) {
  Bytes info = {0x30,      static_cast<std::uint8_t>(17 + hash_bytes),
                0x30,      0x0D,
                0x06,      0x09,
                0x60,      0x86,
                0x48,      0x01,
                0x65,      0x03,
                0x04,      0x02,
                0x01,      0x05,
                0x00,      0x04,
                hash_bytes};
  info.insert(info.end(), hash_bytes, 7);
  return info;
}

TEST(SignedData, ADigestInfoHoldsAHashOfItsAlgorithm) {
  const MechanismRow& rsa = *FindMechanism(CKM_RSA_PKCS);
  EXPECT_TRUE(CheckSignedData(rsa, DigestInfo(32)).ok());
  EXPECT_EQ(CheckSignedData(rsa, DigestInfo(20)).error().rv, CKR_DATA_INVALID);
  EXPECT_TRUE(CheckSignedData(rsa, Bytes(36, 1)).ok()) << "two hashes, as TLS 1.1 signs them";
  EXPECT_TRUE(CheckSignedData(rsa, {}).ok());
  EXPECT_TRUE(CheckSignedData(rsa, Bytes{0x30, 2, 0x30, 0xFF}).ok()) << "no DigestInfo at all";
  EXPECT_TRUE(CheckSignedData(*FindMechanism(CKM_SHA256_RSA_PKCS), DigestInfo(20)).ok()) << "a message like any other";
}

TEST(SignedData, EcdsaSignsHashes) {
  const MechanismRow& ecdsa = *FindMechanism(CKM_ECDSA);
  EXPECT_TRUE(CheckSignedData(ecdsa, Bytes(20)).ok());
  EXPECT_TRUE(CheckSignedData(ecdsa, Bytes(64)).ok());
  EXPECT_EQ(CheckSignedData(ecdsa, {}).error().rv, CKR_DATA_LEN_RANGE);
  EXPECT_EQ(CheckSignedData(ecdsa, Bytes(4096)).error().rv, CKR_DATA_LEN_RANGE);
  EXPECT_TRUE(CheckSignedData(*FindMechanism(CKM_ECDSA_SHA256), Bytes(4096)).ok());
}

}  // namespace
}  // namespace cmkd::spec

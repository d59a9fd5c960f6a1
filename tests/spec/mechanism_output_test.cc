// Lengths of outputs, at the edges of blocks and beyond what fits.
#include "pkcs11/spec/mechanism_output.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>

namespace cmkd::spec {
namespace {

constexpr bool kEncrypting = true;
constexpr bool kDecrypting = false;

std::optional<std::size_t> Length(CK_MECHANISM_TYPE type, std::size_t key_bits, std::size_t input, bool encrypting) {
  std::array<std::uint8_t, 12> iv{};
  CK_GCM_PARAMS gcm{iv.data(), iv.size(), 0, nullptr, 0, 96};
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
  CK_MECHANISM mechanism{type, nullptr, 0};
  if (type == CKM_AES_GCM) mechanism = {type, &gcm, sizeof gcm};
  if (type == CKM_RSA_PKCS_OAEP) mechanism = {type, &oaep, sizeof oaep};
  return OutputLength(*FindMechanism(type), mechanism, key_bits, input, encrypting);
}

TEST(OutputLength, OfStreamAndBlockModesIsTheInputs) {
  EXPECT_EQ(Length(CKM_AES_CTR, 256, 33, kEncrypting), 33u);
  EXPECT_EQ(Length(CKM_AES_CBC, 256, 32, kDecrypting), 32u);
}

TEST(OutputLength, OfPaddingIsAlwaysAtLeastOneByteMore) {
  EXPECT_EQ(Length(CKM_AES_CBC_PAD, 256, 0, kEncrypting), 16u);
  EXPECT_EQ(Length(CKM_AES_CBC_PAD, 256, 15, kEncrypting), 16u);
  EXPECT_EQ(Length(CKM_AES_CBC_PAD, 256, 16, kEncrypting), 32u);
  EXPECT_EQ(Length(CKM_AES_CBC_PAD, 256, 32, kDecrypting), 32u);
}

TEST(OutputLength, OfGcmCountsTheTagOfTheParameter) {
  EXPECT_EQ(Length(CKM_AES_GCM, 256, 100, kEncrypting), 112u);
  EXPECT_EQ(Length(CKM_AES_GCM, 256, 112, kDecrypting), 100u);
  EXPECT_EQ(Length(CKM_AES_GCM, 256, 11, kDecrypting), 0u);
}

TEST(OutputLength, OfKeyWrapIsOneSemiblockMore) {
  EXPECT_EQ(Length(CKM_AES_KEY_WRAP, 256, 32, kEncrypting), 40u);
  EXPECT_EQ(Length(CKM_AES_KEY_WRAP, 256, 1, kEncrypting), 24u);
  EXPECT_EQ(Length(CKM_AES_KEY_WRAP, 256, 40, kDecrypting), 32u);
  EXPECT_EQ(Length(CKM_AES_KEY_WRAP_KWP, 256, 20, kEncrypting), 32u);
  EXPECT_EQ(Length(CKM_AES_KEY_WRAP_KWP, 256, 1, kEncrypting), 16u);
  EXPECT_EQ(Length(CKM_AES_KEY_WRAP_KWP, 256, 7, kDecrypting), 0u);
}

TEST(OutputLength, OfMacsAndDigestsDoesNotDependOnTheInput) {
  EXPECT_EQ(Length(CKM_AES_CMAC, 256, 1000, kEncrypting), 16u);
  EXPECT_EQ(Length(CKM_SHA384_HMAC, 512, 0, kEncrypting), 48u);
  EXPECT_EQ(Length(CKM_SHA_1, 0, 5, kEncrypting), 20u);
}

TEST(OutputLength, OfRsaIsTheModulusAndLessWithoutThePadding) {
  EXPECT_EQ(Length(CKM_SHA256_RSA_PKCS, 2048, 7, kEncrypting), 256u);
  EXPECT_EQ(Length(CKM_RSA_PKCS, 2049, 7, kEncrypting), 257u);
  EXPECT_EQ(Length(CKM_RSA_PKCS, 2048, 256, kDecrypting), 245u);
  EXPECT_EQ(Length(CKM_RSA_PKCS_OAEP, 2048, 256, kDecrypting), 256u - 66u);
  EXPECT_EQ(Length(CKM_RSA_X_509, 2048, 256, kDecrypting), 256u);
}

TEST(OutputLength, OfDsaSignaturesIsTwoNumbersOfTheSubprime) {
  Attributes key;
  key.SetUlong(CKA_KEY_TYPE, CKK_DSA);
  key.Set(CKA_PRIME, Bytes(256, 0xff));
  key.Set(CKA_SUBPRIME, Bytes(28, 0xff));
  EXPECT_EQ(OutputBits(*FindMechanism(CKM_DSA), key), 224u);
  EXPECT_EQ(OutputBits(*FindMechanism(CKM_DSA_KEY_PAIR_GEN), key), 2048u);
  EXPECT_EQ(Length(CKM_DSA, 160, 20, kEncrypting), 40u);
  EXPECT_EQ(Length(CKM_DSA_SHA256, 224, 100, kEncrypting), 56u);
}

TEST(OutputLength, OfCurveSignaturesIsTwoCoordinates) {
  EXPECT_EQ(Length(CKM_ECDSA, 256, 32, kEncrypting), 64u);
  EXPECT_EQ(Length(CKM_ECDSA_SHA512, 521, 32, kEncrypting), 132u);
  EXPECT_EQ(Length(CKM_EDDSA, 255, 32, kEncrypting), 64u);
  EXPECT_EQ(Length(CKM_EDDSA, 448, 32, kEncrypting), 114u);
}

TEST(OutputLength, IsNoneForWhatMakesKeysAndForWhatDoesNotFit) {
  EXPECT_EQ(Length(CKM_AES_KEY_GEN, 256, 0, kEncrypting), std::nullopt);
  EXPECT_EQ(Length(CKM_ECDH1_DERIVE, 256, 0, kEncrypting), std::nullopt);
  EXPECT_EQ(Length(CKM_AES_CBC_PAD, 256, ~std::size_t{0}, kEncrypting), std::nullopt);
}

}  // namespace
}  // namespace cmkd::spec

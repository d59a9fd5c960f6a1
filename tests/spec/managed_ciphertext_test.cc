// The header of managed ciphertexts: as published, read and written without loss, refused when it is anything else.
#include "pkcs11/spec/managed_ciphertext.h"

#include <gtest/gtest.h>

#include <random>

#include "pkcs11/spec/mechanism_output.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::spec {
namespace {

ManagedHeader Some(std::mt19937& random) {
  ManagedHeader header;
  header.algorithm = static_cast<ManagedAlgorithm>(1 + random() % 3);
  for (auto& byte : header.key_id) byte = static_cast<std::uint8_t>(random());
  for (auto& byte : header.iv) byte = static_cast<std::uint8_t>(random());
  for (auto& byte : header.commitment) byte = static_cast<std::uint8_t>(random());
  header.key_version = static_cast<std::uint32_t>(random());
  return header;
}

Bytes Ciphertext(const ManagedHeader& header) {
  const auto encoded = EncodeManagedHeader(header);
  Bytes ciphertext(encoded.begin(), encoded.end());
  ciphertext.resize(CMKD_MANAGED_OVERHEAD);
  return ciphertext;
}

TEST(ManagedHeader, IsLaidOutAsPublished) {
  ManagedHeader header;
  header.key_id.fill(0x11);
  header.key_version = 0x01020304;
  header.iv.fill(0x22);
  header.commitment.fill(0x33);
  const auto bytes = EncodeManagedHeader(header);
  Bytes expected = {'C', 'M', 'K', 'C', 1, 3, 0, 72};
  expected.insert(expected.end(), 16, 0x11);
  expected.insert(expected.end(), {1, 2, 3, 4});
  expected.insert(expected.end(), 12, 0x22);
  expected.insert(expected.end(), 32, 0x33);
  EXPECT_EQ(Bytes(bytes.begin(), bytes.end()), expected);
}

TEST(ManagedHeader, ComesBackAsItWas) {
  std::mt19937 random(1);
  for (int round = 0; round < 1000; ++round) {
    const ManagedHeader header = Some(random);
    EXPECT_EQ(ReadManagedHeader(Ciphertext(header)), header);
  }
}

TEST(ManagedHeader, EveryChangedBitIsAnotherHeaderOrNone) {
  std::mt19937 random(2);
  const ManagedHeader header = Some(random);
  const Bytes whole = Ciphertext(header);
  for (std::size_t bit = 0; bit < ManagedHeader::kBytes * 8; ++bit) {
    Bytes changed = whole;
    changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1u << (bit % 8)));
    const auto read = ReadManagedHeader(changed);
    EXPECT_NE(read, header) << bit;
    if (read) {
      const auto again = EncodeManagedHeader(*read);
      EXPECT_TRUE(Equal(again, ByteView(changed).first(ManagedHeader::kBytes))) << bit;
    } else {
      EXPECT_LT(bit, 64u) << "only magic, format, algorithm and length can be refused here";
    }
  }
}

TEST(ManagedHeader, TooShortForATagIsNoCiphertext) {
  std::mt19937 random(3);
  const Bytes whole = Ciphertext(Some(random));
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes)
    EXPECT_EQ(ReadManagedHeader(ByteView(whole).first(bytes)), std::nullopt) << bytes;
}

TEST(ManagedMechanism, TakesItsLimitAndNothingMore) {
  const MechanismRow& row = *FindMechanism(CKM_CMKD_AES_MANAGED);
  const CK_MECHANISM mechanism{row.type, nullptr, 0};
  EXPECT_EQ(OutputLength(row, mechanism, 256, 0, true), 88u);
  EXPECT_EQ(OutputLength(row, mechanism, 256, 4096, true), 4184u);
  EXPECT_EQ(OutputLength(row, mechanism, 256, 4097, true), std::nullopt);
  EXPECT_EQ(OutputLength(row, mechanism, 256, 87, false), std::nullopt);
  EXPECT_EQ(OutputLength(row, mechanism, 256, 88, false), 0u);
  EXPECT_EQ(OutputLength(row, mechanism, 256, 4184, false), 4096u);
  EXPECT_EQ(OutputLength(row, mechanism, 256, 4185, false), std::nullopt);
}

TEST(ManagedMechanism, HasAContextOfAtMostItsBound) {
  const MechanismRow& row = *FindMechanism(CKM_CMKD_AES_MANAGED);
  Bytes context(CMKD_CONTEXT_MAX + 1, 7);
  CK_CMKD_MANAGED_PARAMS parameters{context.data(), CMKD_CONTEXT_MAX};
  const CK_MECHANISM mechanism{row.type, &parameters, sizeof parameters};
  EXPECT_TRUE(CheckParameter(row, mechanism).ok());
  EXPECT_EQ(ReadContext(mechanism).size(), CMKD_CONTEXT_MAX);
  parameters.ulContextLen = CMKD_CONTEXT_MAX + 1;
  EXPECT_FALSE(CheckParameter(row, mechanism).ok());
  parameters = {nullptr, 1};
  EXPECT_FALSE(CheckParameter(row, mechanism).ok());
  parameters = {nullptr, 0};
  EXPECT_TRUE(CheckParameter(row, mechanism).ok());
  EXPECT_TRUE(ReadContext({row.type, nullptr, 0}).empty());
}

}  // namespace
}  // namespace cmkd::spec

// The mechanism table: its order, its names, and that its columns agree with each other.
#include "pkcs11/spec/mechanism_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::spec {
namespace {

TEST(MechanismTable, IsSortedAndEachMechanismIsThereOnce) {
  const auto rows = Mechanisms();
  ASSERT_GE(rows.size(), 205u);
  for (std::size_t i = 1; i < rows.size(); ++i) EXPECT_LT(rows[i - 1].type, rows[i].type) << rows[i].name;
  std::set<std::string_view> names;
  for (const MechanismRow& row : rows)
    EXPECT_TRUE(row.name.starts_with("CKM_") && names.insert(row.name).second) << row.name;
}

TEST(MechanismTable, FindsEveryRowAndNothingElse) {
  for (const MechanismRow& row : Mechanisms()) EXPECT_EQ(FindMechanism(row.type), &row);
  EXPECT_EQ(FindMechanism(CKM_RC4), nullptr);
  EXPECT_EQ(FindMechanism(CKM_VENDOR_DEFINED), nullptr);
  EXPECT_EQ(FindMechanism(CK_UNAVAILABLE_INFORMATION), nullptr);
}

TEST(MechanismTable, EveryRowDoesSomethingAndSaysWhereItsKnownAnswersAre) {
  for (const MechanismRow& row : Mechanisms()) {
    EXPECT_NE(row.operations, 0u) << row.name;
    EXPECT_FALSE(row.vectors.empty()) << row.name;
    EXPECT_LE(row.key_bits_min, row.key_bits_max) << row.name;
  }
}

TEST(MechanismTable, HasAnOutputRuleExactlyWhereThereIsAnOutputBuffer) {
  constexpr CK_FLAGS kMakesKeys = CKF_GENERATE | CKF_GENERATE_KEY_PAIR | CKF_DERIVE;
  for (const MechanismRow& row : Mechanisms()) {
    EXPECT_EQ(row.output == OutputRule::kNone, (row.operations & kMakesKeys) != 0) << row.name;
  }
}

TEST(MechanismTable, KeysAndSizesGoTogether) {
  for (const MechanismRow& row : Mechanisms()) {
    const bool keyless = row.key_type == kNoKeyType;
    EXPECT_EQ(keyless, row.operations == CKF_DIGEST) << row.name;
    const bool sizeless = keyless || row.recipe == Recipe::kPublicFromPrivate;
    EXPECT_EQ(sizeless, row.shown_in == SizeUnit::kNone) << row.name;
    EXPECT_EQ(sizeless, row.key_bits_max == 0) << row.name;
  }
}

TEST(MechanismTable, NamedHashesAreDigests) {
  for (const MechanismRow& row : Mechanisms()) {
    if (row.digest != 0) {
      EXPECT_NE(DigestLength(row.digest), 0u) << row.name;
    }
    if (row.recipe == Recipe::kDigest) {
      EXPECT_EQ(row.digest, row.type) << row.name;
    }
    if (row.recipe == Recipe::kHmac) {
      EXPECT_NE(row.digest, 0u) << row.name;
    }
  }
}

TEST(MechanismTable, OnlyIntegrityCheckedMechanismsAreSearchedByTrial) {
  for (const MechanismRow& row : Mechanisms()) {
    const bool checked = row.output == OutputRule::kPlusTag || row.output == OutputRule::kMac ||
                         row.output == OutputRule::kKeyWrap || row.output == OutputRule::kKeyWrapPad ||
                         row.output == OutputRule::kKeyWrapPkcs7;
    EXPECT_EQ(row.versions == VersionSearch::kTrial, checked) << row.name;
  }
}

TEST(MechanismTable, CurveMechanismsSayWhichEncodingsTheyTake) {
  for (const MechanismRow& row : Mechanisms()) {
    const bool curve = (KeyTypeBit(row.key_type) & kForCurves) != 0;
    EXPECT_EQ((row.operations & CKF_EC_OID) != 0, curve) << row.name;
  }
}

TEST(MechanismTable, ShowsSecretKeysInBytesAndPairsInBits) {
  EXPECT_EQ(FindMechanism(CKM_AES_GCM)->shown_in, SizeUnit::kBytes);
  EXPECT_EQ(FindMechanism(CKM_SHA256_HMAC)->shown_in, SizeUnit::kBytes);
  EXPECT_EQ(FindMechanism(CKM_GENERIC_SECRET_KEY_GEN)->shown_in, SizeUnit::kBits);
  EXPECT_EQ(FindMechanism(CKM_RSA_PKCS)->shown_in, SizeUnit::kBits);
}

TEST(MechanismTable, MakesNoRsaKeyBelow2048Bits) {
  for (const MechanismRow& row : Mechanisms()) {
    if (row.key_type == CKK_RSA) {
      EXPECT_GE(row.key_bits_min, 2048u) << row.name;
    }
  }
  EXPECT_EQ(FindMechanism(CKM_RSA_PKCS_KEY_PAIR_GEN)->key_bits_max, 8192u);
}

TEST(MechanismTable, SignaturesWithSha1AreLegacy) {
  for (const CK_MECHANISM_TYPE type :
       {CKM_SHA1_RSA_PKCS, CKM_SHA1_RSA_PKCS_PSS, CKM_ECDSA_SHA1, CKM_RSA_X_509, CKM_AES_ECB}) {
    EXPECT_EQ(FindMechanism(type)->standing, Standing::kLegacy) << type;
  }
  EXPECT_EQ(FindMechanism(CKM_SHA_1_HMAC)->standing, Standing::kApproved);
}

// What DESIGN and SECURITY.md say of managed tokens: none of this is offered there.
TEST(MechanismTable, WhatGivesKeysAwayPieceByPieceIsLegacy) {
  for (const MechanismRow& row : Mechanisms()) {
    if (InheritsSecrecy(row.recipe)) {
      EXPECT_EQ(row.standing, Standing::kLegacy) << row.name;
    }
    const KeyTypeSet type = row.key_type == kAnyKeyType ? 0 : KeyTypeBit(row.key_type);
    const bool des = type == kForFixed && CipherBlockBytes(row.key_type) == 8;
    if (des || row.digest == CKM_MD5) {
      EXPECT_EQ(row.standing, Standing::kLegacy) << row.name;
    }
  }
  for (const CK_MECHANISM_TYPE type :
       {CKM_CONCATENATE_BASE_AND_KEY, CKM_CONCATENATE_BASE_AND_DATA, CKM_DES_CBC, CKM_XOR_BASE_AND_DATA,
        CKM_EXTRACT_KEY_FROM_KEY, CKM_MD5, CKM_TLS10_MAC_SERVER, CKM_TLS_MASTER_KEY_DERIVE, CKM_RSA_X9_31}) {
    ASSERT_NE(FindMechanism(type), nullptr) << type;
    EXPECT_EQ(FindMechanism(type)->standing, Standing::kLegacy) << type;
  }
}

TEST(MechanismTable, EveryParameterKindOfARowHasALayout) {
  for (const MechanismRow& row : Mechanisms()) {
    bool any = false;
    for (std::size_t bytes = 0; bytes <= kParameterStructBytesMax; ++bytes)
      any = any || LayoutFor(row.parameter, bytes) != nullptr;
    EXPECT_TRUE(any) << row.name;
  }
}

TEST(DigestLength, IsTheOneOfTheDigestAndZeroForOthers) {
  EXPECT_EQ(DigestLength(CKM_SHA_1), 20u);
  EXPECT_EQ(DigestLength(CKM_SHA512_224), 28u);
  EXPECT_EQ(DigestLength(CKM_SHA256), 32u);
  EXPECT_EQ(DigestLength(CKM_SHA384), 48u);
  EXPECT_EQ(DigestLength(CKM_SHA512), 64u);
  EXPECT_EQ(DigestLength(CKM_SHA256_HMAC), 0u);
  EXPECT_EQ(DigestLength(CKM_BLAKE2B_512), 64u);
  EXPECT_EQ(DigestLength(CKM_MD2), 0u);
}

}  // namespace
}  // namespace cmkd::spec

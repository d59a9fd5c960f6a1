// The attribute table: order, disjoint rows, and that nothing of the standard is missing for the objects kept here.
#include "pkcs11/spec/attribute_table.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "pkcs11/spec/vendor.h"
#include "tests/spec/header_numbers.h"

namespace cmkd::spec {
namespace {

// Attributes of classes and key types that this project keeps no objects of.
const std::set<std::string> kOfOtherObjects = {"CKA_AC_ISSUER",
                                               "CKA_OWNER",
                                               "CKA_ATTR_TYPES",      // other certificates
                                               "CKA_SUB_PRIME_BITS",  // now CKA_SUBPRIME_BITS
                                               "CKA_SECONDARY_AUTH",
                                               "CKA_AUTH_PIN_FLAGS",  // withdrawn in 2.20
                                               "CKA_ECDSA_PARAMS",    // now CKA_EC_PARAMS
                                               "CKA_HW_FEATURE_TYPE",
                                               "CKA_RESET_ON_INIT",
                                               "CKA_HAS_RESET",
                                               "CKA_PIXEL_X",
                                               "CKA_PIXEL_Y",
                                               "CKA_RESOLUTION",
                                               "CKA_CHAR_ROWS",
                                               "CKA_CHAR_COLUMNS",
                                               "CKA_COLOR",
                                               "CKA_BITS_PER_PIXEL",
                                               "CKA_CHAR_SETS",
                                               "CKA_ENCODING_METHODS",
                                               "CKA_MIME_TYPES",
                                               "CKA_REQUIRED_CMS_ATTRIBUTES",
                                               "CKA_DEFAULT_CMS_ATTRIBUTES",
                                               "CKA_SUPPORTED_CMS_ATTRIBUTES",
                                               "CKA_PARAMETER_SET",
                                               "CKA_SEED",
                                               "CKA_VENDOR_DEFINED"};

bool OfOtherObjects(const std::string& name) { return kOfOtherObjects.contains(name) || name.starts_with("CKA_GOST"); }

TEST(AttributeTable, MissesNothingOfTheStandard) {
  for (const char* const path :
       {"/usr/include/p11-kit-1/p11-kit/pkcs11.h", CMKD_SOURCE_DIR "/pkcs11/spec/cryptoki_numbers.h"}) {
    const auto numbers = test::ReadNumbers(path);
    ASSERT_TRUE(numbers) << path;
    for (const auto& [name, number] : *numbers) {
      if (!name.starts_with("CKA_") || OfOtherObjects(name)) continue;
      const AttributeRow* row = FindAttribute(number);
      ASSERT_NE(row, nullptr) << name;
      EXPECT_EQ(row->name, name);
    }
  }
}

TEST(AttributeTable, IsSortedAndItsRowsOfOneTypeNeverApplyTogether) {
  const auto rows = AttributeTable();
  for (std::size_t i = 1; i < rows.size(); ++i) EXPECT_LE(rows[i - 1].type, rows[i].type) << rows[i].name;
  for (const CK_OBJECT_CLASS object_class :
       {CKO_DATA, CKO_CERTIFICATE, CKO_PUBLIC_KEY, CKO_PRIVATE_KEY, CKO_SECRET_KEY}) {
    for (const CK_KEY_TYPE key_type :
         {CKK_RSA, CKK_EC, CKK_EC_EDWARDS, CKK_EC_MONTGOMERY, CKK_AES, CKK_GENERIC_SECRET}) {
      std::set<CK_ATTRIBUTE_TYPE> seen;
      for (const AttributeRow& row : rows) {
        if (!AppliesTo(row, object_class, key_type)) continue;
        EXPECT_TRUE(seen.insert(row.type).second) << row.name;
        EXPECT_EQ(FindAttribute(row.type, object_class, key_type), &row) << row.name;
      }
    }
  }
}

TEST(AttributeTable, WhatTheTokenSetsNobodyElseMayGive) {
  for (const AttributeRow& row : AttributeTable()) {
    if (row.set_by != SetBy::kToken) continue;
    EXPECT_TRUE(HasRule(row, kForbiddenOnCreate) && HasRule(row, kForbiddenOnGenerate) &&
                HasRule(row, kForbiddenOnUnwrap))
        << row.name;
    EXPECT_FALSE(HasRule(row, kModifiable | kChangeableOnCopy)) << row.name;
  }
}

TEST(AttributeTable, LatchesAndFlagsAreBooleans) {
  for (const AttributeRow& row : AttributeTable()) {
    const bool flag = HasRule(row, kLatchesTrue | kLatchesFalse | kOnlySoSetsTrue) || row.initial == Default::kUsage ||
                      row.initial == Default::kTrue || row.initial == Default::kFalse;
    if (flag) {
      EXPECT_EQ(row.kind, AttributeKind::kBool) << row.name;
    }
  }
}

TEST(AttributeTable, EverySecretPartIsHiddenAndCannotBeUnwrappedInTheClear) {
  const std::set<std::string_view> secret = {"CKA_VALUE",      "CKA_PRIVATE_EXPONENT", "CKA_PRIME_1",    "CKA_PRIME_2",
                                             "CKA_EXPONENT_1", "CKA_EXPONENT_2",       "CKA_COEFFICIENT"};
  for (const AttributeRow& row : AttributeTable()) {
    const bool of_key = (row.classes & (kOnPrivateKey | kOnSecretKey)) != 0;
    EXPECT_EQ(HasRule(row, kHiddenWhenSensitive), of_key && secret.contains(row.name)) << row.name;
    if (HasRule(row, kHiddenWhenSensitive)) {
      EXPECT_TRUE(HasRule(row, kForbiddenOnUnwrap)) << row.name;
    }
  }
}

TEST(AttributeTable, KeepsMaterialOfOneKeyTypeFromOthers) {
  EXPECT_NE(FindAttribute(CKA_MODULUS, CKO_PUBLIC_KEY, CKK_RSA), nullptr);
  EXPECT_EQ(FindAttribute(CKA_MODULUS, CKO_PUBLIC_KEY, CKK_EC), nullptr);
  EXPECT_EQ(FindAttribute(CKA_MODULUS, CKO_SECRET_KEY, CKK_AES), nullptr);
  EXPECT_EQ(FindAttribute(CKA_VALUE, CKO_PRIVATE_KEY, CKK_RSA), nullptr);
  EXPECT_EQ(FindAttribute(CKA_EC_POINT, CKO_SECRET_KEY, CKK_AES), nullptr);
}

TEST(AttributeTable, OurOwnAttributesAreOnKeysAndReadOnly) {
  for (CK_ATTRIBUTE_TYPE type = CKA_CMKD_STATE; type <= CKA_CMKD_PROTECTION; ++type) {
    const AttributeRow* row = FindAttribute(type);
    ASSERT_NE(row, nullptr);
    EXPECT_EQ(row->classes, kOnKeys) << row->name;
    EXPECT_EQ(row->set_by, SetBy::kToken) << row->name;
  }
}

TEST(AttributeTable, KnowsOnlyTheClassesAndTypesOfThisProject) {
  EXPECT_EQ(ClassBit(CKO_OTP_KEY), kOnSecretKey | kOnOtpKey);
  EXPECT_EQ(ClassBit(CKO_HW_FEATURE), 0);
  EXPECT_EQ(ClassBit(CK_UNAVAILABLE_INFORMATION), 0);
  EXPECT_EQ(KeyTypeBit(CKK_RC4), 0);
  EXPECT_EQ(KeyTypeBit(CKK_SHA256_HMAC), kForGeneric);
  EXPECT_EQ(FindAttribute(CKA_LABEL, CKO_HW_FEATURE, CKK_AES), nullptr);
}

}  // namespace
}  // namespace cmkd::spec

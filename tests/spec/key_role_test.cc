// Which keys may wrap sensitive keys, what they may do besides, and with which mechanisms.
#include "pkcs11/spec/key_role.h"

#include <gtest/gtest.h>

#include "pkcs11/spec/vendor.h"

namespace cmkd::spec {
namespace {

Attributes ClosedAes() {
  Attributes key;
  key.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  key.SetUlong(CKA_KEY_TYPE, CKK_AES);
  key.SetUlong(CKA_VALUE_LEN, 32);
  for (const CK_ATTRIBUTE_TYPE type : {CKA_WRAP, CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE})
    key.SetBool(type, true);
  return key;
}

TEST(KeyRole, AKeyThatSaysNothingIsForData) { EXPECT_EQ(RoleOf(Attributes()), KeyRole::kData); }

TEST(KeyRole, AClosedKeyThatWrapsIsUndecided) {
  Attributes key = ClosedAes();
  GiveRole(key);
  EXPECT_EQ(RoleOf(key), KeyRole::kUndecided);
  SetRole(KeyRole::kWrapping, key);
  EXPECT_EQ(RoleOf(key), KeyRole::kWrapping);
  SetRole(KeyRole::kData, key);
  EXPECT_EQ(RoleOf(key), KeyRole::kData);
  EXPECT_FALSE(key.Has(CKA_CMKD_ROLE));
}

// Each of the four must hold: one that fails is a way to know the wrapping key, or no wrapping key at all.
TEST(KeyRole, AKeyThatCouldBeKnownOutsideIsForData) {
  for (const CK_ATTRIBUTE_TYPE type : {CKA_WRAP, CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE}) {
    Attributes key = ClosedAes();
    key.SetBool(type, false);
    GiveRole(key);
    EXPECT_EQ(RoleOf(key), KeyRole::kData) << type;
  }
}

TEST(KeyRole, OfAPairBothHalvesHaveTheSame) {
  Attributes public_key, private_key = ClosedAes();
  private_key.Remove(CKA_WRAP);
  private_key.SetBool(CKA_TOKEN, true);
  public_key.SetBool(CKA_TOKEN, true);
  GiveRole(public_key, private_key);
  EXPECT_EQ(RoleOf(public_key), KeyRole::kData) << "it does not wrap";
  public_key.SetBool(CKA_WRAP, true);
  GiveRole(public_key, private_key);
  EXPECT_EQ(RoleOf(public_key), KeyRole::kUndecided);
  EXPECT_EQ(RoleOf(private_key), KeyRole::kUndecided);
  public_key.SetBool(CKA_TOKEN, false);
  GiveRole(public_key, private_key);
  EXPECT_EQ(RoleOf(private_key), KeyRole::kData) << "one half on the token, one in the session";
  public_key.SetBool(CKA_TOKEN, true);
  private_key.SetBool(CKA_NEVER_EXTRACTABLE, false);
  GiveRole(public_key, private_key);
  EXPECT_EQ(RoleOf(public_key), KeyRole::kData) << "the private half can leave";
}

TEST(KeyRole, WhatWorksOnData) {
  const MechanismRow& gcm = *FindMechanism(CKM_AES_GCM);
  const MechanismRow& cmac = *FindMechanism(CKM_AES_CMAC);
  const MechanismRow& pkcs = *FindMechanism(CKM_SHA256_RSA_PKCS);
  const MechanismRow& raw = *FindMechanism(CKM_RSA_X_509);
  EXPECT_TRUE(IsDataUse(gcm, CKO_SECRET_KEY, CKA_ENCRYPT)) << "a stream of its own decrypts";
  EXPECT_TRUE(IsDataUse(gcm, CKO_SECRET_KEY, CKA_DECRYPT));
  EXPECT_TRUE(IsDataUse(cmac, CKO_SECRET_KEY, CKA_SIGN));
  EXPECT_TRUE(IsDataUse(raw, CKO_PRIVATE_KEY, CKA_DECRYPT));
  EXPECT_TRUE(IsDataUse(raw, CKO_PRIVATE_KEY, CKA_SIGN)) << "a raw signature is a decryption";
  EXPECT_FALSE(IsDataUse(pkcs, CKO_PRIVATE_KEY, CKA_SIGN));
  EXPECT_FALSE(IsDataUse(raw, CKO_PUBLIC_KEY, CKA_ENCRYPT));
  EXPECT_FALSE(IsDataUse(cmac, CKO_SECRET_KEY, CKA_VERIFY));
  EXPECT_FALSE(IsDataUse(*FindMechanism(CKM_AES_KEY_WRAP), CKO_SECRET_KEY, CKA_UNWRAP));
}

TEST(KeyRole, WhatKeepsAWrappedKeyWhole) {
  for (const CK_MECHANISM_TYPE type : {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD, CKM_RSA_PKCS_OAEP}) {
    EXPECT_TRUE(WrapsWhole(*FindMechanism(type))) << type;
  }
  for (const CK_MECHANISM_TYPE type : {CKM_AES_CBC_PAD, CKM_AES_CBC, CKM_AES_CTR, CKM_AES_ECB, CKM_RSA_PKCS}) {
    EXPECT_FALSE(WrapsWhole(*FindMechanism(type))) << type;
  }
}

TEST(KeyRole, AWeakerKeyDoesNotWrap) {
  Attributes weak = ClosedAes(), strong = ClosedAes(), mac = ClosedAes();
  weak.SetUlong(CKA_VALUE_LEN, 16);
  mac.SetUlong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
  mac.SetUlong(CKA_VALUE_LEN, 64);
  EXPECT_EQ(CheckWrappingStrength(weak, strong).error().rv, CKR_WRAPPING_KEY_SIZE_RANGE);
  EXPECT_TRUE(CheckWrappingStrength(strong, weak).ok());
  EXPECT_TRUE(CheckWrappingStrength(strong, mac).ok()) << "256 bits are as strong as it gets";
}

}  // namespace
}  // namespace cmkd::spec

// What the standard lists for each function.
#include "pkcs11/spec/listed_returns.h"

#include <gtest/gtest.h>

#include "pkcs11/spec/return_values.h"

namespace cmkd::spec {
namespace {

TEST(ListedReturns, EveryFunctionThatCrossesTheWireHasItsOwn) {
  for (const CallRow& row : kCalls) {
    if (IsOwn(row.id) || row.local) continue;
    EXPECT_TRUE(IsListed(row.id, CKR_CRYPTOKI_NOT_INITIALIZED)) << row.name;
    EXPECT_TRUE(IsListed(row.id, CKR_DEVICE_ERROR) || row.gate == Gate::kOpen) << row.name;
  }
}

TEST(ListedReturns, AreOnlyValuesThatHaveANameInTheStandard) {
  for (const CallRow& row : kCalls) {
    for (CK_RV rv = 0; rv < 0x1000; ++rv) {
      EXPECT_TRUE(!IsListed(row.id, rv) || FindReturnValue(rv) != nullptr) << row.name << " " << rv;
    }
    EXPECT_FALSE(IsListed(row.id, CKR_VENDOR_DEFINED)) << row.name;
  }
}

TEST(ListedReturns, KnowOneFunctionFromAnother) {
  EXPECT_TRUE(IsListed(CallId::C_Verify, CKR_SIGNATURE_INVALID));
  EXPECT_FALSE(IsListed(CallId::C_Encrypt, CKR_SIGNATURE_INVALID));
  EXPECT_TRUE(IsListed(CallId::C_Encrypt, CKR_FUNCTION_FAILED));
  EXPECT_FALSE(IsListed(CallId::C_Encrypt, CKR_PIN_EXPIRED));
  EXPECT_TRUE(IsListed(CallId::C_Login, CKR_PIN_INCORRECT));
  EXPECT_TRUE(IsListed(CallId::C_DeriveKey, CKR_PUBLIC_KEY_INVALID));
  EXPECT_FALSE(IsListed(CallId::C_Encrypt, CKR_MECHANISM_PARAM_INVALID));
  EXPECT_TRUE(IsListedHere(CallId::C_Encrypt, CKR_MECHANISM_PARAM_INVALID));
  EXPECT_FALSE(IsListedHere(CallId::C_Encrypt, CKR_SIGNATURE_INVALID));
}

}  // namespace
}  // namespace cmkd::spec

// What the standard lists for each function.
#include "pkcs11/spec/listed_returns.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "pkcs11/spec/return_values.h"

namespace cmkd::spec {
namespace {

TEST(ListedReturns, EveryFunctionThatCrossesTheWireHasItsOwn) {
  for (const CallRow& row : kCalls) {
    if (IsOwn(row.id) || row.local) continue;
    const auto listed = ListedReturns(row.id);
    EXPECT_TRUE(std::find(listed.begin(), listed.end(), CKR_CRYPTOKI_NOT_INITIALIZED) != listed.end()) << row.name;
    EXPECT_TRUE(std::find(listed.begin(), listed.end(), CKR_DEVICE_ERROR) != listed.end() || row.gate == Gate::kOpen)
        << row.name;
    for (const CK_RV rv : listed) EXPECT_NE(FindReturnValue(rv), nullptr) << row.name << " " << rv;
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

// Names and sentences of return values and detail codes.
#include "pkcs11/spec/return_values.h"

#include <gtest/gtest.h>

#include <set>

#include "pkcs11/spec/vendor.h"
#include "tests/spec/header_numbers.h"

namespace cmkd::spec {
namespace {

TEST(ReturnValues, AreSortedNamedAndExplained) {
  CK_RV last = 0;
  for (const ReturnValueRow& row : ReturnValues()) {
    EXPECT_TRUE(row.rv > last || row.rv == CKR_OK) << row.name;
    EXPECT_TRUE(row.name.starts_with("CKR_")) << row.name;
    EXPECT_TRUE(row.sentence.ends_with(".")) << row.name;
    last = row.rv;
  }
}

TEST(ReturnValues, AreFoundByNumberAndByName) {
  for (const ReturnValueRow& row : ReturnValues()) {
    EXPECT_EQ(FindReturnValue(row.rv), &row);
    EXPECT_EQ(FindReturnValue(row.name), &row);
  }
  EXPECT_EQ(FindReturnValue(CK_RV{4}), nullptr);
  EXPECT_EQ(FindReturnValue("CKR_NONSENSE"), nullptr);
}

TEST(ReturnValues, AreAllThatTheHeadersDefine) {
  for (const char* const path : {CMKD_SOURCE_DIR "/pkcs11/spec/cryptoki_numbers.h", "/usr/include/nss/pkcs11t.h"}) {
    const auto numbers = test::ReadNumbers(path);
    if (!numbers) continue;  // numbers_test.cc says which package to install
    for (const auto& [name, number] : *numbers) {
      if (name.starts_with("CKR_")) {
        EXPECT_NE(FindReturnValue(name), nullptr) << name;
      }
    }
  }
}

TEST(ReturnValues, UnknownOnesAreShownAsNumbers) {
  EXPECT_EQ(ReturnValueName(CKR_OK), "CKR_OK");
  EXPECT_EQ(ReturnValueName(0x80001234), "CK_RV 0x80001234");
}

TEST(Details, HaveDifferentCodesAndNames) {
  std::set<CK_ULONG> codes;
  std::set<std::string_view> names;
  for (const DetailRow& row : kDetails) {
    EXPECT_TRUE(codes.insert(row.code).second) << row.name;
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(row.sentence.ends_with(".")) << row.name;
    EXPECT_EQ(FindDetail(row.code), &row);
    EXPECT_EQ(FindDetail(row.name), &row);
  }
  EXPECT_EQ(FindDetail(CK_ULONG{9999}), nullptr);
}

TEST(Details, LeaveTheNumbersBelow64ToTheRefusalsOfTheLifecycle) {
  ASSERT_EQ(kDetails[0].code, kNoDetail);
  for (std::size_t i = 1; i < kDetails.size(); ++i) EXPECT_EQ(kDetails[i].code, 63 + i);
}

}  // namespace
}  // namespace cmkd::spec

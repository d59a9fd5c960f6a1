// The lengths of SP 800-108, and the bounds of its additional keys.
#include "pkcs11/spec/sp800_108.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/limits.h"
#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::spec {
namespace {

// The example of 3.2, "Deriving Additional Keys": 48 and 16 bytes of SHA-256 are 512 bits, or three segments.
TEST(Sp800, CountsKeysAndSegments) {
  const std::size_t example[] = {48, 16};
  const DkmLength length = LengthOfKeys(example, 32);
  EXPECT_EQ(length.keys, 512u);
  EXPECT_EQ(length.segments, 768u);
  EXPECT_EQ(InSegments(0, 32), 0u);
  EXPECT_EQ(InSegments(1, 32), 32u);
  EXPECT_EQ(InSegments(32, 32), 32u);
  EXPECT_EQ(InSegments(33, 32), 64u);
}

TEST(Sp800, WritesNumbersOfAnyWidthFromEitherEnd) {
  const auto written = [](std::uint64_t number, CK_ULONG bits, bool little) {
    Bytes bytes;
    AppendSp800Number(number, bits, little, bytes);
    return Hex(bytes);
  };
  EXPECT_EQ(written(0x0300, 16, false), "0300");
  EXPECT_EQ(written(0x0300, 16, true), "0003");
  EXPECT_EQ(written(0x0300, 8, false), "00");
  EXPECT_EQ(written(0x0102030405060708, 64, false), "0102030405060708");
  EXPECT_EQ(written(0x0102030405060708, 24, true), "080706");
}

TEST(Sp800, TheLengthIsThatOfItsMethod) {
  CK_SP800_108_DKM_LENGTH_FORMAT format{CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, CK_FALSE, 32};
  Bytes input{0xAA};
  AppendDkmLength(&format, {512, 768}, input);
  EXPECT_EQ(Hex(input), "aa00000200");
  format.dkmLengthMethod = CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS;
  format.bLittleEndian = CK_TRUE;
  AppendDkmLength(&format, {512, 768}, input);
  EXPECT_EQ(Hex(input), "aa0000020000030000");
}

// Which parts the input of a mode has (3.2, "SP 800-108 Key Derivation"); in counter mode the variable is the counter.
CK_RV RvOfParts(CK_MECHANISM_TYPE type, std::vector<CK_PRF_DATA_PARAM> parts) {
  CK_SP800_108_KDF_PARAMS plain{CKM_SHA256_HMAC, parts.size(), parts.data(), 0, nullptr};
  CK_SP800_108_FEEDBACK_KDF_PARAMS feedback{CKM_SHA256_HMAC, parts.size(), parts.data(), 0, nullptr, 0, nullptr};
  const bool feeds_back = type == CKM_SP800_108_FEEDBACK_KDF;
  const CK_MECHANISM mechanism{type, feeds_back ? static_cast<void*>(&feedback) : &plain,
                               feeds_back ? sizeof feedback : sizeof plain};
  const Status status = CheckParameter(*FindMechanism(type), mechanism);
  return status.ok() ? CKR_OK : status.error().rv;
}

TEST(Sp800, AModeHasItsVariableAndACounterWhereTheVariableIsNone) {
  CK_SP800_108_COUNTER_FORMAT format{CK_FALSE, 32};
  const CK_PRF_DATA_PARAM counting{CK_SP800_108_ITERATION_VARIABLE, &format, sizeof format};
  const CK_PRF_DATA_PARAM variable{CK_SP800_108_ITERATION_VARIABLE, nullptr, 0};
  const CK_PRF_DATA_PARAM counter{CK_SP800_108_COUNTER, &format, sizeof format};
  EXPECT_EQ(RvOfParts(CKM_SP800_108_COUNTER_KDF, {counting}), CKR_OK);
  EXPECT_EQ(RvOfParts(CKM_SP800_108_COUNTER_KDF, {variable}), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(RvOfParts(CKM_SP800_108_COUNTER_KDF, {}), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(RvOfParts(CKM_SP800_108_COUNTER_KDF, {counting, counting}), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(RvOfParts(CKM_SP800_108_COUNTER_KDF, {counting, counter}), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(RvOfParts(CKM_SP800_108_DOUBLE_PIPELINE_KDF, {}), CKR_OK);
  for (const CK_MECHANISM_TYPE type : {CKM_SP800_108_FEEDBACK_KDF, CKM_SP800_108_DOUBLE_PIPELINE_KDF}) {
    EXPECT_EQ(RvOfParts(type, {variable}), CKR_OK);
    EXPECT_EQ(RvOfParts(type, {variable, counter}), CKR_OK);
    EXPECT_EQ(RvOfParts(type, {variable, counter, counter}), CKR_MECHANISM_PARAM_INVALID);
    EXPECT_EQ(RvOfParts(type, {counting}), CKR_MECHANISM_PARAM_INVALID);
  }
}

class AdditionalKeys : public ::testing::Test {
 protected:
  CK_RV Check() {
    CK_SP800_108_KDF_PARAMS plain{CKM_SHA256_HMAC, 1, &part_, keys_.size(), keys_.data()};
    CK_PRF_DATA_PARAM variable{CK_SP800_108_ITERATION_VARIABLE, nullptr, 0};
    CK_SP800_108_FEEDBACK_KDF_PARAMS feedback{CKM_SHA256_HMAC, 1, &variable, 0, nullptr, keys_.size(), keys_.data()};
    const CK_MECHANISM counting{CKM_SP800_108_COUNTER_KDF, &plain, sizeof plain};
    const CK_MECHANISM feeding{CKM_SP800_108_FEEDBACK_KDF, &feedback, sizeof feedback};
    const CK_RV one = Of(counting), other = Of(feeding);
    EXPECT_EQ(one, other);
    return one;
  }
  CK_RV Of(const CK_MECHANISM& mechanism) {
    const MechanismRow& row = *FindMechanism(mechanism.mechanism);
    const Status status = CheckParameter(row, mechanism);
    const std::size_t told = AdditionalKeysIn(row, mechanism).size();
    if (!status.ok()) return status.error().rv;
    EXPECT_EQ(told, keys_.size());
    const auto results = ResultsIn(row, mechanism);
    for (std::size_t i = 0; i < results.size(); ++i) {
      const bool there = i < keys_.size();
      EXPECT_EQ(results[i].data(), there ? reinterpret_cast<std::uint8_t*>(keys_[i].phKey) : nullptr);
      EXPECT_EQ(results[i].size(), there ? sizeof(CK_OBJECT_HANDLE) : 0);
    }
    return CKR_OK;
  }

  CK_SP800_108_COUNTER_FORMAT counter_{CK_FALSE, 32};
  CK_PRF_DATA_PARAM part_{CK_SP800_108_ITERATION_VARIABLE, &counter_, sizeof counter_};
  CK_ULONG value_ = 16;
  std::vector<CK_ATTRIBUTE> list_{{CKA_VALUE_LEN, &value_, sizeof value_}};
  CK_OBJECT_HANDLE handle_ = 0;
  std::vector<CK_DERIVED_KEY> keys_{{list_.data(), list_.size(), &handle_}};
};

TEST_F(AdditionalKeys, AreAtMostSoMany) {
  EXPECT_EQ(Check(), CKR_OK);
  keys_.resize(kAdditionalKeysMax, keys_.front());
  EXPECT_EQ(Check(), CKR_OK);
  keys_.push_back(keys_.front());
  EXPECT_EQ(Check(), CKR_MECHANISM_PARAM_INVALID);
  keys_.clear();
  EXPECT_EQ(Check(), CKR_OK);
}

TEST_F(AdditionalKeys, HaveAPlaceForTheirHandle) {
  keys_.push_back(keys_.front());
  keys_[1].phKey = nullptr;
  EXPECT_EQ(Check(), CKR_MECHANISM_PARAM_INVALID);
}

TEST_F(AdditionalKeys, HaveTemplatesOfBoundedLength) {
  list_.resize(limits::kTemplateAttributesMax, list_.front());
  keys_.front() = {list_.data(), list_.size(), &handle_};
  EXPECT_EQ(Check(), CKR_OK);
  list_.push_back(list_.front());
  keys_.front() = {list_.data(), list_.size(), &handle_};
  EXPECT_EQ(Check(), CKR_MECHANISM_PARAM_INVALID);
  keys_.front() = {nullptr, 1, &handle_};
  EXPECT_EQ(Check(), CKR_MECHANISM_PARAM_INVALID);
  keys_.front() = {nullptr, 0, &handle_};
  EXPECT_EQ(Check(), CKR_OK);
  list_ = {{CKA_LABEL, nullptr, 0}};
  keys_.front() = {list_.data(), 1, &handle_};
  EXPECT_EQ(Check(), CKR_OK);
  list_[0].ulValueLen = 1;
  EXPECT_EQ(Check(), CKR_MECHANISM_PARAM_INVALID);
  Bytes longest(limits::kAttributeBytesMax + 1);
  list_[0] = {CKA_LABEL, longest.data(), longest.size() - 1};
  EXPECT_EQ(Check(), CKR_OK);
  list_[0].ulValueLen = longest.size();
  EXPECT_EQ(Check(), CKR_MECHANISM_PARAM_INVALID);
}

}  // namespace
}  // namespace cmkd::spec

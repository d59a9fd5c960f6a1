// Builds templates and checks Status values in the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "pkcs11/spec/error.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::spec::test {

// A template that owns its values. Copies are not made: the CK_ATTRIBUTEs point into it.
class TemplateBuilder {
 public:
  TemplateBuilder() = default;
  TemplateBuilder(const TemplateBuilder&) = delete;
  TemplateBuilder& operator=(const TemplateBuilder&) = delete;

  TemplateBuilder& Value(CK_ATTRIBUTE_TYPE type, ByteView value) {
    values_.push_back(ToBytes(value));
    attributes_.push_back({type, values_.back().data(), values_.back().size()});
    return *this;
  }
  TemplateBuilder& Bool(CK_ATTRIBUTE_TYPE type, bool value) {
    const std::uint8_t byte = value ? 1 : 0;
    return Value(type, {&byte, 1});
  }
  TemplateBuilder& Ulong(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
    return Value(type, {reinterpret_cast<const std::uint8_t*>(&value), sizeof value});
  }
  TemplateBuilder& Text(CK_ATTRIBUTE_TYPE type, std::string_view value) { return Value(type, AsBytes(value)); }
  TemplateBuilder& Nested(CK_ATTRIBUTE_TYPE type, std::span<const CK_ATTRIBUTE> inside) {
    return Value(type, {reinterpret_cast<const std::uint8_t*>(inside.data()), inside.size_bytes()});
  }
  TemplateBuilder& Raw(const CK_ATTRIBUTE& attribute) {
    attributes_.push_back(attribute);
    return *this;
  }
  void Remove(CK_ATTRIBUTE_TYPE type) {
    std::erase_if(attributes_, [type](const CK_ATTRIBUTE& attribute) { return attribute.type == type; });
  }

  std::span<const CK_ATTRIBUTE> get() const { return attributes_; }
  operator std::span<const CK_ATTRIBUTE>() const { return attributes_; }  // NOLINT

 private:
  std::deque<Bytes> values_;
  std::vector<CK_ATTRIBUTE> attributes_;
};

inline CK_RV RvOf(const Status& status) { return status.ok() ? CKR_OK : status.error().rv; }

// Names both values and the reason when they differ.
inline testing::AssertionResult HasRv(const Status& status, CK_RV expected) {
  if (RvOf(status) == expected) return testing::AssertionSuccess();
  return testing::AssertionFailure() << ReturnValueName(RvOf(status)) << " instead of " << ReturnValueName(expected)
                                     << (status.ok() ? "" : ": " + status.error().why);
}

}  // namespace cmkd::spec::test

#define EXPECT_RV(expected, expression) EXPECT_TRUE(::cmkd::spec::test::HasRv(expression, expected))

// One check for each kind of attribute.
#include "pkcs11/spec/attribute_values.h"

#include "pkcs11/spec/template_codec.h"

namespace cmkd::spec {
namespace {

Failure<Error> Invalid(const AttributeRow& row, std::string_view why) {
  return Fail(CKR_ATTRIBUTE_VALUE_INVALID, std::string(row.name) + " " + std::string(why));
}

// A number of ASCII digits; -1 if there is anything else.
int Number(ByteView digits) {
  int value = 0;
  for (const std::uint8_t digit : digits) {
    if (digit < '0' || digit > '9') return -1;
    value = value * 10 + (digit - '0');
  }
  return value;
}

bool IsDate(ByteView value) {
  const int month = Number(value.subspan(4, 2));
  const int day = Number(value.subspan(6, 2));
  return Number(value.first(4)) >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

// The attributes inside must be known and well formed; on which objects they may stand is known only when they are
// applied.
Status CheckInside(std::span<const CK_ATTRIBUTE> attributes) {
  for (const CK_ATTRIBUTE& attribute : attributes) {
    const AttributeRow* row = FindAttribute(attribute.type);
    if (row == nullptr) return Fail(CKR_ATTRIBUTE_TYPE_INVALID, "unknown attribute in a nested template");
    RETURN_IF_ERROR(CheckValue(*row, attribute));
  }
  return {};
}

Status CheckNested(const CK_ATTRIBUTE& attribute) {
  // Encoding bounds depth and number; only then is it safe to walk.
  const Fallible<Bytes> encoded = EncodeTemplate({&attribute, 1});
  if (!encoded.ok()) return Failure<Error>{encoded.error()};
  return CheckInside({static_cast<const CK_ATTRIBUTE*>(attribute.pValue), attribute.ulValueLen / sizeof(CK_ATTRIBUTE)});
}

}  // namespace

Status CheckValue(const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  if (attribute.ulValueLen > kTemplateBytesMax) return Invalid(row, "is too long");
  if (attribute.pValue == nullptr && attribute.ulValueLen != 0) return Invalid(row, "is NULL but has a length");
  const ByteView value = ValueOf(attribute);
  switch (row.kind) {
    case AttributeKind::kBool:
      if (value.size() != sizeof(CK_BBOOL) || value[0] > CK_TRUE) return Invalid(row, "is no boolean");
      return {};
    case AttributeKind::kUlong:
      if (value.size() != sizeof(CK_ULONG)) return Invalid(row, "is no CK_ULONG");
      return {};
    case AttributeKind::kDate:
      if (!value.empty() && (value.size() != sizeof(CK_DATE) || !IsDate(value))) return Invalid(row, "is no date");
      return {};
    case AttributeKind::kMechanismList:
      if (value.size() % sizeof(CK_MECHANISM_TYPE) != 0) return Invalid(row, "is no list of mechanisms");
      if (value.size() / sizeof(CK_MECHANISM_TYPE) > kMechanismListMax) return Invalid(row, "has too many mechanisms");
      return {};
    case AttributeKind::kTemplate: return CheckNested(attribute);
    case AttributeKind::kBigInteger:
      if (value.size() > kNumberBytesMax) return Invalid(row, "is too long");
      return {};
    case AttributeKind::kBytes:
    case AttributeKind::kText: return {};
  }
  return {};
}

}  // namespace cmkd::spec

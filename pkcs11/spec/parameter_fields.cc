// Reads and checks the fields of a mechanism parameter, whatever struct they are of.
#include <algorithm>

#include "common/limits.h"
#include "pkcs11/spec/parameter_rows.h"

namespace cmkd::spec {
namespace {

using parameters::CheckFields;
using parameters::Invalid;
using parameters::UlongAt;

template <class Pointer>
Pointer PointerAt(const void* parameter, std::size_t offset) {
  Pointer pointer;
  std::memcpy(&pointer, static_cast<const std::uint8_t*>(parameter) + offset, sizeof pointer);
  return pointer;
}

// Structs behind a pointer. Deeper than that the layouts do not go.
Status CheckStructs(const ParameterField& field, const void* parameter) {
  const std::size_t count = FieldStructCount(parameter, field);
  if (count > field.limit) return Invalid(std::string(field.name) + " has more elements than are taken");
  const auto* first = static_cast<const std::uint8_t*>(FieldPointer(parameter, field));
  if (count > 0 && first == nullptr) return Invalid(std::string(field.name) + " is NULL");
  for (std::size_t i = 0; i < count; ++i) RETURN_IF_ERROR(CheckFields(field.inner(), first + i * field.size));
  return {};
}

// A template behind a pointer: what its attributes may be is for the rules of templates.
Status CheckTemplate(const ParameterField& field, const void* parameter) {
  const std::size_t count = FieldStructCount(parameter, field);
  if (count > field.limit) return Invalid(std::string(field.name) + " has more attributes than are taken");
  const auto* list = static_cast<const CK_ATTRIBUTE*>(FieldPointer(parameter, field));
  if (count > 0 && list == nullptr) return Invalid(std::string(field.name) + " is NULL but has a length");
  for (std::size_t i = 0; i < count; ++i) {
    if (list[i].ulValueLen > limits::kAttributeBytesMax) return Invalid("an attribute is longer than is taken");
    if (list[i].pValue == nullptr && list[i].ulValueLen != 0) return Invalid("an attribute is NULL but has a length");
  }
  return {};
}

Status CheckBuffer(const ParameterField& field, const void* parameter) {
  const std::size_t bytes = FieldBufferBytes(parameter, field);
  if (bytes > field.limit) return Invalid(std::string(field.name) + " is longer than is taken");
  if (bytes > 0 && FieldPointer(parameter, field) == nullptr) {
    return Invalid(std::string(field.name) + " is NULL but has a length");
  }
  return {};
}

Status CheckField(const ParameterField& field, const void* parameter) {
  switch (field.kind) {
    case FieldKind::kUlong:
    case FieldKind::kByte:
    case FieldKind::kFixedBytes:
    case FieldKind::kKeyHandle: return {};
    case FieldKind::kStruct:
    case FieldKind::kStructArray: return CheckStructs(field, parameter);
    case FieldKind::kTemplate: return CheckTemplate(field, parameter);
    case FieldKind::kBytesOfFixedLength:
      // A fixed length is not said by the caller; without the pointer it is not there.
      if (field.direction == Direction::kOut || field.name == "pVersion") return {};
      return CheckBuffer(field, parameter);
    case FieldKind::kBytesWithLength:
    case FieldKind::kBytesWithBitLength:
    case FieldKind::kRoom: return CheckBuffer(field, parameter);
  }
  return {};
}

}  // namespace

CK_ULONG FieldUlong(const void* parameter, const ParameterField& field) {
  if (field.kind == FieldKind::kByte) return static_cast<const std::uint8_t*>(parameter)[field.offset];
  return UlongAt(parameter, field.offset);
}

const void* FieldPointer(const void* parameter, const ParameterField& field) {
  return PointerAt<const void*>(parameter, field.offset);
}

std::size_t FieldStructCount(const void* parameter, const ParameterField& field) {
  if (field.kind == FieldKind::kStruct) return 1;
  return std::min<CK_ULONG>(UlongAt(parameter, field.length_offset), field.limit + CK_ULONG{1});
}

std::size_t FieldBufferBytes(const void* parameter, const ParameterField& field) {
  if (field.kind == FieldKind::kBytesOfFixedLength) return field.size;
  if (field.kind == FieldKind::kRoom) {
    const auto* room = PointerAt<const CK_ULONG*>(parameter, field.length_offset);
    return room == nullptr ? 0 : std::min<CK_ULONG>(*room, field.limit + CK_ULONG{1});
  }
  CK_ULONG length = UlongAt(parameter, field.length_offset);
  if (field.kind == FieldKind::kBytesWithBitLength) length = length / 8 + (length % 8 != 0 ? 1 : 0);
  return std::min<CK_ULONG>(length, field.limit + CK_ULONG{1});
}

namespace parameters {

Status CheckFields(std::span<const ParameterField> fields, const void* parameter) {
  for (const ParameterField& field : fields) RETURN_IF_ERROR(CheckField(field, parameter));
  return {};
}

const ParameterField* FieldNamed(const ParameterLayout& layout, std::string_view name) {
  const auto field = std::find_if(layout.fields.begin(), layout.fields.end(),
                                  [name](const ParameterField& f) { return f.name == name; });
  return field == layout.fields.end() ? nullptr : &*field;
}

CK_ULONG Fields::Value(std::string_view name) const {
  const ParameterField* field = FieldNamed(layout, name);
  return field == nullptr ? 0 : FieldUlong(parameter, *field);
}

ByteView Fields::Buffer(std::string_view name) const {
  const ParameterField* field = FieldNamed(layout, name);
  if (field == nullptr) return {};
  return {static_cast<const std::uint8_t*>(FieldPointer(parameter, *field)), FieldBufferBytes(parameter, *field)};
}

}  // namespace parameters
}  // namespace cmkd::spec

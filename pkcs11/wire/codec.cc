// The shapes whose layout is data: mechanisms and message parameters by their fields, templates by their attributes.
#include "pkcs11/wire/codec.h"

#include <algorithm>
#include <optional>

#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/spec/template_codec.h"

namespace cmkd::wire {

namespace {

using spec::Direction;
using spec::FieldKind;
using spec::ParameterField;
using spec::ParameterLayout;

// What stands in front of a mechanism, template or parameter.
enum class Presence : std::uint8_t {
  kNull = 0,
  kGiven = 1,
  kBeyondLimits = 2,  // refused by the reader, so that the caller hears of it as for any other bad value
};

// A number that none of them has fails the reader.
Presence ReadPresence(Reader& r) {
  const std::uint8_t presence = r.U8();
  if (presence > static_cast<std::uint8_t>(Presence::kBeyondLimits)) r.Fail();
  return static_cast<Presence>(presence);
}

// The layout of this mechanism's parameter. nullptr: it travels as flat bytes (vendor mechanisms, and lengths that no
// layout has: CheckParameter will refuse those).
const ParameterLayout* LayoutOf(CK_MECHANISM_TYPE type, std::size_t parameter_bytes) {
  const spec::MechanismRow* row = spec::FindMechanism(type);
  const ParameterLayout* layout = row == nullptr ? nullptr : spec::LayoutFor(row->parameter, parameter_bytes);
  return layout == nullptr || layout->flat ? nullptr : layout;
}

// The templates within a template, flat, each where it stands in the list; nothing when the list is beyond the limits.
std::optional<std::vector<Bytes>> FlatTemplates(std::span<const CK_ATTRIBUTE> list, std::size_t limit) {
  if (list.size() > limit) return std::nullopt;
  std::vector<Bytes> nested(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const CK_ATTRIBUTE& attribute = list[i];
    if (!spec::IsTemplateAttribute(attribute.type)) {
      if (attribute.ulValueLen > limits::kAttributeBytesMax) return std::nullopt;
      continue;
    }
    if (attribute.ulValueLen % sizeof(CK_ATTRIBUTE) != 0) return std::nullopt;
    auto flat = spec::EncodeTemplate(
        {static_cast<const CK_ATTRIBUTE*>(attribute.pValue), attribute.ulValueLen / sizeof(CK_ATTRIBUTE)});
    if (!flat.ok()) return std::nullopt;
    nested[i] = std::move(*flat);
  }
  return nested;
}

void WriteAttributes(Writer& w, std::span<const CK_ATTRIBUTE> list, std::span<const Bytes> nested) {
  for (std::size_t i = 0; i < list.size(); ++i) {
    const CK_ATTRIBUTE& attribute = list[i];
    w.U64(attribute.type);
    if (spec::IsTemplateAttribute(attribute.type)) {
      w.Blob(nested[i]);
    } else {
      w.Blob(attribute.pValue, attribute.ulValueLen);
    }
  }
}

CK_RV ReadAttributes(Reader& r, Arena& arena, std::span<CK_ATTRIBUTE> list) {
  for (CK_ATTRIBUTE& attribute : list) {
    attribute.type = r.U64();
    bool null = false;
    const ByteView value = r.Blob(&null);
    if (!r.ok()) return CKR_OK;
    if (value.size() > limits::kAttributeBytesMax) return CKR_ATTRIBUTE_VALUE_INVALID;
    if (spec::IsTemplateAttribute(attribute.type)) {
      auto decoded = spec::DecodeTemplate(value);
      if (!decoded.ok()) return decoded.error().rv;
      auto* kept = arena.Keep(std::move(*decoded));
      attribute.pValue = kept->data();
      attribute.ulValueLen = kept->size() * sizeof(CK_ATTRIBUTE);
      continue;
    }
    static CK_BYTE empty = 0;
    attribute.pValue = null ? nullptr : (value.empty() ? &empty : const_cast<std::uint8_t*>(value.data()));
    attribute.ulValueLen = value.size();
  }
  return CKR_OK;
}

// A template in a mechanism's parameter that can be sent: the list is there, its values are, and all is bounded.
bool TemplateFits(const void* parameter, const ParameterField& field) {
  const auto* list = static_cast<const CK_ATTRIBUTE*>(spec::FieldPointer(parameter, field));
  const std::size_t count = spec::FieldStructCount(parameter, field);
  if (count > field.limit) return false;
  if (list == nullptr) return true;
  const std::span attributes(list, count);
  const bool whole =
      std::ranges::all_of(attributes, [](const CK_ATTRIBUTE& a) { return a.pValue != nullptr || a.ulValueLen == 0; });
  return whole && FlatTemplates(attributes, field.limit);
}

bool WithinLimits(const void* parameter, std::span<const ParameterField> fields) {
  for (const ParameterField& field : fields) {
    if (field.kind == FieldKind::kStruct || field.kind == FieldKind::kStructArray) {
      const std::size_t count = spec::FieldStructCount(parameter, field);
      const auto* first = static_cast<const std::uint8_t*>(spec::FieldPointer(parameter, field));
      if (count > field.limit) return false;
      for (std::size_t i = 0; first != nullptr && i < count; ++i) {
        if (!WithinLimits(first + i * field.size, field.inner())) return false;
      }
    }
    if (field.kind == FieldKind::kTemplate && !TemplateFits(parameter, field)) return false;
    if (field.kind == FieldKind::kBytesWithLength || field.kind == FieldKind::kBytesWithBitLength ||
        field.kind == FieldKind::kRoom) {
      if (spec::FieldBufferBytes(parameter, field) > field.limit) return false;
    }
  }
  return true;
}

void WriteField(Writer& w, const void* parameter, const ParameterField& field);

// A pointer to structs: how many, whether there are any, and each by its fields.
void WriteStructs(Writer& w, const void* parameter, const ParameterField& field) {
  const auto* first = static_cast<const std::uint8_t*>(spec::FieldPointer(parameter, field));
  const std::size_t count = spec::FieldStructCount(parameter, field);
  w.U64(count);
  w.U8(first != nullptr ? 1 : 0);
  for (std::size_t i = 0; first != nullptr && i < count; ++i) {
    for (const ParameterField& inner : field.inner()) WriteField(w, first + i * field.size, inner);
  }
}

// WithinLimits has seen that it can be sent.
void WriteTemplate(Writer& w, const void* parameter, const ParameterField& field) {
  const auto* list = static_cast<const CK_ATTRIBUTE*>(spec::FieldPointer(parameter, field));
  const std::size_t count = spec::FieldStructCount(parameter, field);
  w.U64(count);
  w.U8(list != nullptr ? 1 : 0);
  if (list == nullptr) return;
  if (const auto nested = FlatTemplates({list, count}, field.limit)) WriteAttributes(w, {list, count}, *nested);
}

void WriteField(Writer& w, const void* parameter, const ParameterField& field) {
  const auto* base = static_cast<const std::uint8_t*>(parameter);
  switch (field.kind) {
    case FieldKind::kKeyHandle:
    case FieldKind::kUlong: return w.U64(spec::FieldUlong(parameter, field));
    case FieldKind::kStruct:
    case FieldKind::kStructArray: return WriteStructs(w, parameter, field);
    case FieldKind::kTemplate: return WriteTemplate(w, parameter, field);
    case FieldKind::kByte: return w.U8(static_cast<std::uint8_t>(spec::FieldUlong(parameter, field)));
    case FieldKind::kFixedBytes: return w.Raw({base + field.offset, field.size});
    case FieldKind::kBytesWithLength:
    case FieldKind::kBytesWithBitLength: {
      CK_ULONG length = 0;
      std::memcpy(&length, base + field.length_offset, sizeof length);
      w.U64(length);
      break;
    }
    case FieldKind::kRoom: w.U64(spec::FieldBufferBytes(parameter, field)); break;
    case FieldKind::kBytesOfFixedLength: break;
  }
  const void* buffer = spec::FieldPointer(parameter, field);
  w.U8(buffer != nullptr ? 1 : 0);
  if (buffer == nullptr || field.direction == Direction::kOut) return;
  w.Raw({static_cast<const std::uint8_t*>(buffer), spec::FieldBufferBytes(parameter, field)});
}

void ReadField(Reader& r, Arena& arena, std::uint8_t* parameter, const ParameterField& field);

void ReadStructs(Reader& r, Arena& arena, std::uint8_t* parameter, const ParameterField& field) {
  const CK_ULONG count = r.U64();
  const std::uint8_t given = r.U8();
  if (!r.ok()) return;
  if (given > 1 || count > field.limit || (field.kind == FieldKind::kStruct && count != 1)) return r.Fail();
  if (field.kind == FieldKind::kStructArray) std::memcpy(parameter + field.length_offset, &count, sizeof count);
  if (given == 0) return;
  // CK_ULONGs, so that the structs are aligned.
  auto* first = reinterpret_cast<std::uint8_t*>(arena.New<CK_ULONG>((count * field.size + 7) / 8));
  for (std::size_t i = 0; i < count && r.ok(); ++i) {
    for (const ParameterField& inner : field.inner()) ReadField(r, arena, first + i * field.size, inner);
  }
  std::memcpy(parameter + field.offset, &first, sizeof first);
}

void ReadTemplate(Reader& r, Arena& arena, std::uint8_t* parameter, const ParameterField& field) {
  const CK_ULONG count = r.U64();
  const std::uint8_t given = r.U8();
  if (!r.ok()) return;
  if (given > 1 || count > field.limit) return r.Fail();
  std::memcpy(parameter + field.length_offset, &count, sizeof count);
  if (given == 0) return;
  auto* list = arena.New<CK_ATTRIBUTE>(count);
  if (ReadAttributes(r, arena, {list, count}) != CKR_OK) return r.Fail();
  std::memcpy(parameter + field.offset, &list, sizeof list);
}

void ReadField(Reader& r, Arena& arena, std::uint8_t* parameter, const ParameterField& field) {
  const auto put_ulong = [&](std::size_t offset, CK_ULONG value) {
    std::memcpy(parameter + offset, &value, sizeof value);
  };
  switch (field.kind) {
    case FieldKind::kKeyHandle:
    case FieldKind::kUlong: return put_ulong(field.offset, r.U64());
    case FieldKind::kStruct:
    case FieldKind::kStructArray: return ReadStructs(r, arena, parameter, field);
    case FieldKind::kTemplate: return ReadTemplate(r, arena, parameter, field);
    case FieldKind::kByte: parameter[field.offset] = r.U8(); return;
    case FieldKind::kFixedBytes: {
      const ByteView bytes = r.Raw(field.size);
      if (r.ok()) std::memcpy(parameter + field.offset, bytes.data(), field.size);
      return;
    }
    case FieldKind::kBytesWithLength:
    case FieldKind::kBytesWithBitLength: put_ulong(field.length_offset, r.U64()); break;
    case FieldKind::kRoom: {
      auto* room = arena.New<CK_ULONG>();
      *room = r.U64();
      std::memcpy(parameter + field.length_offset, &room, sizeof room);
      break;
    }
    case FieldKind::kBytesOfFixedLength: break;
  }
  const std::uint8_t given = r.U8();
  const std::size_t length = spec::FieldBufferBytes(parameter, field);
  if (given > 1 || (field.kind != FieldKind::kBytesOfFixedLength && length > field.limit)) return r.Fail();
  if (given == 0) return;
  std::uint8_t* buffer = arena.Allocate(length);
  if (field.direction == Direction::kOut) {
    std::memset(buffer, 0, length);
  } else {
    const ByteView bytes = r.Raw(length);
    if (!r.ok()) return;
    if (length != 0) std::memcpy(buffer, bytes.data(), length);
  }
  std::memcpy(parameter + field.offset, &buffer, sizeof buffer);
}

}  // namespace

void EncodeRequest(Writer& w, const spec::Mechanism& shape) {
  if (shape.value == nullptr) return w.U8(static_cast<std::uint8_t>(Presence::kNull));
  const CK_MECHANISM& m = *shape.value;
  const ParameterLayout* layout = m.pParameter == nullptr ? nullptr : LayoutOf(m.mechanism, m.ulParameterLen);
  const bool fits = layout != nullptr ? WithinLimits(m.pParameter, layout->fields)
                                      : m.ulParameterLen <= spec::kParameterStructBytesMax;
  w.U8(static_cast<std::uint8_t>(fits ? Presence::kGiven : Presence::kBeyondLimits));
  if (!fits) return;
  w.U64(m.mechanism);
  if (layout == nullptr) return w.Blob(m.pParameter, m.ulParameterLen);
  w.U32(static_cast<std::uint32_t>(m.ulParameterLen));
  for (const ParameterField& field : layout->fields) WriteField(w, m.pParameter, field);
}

CK_RV DecodeRequest(Reader& r, Arena& arena, spec::Mechanism& shape) {
  const Presence presence = ReadPresence(r);
  if (!r.ok()) return CKR_ARGUMENTS_BAD;
  if (presence == Presence::kNull) return CKR_OK;
  if (presence != Presence::kGiven) return CKR_MECHANISM_PARAM_INVALID;
  auto* m = arena.New<CK_MECHANISM>();
  m->mechanism = r.U64();
  const std::uint32_t length = r.U32();
  shape.value = m;
  if (!r.ok() || length == kNullLength) return CKR_OK;
  const ParameterLayout* layout = LayoutOf(m->mechanism, length);
  if (layout == nullptr && length > spec::kParameterStructBytesMax) return CKR_MECHANISM_PARAM_INVALID;
  std::uint8_t* parameter = arena.New<std::uint8_t>(length);
  m->pParameter = parameter;
  m->ulParameterLen = length;
  if (layout != nullptr) {
    for (const ParameterField& field : layout->fields) ReadField(r, arena, parameter, field);
    return CKR_OK;
  }
  const ByteView bytes = r.Raw(length);
  if (r.ok() && length != 0) std::memcpy(parameter, bytes.data(), length);
  return CKR_OK;
}

void EncodeRequest(Writer& w, const spec::TemplateIn& shape) {
  const auto nested = FlatTemplates(shape.view(), limits::kTemplateAttributesMax);
  w.U8(static_cast<std::uint8_t>(nested ? Presence::kGiven : Presence::kBeyondLimits));
  if (!nested) return;
  w.U32(static_cast<std::uint32_t>(shape.count));
  WriteAttributes(w, shape.view(), *nested);
}

CK_RV DecodeRequest(Reader& r, Arena& arena, spec::TemplateIn& shape) {
  const Presence presence = ReadPresence(r);
  if (!r.ok() || presence == Presence::kNull) return CKR_ARGUMENTS_BAD;
  if (presence != Presence::kGiven) return CKR_ATTRIBUTE_VALUE_INVALID;
  const std::uint32_t count = r.U32();
  if (count > limits::kTemplateAttributesMax) return CKR_ARGUMENTS_BAD;
  shape.list = arena.New<CK_ATTRIBUTE>(count);
  shape.count = count;
  return ReadAttributes(r, arena, {shape.list, count});
}

namespace {

// The attributes that a value of CKA_WRAP_TEMPLATE and its kin has room for.
std::span<CK_ATTRIBUTE> InnerOf(const CK_ATTRIBUTE& attribute) {
  if (!spec::IsTemplateAttribute(attribute.type) || attribute.pValue == nullptr ||
      attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION) {
    return {};
  }
  return {static_cast<CK_ATTRIBUTE*>(attribute.pValue), attribute.ulValueLen / sizeof(CK_ATTRIBUTE)};
}

void WriteRoom(Writer& w, const CK_ATTRIBUTE& attribute) {
  const bool given = attribute.pValue != nullptr;
  w.U8(given ? 1 : 0);
  w.U64(given ? std::min<CK_ULONG>(attribute.ulValueLen, limits::kAttributeBytesMax) : 0);
}

// False when the request is malformed.
bool ReadRoom(Reader& r, Arena& arena, CK_ATTRIBUTE& attribute) {
  const std::uint8_t given = r.U8();
  attribute.ulValueLen = r.U64();
  if (!r.ok() || given > 1) return false;
  if (attribute.ulValueLen > (given == 1 ? limits::kAttributeBytesMax : 0)) return false;
  if (given == 1) attribute.pValue = arena.Allocate(attribute.ulValueLen);
  return true;
}

void WriteValue(Writer& w, const CK_ATTRIBUTE& attribute) {
  w.U64(attribute.ulValueLen);
  if (attribute.pValue == nullptr || attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION) return;
  w.Raw({static_cast<const std::uint8_t*>(attribute.pValue), attribute.ulValueLen});
}

void ReadValue(Reader& r, CK_ATTRIBUTE& attribute) {
  const CK_ULONG length = r.U64();
  if (!r.ok()) return;
  if (attribute.pValue != nullptr && length != CK_UNAVAILABLE_INFORMATION) {
    if (length > attribute.ulValueLen) return r.Fail();
    const ByteView value = r.Raw(length);
    if (!r.ok()) return;
    if (length != 0) std::memcpy(attribute.pValue, value.data(), length);
  }
  attribute.ulValueLen = length;
}

// C_GetAttributeValue fills what it can and then says what it could not: these answers carry values.
bool CarriesAttributes(CK_RV rv) {
  return rv == CKR_OK || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID ||
         rv == CKR_BUFFER_TOO_SMALL;
}

}  // namespace

void EncodeRequest(Writer& w, const spec::TemplateInOut& shape) {
  const bool fits = shape.count <= limits::kTemplateAttributesMax;
  w.U8(static_cast<std::uint8_t>(fits ? Presence::kGiven : Presence::kBeyondLimits));
  if (!fits) return;
  w.U32(static_cast<std::uint32_t>(shape.count));
  for (const CK_ATTRIBUTE& attribute : shape.view()) {
    w.U64(attribute.type);
    if (!spec::IsTemplateAttribute(attribute.type)) {
      WriteRoom(w, attribute);
      continue;
    }
    w.U8(attribute.pValue != nullptr ? 1 : 0);
    if (attribute.pValue == nullptr) continue;
    const auto inner = InnerOf(attribute);
    const auto count = static_cast<std::uint32_t>(std::min(inner.size(), spec::kTemplateCountMax));
    w.U32(count);
    for (const CK_ATTRIBUTE& each : inner.first(count)) WriteRoom(w, each);
  }
}

CK_RV DecodeRequest(Reader& r, Arena& arena, spec::TemplateInOut& shape) {
  if (ReadPresence(r) != Presence::kGiven) return CKR_ARGUMENTS_BAD;
  const std::uint32_t count = r.U32();
  if (!r.ok() || count == 0 || count > limits::kTemplateAttributesMax) return CKR_ARGUMENTS_BAD;
  shape.list = arena.New<CK_ATTRIBUTE>(count);
  shape.count = count;
  for (CK_ATTRIBUTE& attribute : shape.view()) {
    attribute.type = r.U64();
    if (!spec::IsTemplateAttribute(attribute.type)) {
      if (!ReadRoom(r, arena, attribute)) return CKR_ARGUMENTS_BAD;
      continue;
    }
    const std::uint8_t given = r.U8();
    if (!r.ok() || given > 1) return CKR_ARGUMENTS_BAD;
    if (given == 0) continue;
    const std::uint32_t inner = r.U32();
    if (!r.ok() || inner > spec::kTemplateCountMax) return CKR_ARGUMENTS_BAD;
    attribute.pValue = arena.New<CK_ATTRIBUTE>(inner);
    attribute.ulValueLen = inner * sizeof(CK_ATTRIBUTE);
    for (CK_ATTRIBUTE& each : InnerOf(attribute)) {
      if (!ReadRoom(r, arena, each)) return CKR_ARGUMENTS_BAD;
    }
  }
  return CKR_OK;
}

void EncodeResponse(Writer& w, const spec::TemplateInOut& shape, CK_RV rv) {
  if (!CarriesAttributes(rv)) return;
  for (const CK_ATTRIBUTE& attribute : shape.view()) {
    if (!spec::IsTemplateAttribute(attribute.type)) {
      WriteValue(w, attribute);
      continue;
    }
    w.U64(attribute.ulValueLen);
    for (const CK_ATTRIBUTE& each : InnerOf(attribute)) {
      w.U64(each.type);
      WriteValue(w, each);
    }
  }
}

void DecodeResponse(Reader& r, spec::TemplateInOut& shape, CK_RV rv) {
  if (!CarriesAttributes(rv)) return;
  for (CK_ATTRIBUTE& attribute : shape.view()) {
    if (!spec::IsTemplateAttribute(attribute.type)) {
      ReadValue(r, attribute);
      continue;
    }
    const CK_ULONG length = r.U64();
    if (!r.ok()) return;
    if (attribute.pValue != nullptr && length != CK_UNAVAILABLE_INFORMATION) {
      // The room that was sent; an application that says "unavailable" of a buffer has given none.
      const auto inner = InnerOf(attribute);
      if (length > inner.size_bytes() || length % sizeof(CK_ATTRIBUTE) != 0) return r.Fail();
      for (CK_ATTRIBUTE& each : inner.first(length / sizeof(CK_ATTRIBUTE))) {
        each.type = r.U64();
        ReadValue(r, each);
      }
    }
    attribute.ulValueLen = length;
  }
}

void EncodeRequest(Writer& w, const spec::ParameterInOut& shape) {
  if (shape.data == nullptr) return w.U8(static_cast<std::uint8_t>(Presence::kNull));
  const ParameterLayout* layout = spec::MessageLayout(shape.length);
  const bool fits = layout != nullptr && WithinLimits(shape.data, layout->fields);
  w.U8(static_cast<std::uint8_t>(fits ? Presence::kGiven : Presence::kBeyondLimits));
  if (!fits) return;
  w.U32(static_cast<std::uint32_t>(shape.length));
  for (const ParameterField& field : layout->fields) WriteField(w, shape.data, field);
}

CK_RV DecodeRequest(Reader& r, Arena& arena, spec::ParameterInOut& shape) {
  const Presence presence = ReadPresence(r);
  if (!r.ok()) return CKR_ARGUMENTS_BAD;
  if (presence == Presence::kNull) return CKR_OK;
  if (presence != Presence::kGiven) return CKR_MECHANISM_PARAM_INVALID;
  const ParameterLayout* layout = spec::MessageLayout(r.U32());
  if (layout == nullptr) return CKR_MECHANISM_PARAM_INVALID;
  std::uint8_t* parameter = arena.New<std::uint8_t>(layout->bytes);
  for (const ParameterField& field : layout->fields) ReadField(r, arena, parameter, field);
  shape.data = parameter;
  shape.length = layout->bytes;
  return CKR_OK;
}

void EncodeResponse(Writer& w, const spec::ParameterInOut& shape, CK_RV rv) {
  const ParameterLayout* layout = rv == CKR_OK && shape.data != nullptr ? spec::MessageLayout(shape.length) : nullptr;
  if (layout == nullptr) return;
  for (const ParameterField& field : layout->fields) {
    const void* buffer = field.direction == Direction::kIn ? nullptr : spec::FieldPointer(shape.data, field);
    if (buffer != nullptr) w.Raw({static_cast<const std::uint8_t*>(buffer), spec::FieldBufferBytes(shape.data, field)});
  }
}

void DecodeResponse(Reader& r, spec::ParameterInOut& shape, CK_RV rv) {
  const ParameterLayout* layout = rv == CKR_OK && shape.data != nullptr ? spec::MessageLayout(shape.length) : nullptr;
  if (layout == nullptr) return;
  for (const ParameterField& field : layout->fields) {
    const void* buffer = field.direction == Direction::kIn ? nullptr : spec::FieldPointer(shape.data, field);
    if (buffer == nullptr) continue;
    const ByteView bytes = r.Raw(spec::FieldBufferBytes(shape.data, field));
    if (!r.ok()) return;
    if (!bytes.empty()) std::memcpy(const_cast<void*>(buffer), bytes.data(), bytes.size());
  }
}

// ---- A mechanism whose parameter has room for results: the pieces of spec::ResultsIn, which both sides find alike.

void EncodeResponse(Writer& w, const spec::DerivingMechanism& shape, CK_RV rv) {
  const spec::MechanismRow* row =
      rv == CKR_OK && shape.value != nullptr ? spec::FindMechanism(shape.value->mechanism) : nullptr;
  if (row == nullptr) return;
  for (const MutableBytes piece : spec::ResultsIn(*row, *shape.value)) w.Raw(piece);
}

void DecodeResponse(Reader& r, spec::DerivingMechanism& shape, CK_RV rv) {
  const spec::MechanismRow* row =
      rv == CKR_OK && shape.value != nullptr ? spec::FindMechanism(shape.value->mechanism) : nullptr;
  if (row == nullptr) return;
  for (const MutableBytes piece : spec::ResultsIn(*row, *shape.value)) {
    const ByteView bytes = r.Raw(piece.size());
    if (!r.ok()) return;
    if (!bytes.empty()) std::memcpy(piece.data(), bytes.data(), bytes.size());
  }
}

// ---- A mechanism with a message's parameter: its number, then the parameter as that of a message call.

void EncodeRequest(Writer& w, const spec::MechanismInOut& shape) {
  w.U8(static_cast<std::uint8_t>(shape.value == nullptr ? Presence::kNull : Presence::kGiven));
  if (shape.value == nullptr) return;
  w.U64(shape.value->mechanism);
  EncodeRequest(w, shape.parameter());
}

CK_RV DecodeRequest(Reader& r, Arena& arena, spec::MechanismInOut& shape) {
  const Presence presence = ReadPresence(r);
  if (!r.ok()) return CKR_ARGUMENTS_BAD;
  if (presence == Presence::kNull) return CKR_OK;
  if (presence != Presence::kGiven) return CKR_MECHANISM_PARAM_INVALID;
  auto* m = arena.New<CK_MECHANISM>();
  m->mechanism = r.U64();
  spec::ParameterInOut parameter;
  if (const CK_RV rv = DecodeRequest(r, arena, parameter); rv != CKR_OK) return rv;
  m->pParameter = parameter.data;
  m->ulParameterLen = parameter.length;
  shape.value = m;
  return CKR_OK;
}

void EncodeResponse(Writer& w, const spec::MechanismInOut& shape, CK_RV rv) {
  EncodeResponse(w, shape.parameter(), rv);
}

void DecodeResponse(Reader& r, spec::MechanismInOut& shape, CK_RV rv) {
  spec::ParameterInOut parameter = shape.parameter();
  DecodeResponse(r, parameter, rv);
}

}  // namespace cmkd::wire

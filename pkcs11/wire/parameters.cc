// The shapes that carry a parameter struct: mechanisms and message parameters, by the fields of their layouts.
#include <algorithm>

#include "pkcs11/spec/mechanism_parameters.h"
#include "pkcs11/wire/codec.h"
#include "pkcs11/wire/codec_pieces.h"

namespace cmkd::wire {

namespace {

using spec::Direction;
using spec::FieldKind;
using spec::ParameterField;
using spec::ParameterLayout;

// The layout of this mechanism's parameter. nullptr: it travels as flat bytes (vendor mechanisms, and lengths that no
// layout has: CheckParameter will refuse those).
const ParameterLayout* LayoutOf(CK_MECHANISM_TYPE type, std::size_t parameter_bytes) {
  const spec::MechanismRow* row = spec::FindMechanism(type);
  const ParameterLayout* layout = row == nullptr ? nullptr : spec::LayoutFor(row->parameter, parameter_bytes);
  return layout == nullptr || layout->flat ? nullptr : layout;
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

// Reads whether a shape follows. Where none does, `rv` is the answer: CKR_OK for NULL.
bool IsGiven(Reader& r, CK_RV& rv) {
  const Presence presence = ReadPresence(r);
  rv = !r.ok() ? CKR_ARGUMENTS_BAD : presence == Presence::kBeyondLimits ? CKR_MECHANISM_PARAM_INVALID : CKR_OK;
  return r.ok() && presence == Presence::kGiven;
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
  CK_RV refusal = CKR_OK;
  if (!IsGiven(r, refusal)) return refusal;
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

// ---- The parameter of a message call

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
  CK_RV refusal = CKR_OK;
  if (!IsGiven(r, refusal)) return refusal;
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
  CK_RV refusal = CKR_OK;
  if (!IsGiven(r, refusal)) return refusal;
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

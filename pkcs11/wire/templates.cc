// The shapes that carry templates: going in, and with room for what comes out.
#include <algorithm>

#include "pkcs11/spec/template_codec.h"
#include "pkcs11/wire/codec.h"
#include "pkcs11/wire/codec_pieces.h"

namespace cmkd::wire {

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

}  // namespace cmkd::wire

// Values for every shape.
#include "tests/calls/fill.h"

#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/template_codec.h"

namespace cmkd::tests {

namespace {

// Every buffer for results has at least this much room in truth, whatever length the call states; fillers write no
// more.
constexpr std::size_t kRoomBytes = 512;
constexpr std::size_t kRoomEntries = kRoomBytes / sizeof(CK_ULONG);
constexpr std::uint8_t kEnd[] = {0xa5, 0x5a, 0xa5, 0x5a, 0xc3, 0x3c, 0xc3, 0x3c};

void PutUlong(std::uint8_t* parameter, std::size_t offset, CK_ULONG value) {
  std::memcpy(parameter + offset, &value, sizeof value);
}

}  // namespace

CK_ULONG RequestFiller::Number() {
  static constexpr CK_ULONG kEdges[] = {0,
                                        1,
                                        2,
                                        255,
                                        256,
                                        0x7fffffff,
                                        0xffffffff,
                                        CK_ULONG{1} << 48,
                                        CK_UNAVAILABLE_INFORMATION - 1,
                                        CK_UNAVAILABLE_INFORMATION};
  return Below(2) == 0 ? kEdges[Below(std::size(kEdges))] : random_();
}

std::size_t RequestFiller::Length() {
  switch (Below(8)) {
    case 0: return 0;
    case 1: return 1;
    case 2: return size_ == Size::kLarge ? (std::size_t{1} << 20) + Below(1 << 20) : 4096 + Below(4096);
    default: return Below(64);
  }
}

CK_BYTE_PTR RequestFiller::Random(std::size_t bytes) {
  std::uint8_t* data = memory_.Allocate(bytes);
  for (std::size_t i = 0; i < bytes; i += 8) {
    const std::uint64_t word = random_();
    std::memcpy(data + i, &word, std::min<std::size_t>(8, bytes - i));
  }
  return data;
}

CK_BYTE_PTR RequestFiller::Room(std::size_t bytes) {
  std::uint8_t* data = memory_.Allocate(bytes + sizeof kEnd);
  std::memcpy(data + bytes, kEnd, sizeof kEnd);
  ends_.push_back(data + bytes);
  return data;
}

bool RequestFiller::EndsAreWhole() const {
  return std::all_of(ends_.begin(), ends_.end(),
                     [](const std::uint8_t* end) { return std::memcmp(end, kEnd, sizeof kEnd) == 0; });
}

void RequestFiller::On(spec::Ulong& shape) { shape.value = Number(); }
void RequestFiller::On(spec::Bool8& shape) { shape.value = static_cast<CK_BBOOL>(random_()); }

void RequestFiller::On(spec::BytesIn& shape) {
  if (Below(6) == 0) return;
  shape.length = Length();
  shape.data = Random(shape.length);
}

void RequestFiller::On(spec::Label32& shape) { shape.text = Random(32); }

void RequestFiller::FillStructs(std::uint8_t* parameter, const spec::ParameterField& field) {
  const bool array = field.kind == spec::FieldKind::kStructArray;
  const std::size_t count = array ? Below(std::min<std::size_t>(field.limit, 4) + 1) : 1;
  if (array) PutUlong(parameter, field.length_offset, count);
  if (Below(5) == 0) return;  // NULL
  std::uint8_t* first = memory_.Allocate(count * field.size);
  std::memset(first, 0, count * field.size);
  for (std::size_t i = 0; i < count; ++i) FillParameter(first + i * field.size, field.inner());
  std::memcpy(parameter + field.offset, &first, sizeof first);
}

void RequestFiller::FillTemplate(std::uint8_t* parameter, const spec::ParameterField& field) {
  const auto [list, count] = Attributes(Below(5), 0, 64);
  PutUlong(parameter, field.length_offset, count);
  if (Below(5) != 0) std::memcpy(parameter + field.offset, &list, sizeof list);
}

void RequestFiller::FillParameter(std::uint8_t* parameter, std::span<const spec::ParameterField> fields) {
  for (const spec::ParameterField& field : fields) {
    switch (field.kind) {
      case spec::FieldKind::kKeyHandle:
      case spec::FieldKind::kUlong: PutUlong(parameter, field.offset, Number()); continue;
      case spec::FieldKind::kStruct:
      case spec::FieldKind::kStructArray: FillStructs(parameter, field); continue;
      case spec::FieldKind::kTemplate: FillTemplate(parameter, field); continue;
      case spec::FieldKind::kByte: parameter[field.offset] = static_cast<std::uint8_t>(random_()); continue;
      case spec::FieldKind::kFixedBytes:
        std::memcpy(parameter + field.offset, Random(field.size), field.size);
        continue;
      case spec::FieldKind::kBytesWithLength:
      case spec::FieldKind::kBytesWithBitLength: break;
      case spec::FieldKind::kRoom: {
        auto* room = memory_.New<CK_ULONG>();
        *room = Below(kRoomBytes);
        std::memcpy(parameter + field.length_offset, &room, sizeof room);
        if (Below(5) == 0) continue;
        std::uint8_t* data = Room(*room);
        std::memcpy(parameter + field.offset, &data, sizeof data);
        continue;
      }
      case spec::FieldKind::kBytesOfFixedLength: {
        if (Below(4) == 0) continue;
        std::uint8_t* data = Room(field.size);
        std::memcpy(data, Random(field.size), field.size);
        std::memcpy(parameter + field.offset, &data, sizeof data);
        continue;
      }
    }
    const std::size_t most = size_ == Size::kLarge ? field.limit : std::min<std::size_t>(field.limit, 64);
    const std::size_t length = Below(4) == 0 ? most : Below(most + 1);
    const bool bits = field.kind == spec::FieldKind::kBytesWithBitLength;
    PutUlong(parameter, field.length_offset, bits && length != 0 ? length * 8 - Below(8) : length);
    if (Below(5) == 0) continue;  // NULL, perhaps with a length
    std::uint8_t* data = Room(length);
    if (length != 0) std::memcpy(data, Random(length), length);
    std::memcpy(parameter + field.offset, &data, sizeof data);
  }
}

void RequestFiller::On(spec::Mechanism& shape) {
  if (Below(10) == 0) return;
  auto* m = memory_.New<CK_MECHANISM>();
  shape.value = m;
  const auto rows = spec::Mechanisms();
  const spec::MechanismRow& row = rows[Below(rows.size())];
  m->mechanism = Below(8) == 0 ? Number() : row.type;
  if (Below(8) == 0) return;
  // A length that some kind of parameter has, or any.
  static constexpr std::size_t kLengths[] = {0,  1,  4,  8,  16, 24, 32,
                                             40, 48, 56, 64, 72, 80, spec::kParameterStructBytesMax};
  std::size_t length = kLengths[Below(std::size(kLengths))];
  for (std::size_t tries = 0; tries < 64 && spec::LayoutFor(row.parameter, length) == nullptr; ++tries) {
    length = kLengths[Below(std::size(kLengths))];
  }
  const spec::MechanismRow* named = spec::FindMechanism(m->mechanism);
  const spec::ParameterLayout* layout = named == nullptr ? nullptr : spec::LayoutFor(named->parameter, length);
  m->ulParameterLen = length;
  if (layout == nullptr || layout->flat) {
    m->pParameter = Random(length);
    return;
  }
  std::uint8_t* parameter = memory_.Allocate(layout->bytes);
  FillParameter(parameter, layout->fields);
  m->pParameter = parameter;
}

void RequestFiller::On(spec::ParameterInOut& shape) {
  static constexpr std::size_t kLengths[] = {24, 48, 56};
  if (Below(5) == 0) return;
  const spec::ParameterLayout* layout = spec::MessageLayout(kLengths[Below(std::size(kLengths))]);
  std::uint8_t* parameter = memory_.Allocate(layout->bytes);
  FillParameter(parameter, layout->fields);
  shape.data = parameter;
  shape.length = layout->bytes;
}

void RequestFiller::On(spec::MechanismInOut& shape) {
  if (Below(10) == 0) return;
  spec::ParameterInOut parameter;
  On(parameter);
  shape.value = memory_.New<CK_MECHANISM>();
  *shape.value = {Number(), parameter.data, parameter.length};
}

CK_ATTRIBUTE RequestFiller::Attribute(std::size_t depth, std::size_t bytes_max) {
  const auto rows = spec::AttributeTable();
  CK_ATTRIBUTE attribute{Below(8) == 0 ? Number() : rows[Below(rows.size())].type, nullptr, 0};
  if (Below(6) == 0) attribute.type = CKA_WRAP_TEMPLATE;
  // What is inside an attribute of depth 0 is the first encoded level.
  if (spec::IsTemplateAttribute(attribute.type) && depth == spec::kTemplateDepthMax) attribute.type = CKA_LABEL;
  if (spec::IsTemplateAttribute(attribute.type)) {
    const auto [list, count] = Attributes(Below(4), depth + 1, bytes_max);
    attribute.pValue = list;
    attribute.ulValueLen = count * sizeof(CK_ATTRIBUTE);
    return attribute;
  }
  if (depth == 0 && Below(8) == 0) return attribute;  // NULL
  attribute.ulValueLen = std::min(Length(), bytes_max);
  attribute.pValue = Random(attribute.ulValueLen);
  return attribute;
}

std::pair<CK_ATTRIBUTE*, std::size_t> RequestFiller::Attributes(std::size_t count, std::size_t depth,
                                                                std::size_t bytes_max) {
  auto* list = memory_.New<CK_ATTRIBUTE>(count);
  for (std::size_t i = 0; i < count; ++i) list[i] = Attribute(depth, bytes_max);
  return {list, count};
}

void RequestFiller::On(spec::TemplateIn& shape) {
  if (Below(6) == 0) return;
  const bool large = size_ == Size::kLarge;
  const std::size_t count = Below(4) == 0 && large ? limits::kTemplateAttributesMax : Below(8);
  const auto [list, taken] = Attributes(count, 0, count > 8 ? 4096 : limits::kAttributeBytesMax / 64);
  shape.list = list;
  shape.count = taken;
  if (large && count != 0 && !spec::IsTemplateAttribute(list[0].type)) {
    list[0].ulValueLen = limits::kAttributeBytesMax;
    list[0].pValue = Random(list[0].ulValueLen);
  }
}

void RequestFiller::On(spec::TemplateInOut& shape) {
  const auto rows = spec::AttributeTable();
  shape.count = Below(8) == 0 ? limits::kTemplateAttributesMax : 1 + Below(6);
  shape.list = memory_.New<CK_ATTRIBUTE>(shape.count);
  for (CK_ATTRIBUTE& attribute : shape.view()) {
    attribute.type = Below(4) == 0 ? Number() : rows[Below(rows.size())].type;
    attribute.ulValueLen = Number();
    if (Below(3) == 0) continue;
    attribute.ulValueLen = Below(6) == 0 ? CK_UNAVAILABLE_INFORMATION : Below(kRoomBytes);
    attribute.pValue = Room(std::min<CK_ULONG>(attribute.ulValueLen, kRoomBytes));
  }
}

void RequestFiller::On(spec::UlongOut& shape) { shape.value = reinterpret_cast<CK_ULONG_PTR>(Room(sizeof(CK_ULONG))); }

void RequestFiller::On(spec::BytesOut& shape) {
  if (Below(16) != 0) shape.length = memory_.New<CK_ULONG>();
  const CK_ULONG length = Below(5) == 0 ? CK_UNAVAILABLE_INFORMATION : Below(kRoomBytes);
  if (shape.length != nullptr) *shape.length = length;
  if (Below(4) != 0) shape.data = Room(std::min<CK_ULONG>(length, kRoomBytes));
}

void RequestFiller::On(spec::FillOut& shape) {
  shape.length = size_ == Size::kLarge ? limits::kRandomBytesMax : Below(kRoomBytes);
  shape.data = Room(shape.length);
}

void RequestFiller::On(spec::UlongListOut& shape) {
  shape.count = memory_.New<CK_ULONG>();
  *shape.count = Below(5) == 0 ? CK_UNAVAILABLE_INFORMATION : Below(kRoomEntries);
  if (Below(4) != 0) {
    const std::size_t room = std::min<CK_ULONG>(*shape.count, kRoomEntries);
    shape.list = reinterpret_cast<CK_ULONG_PTR>(Room(room * sizeof(CK_ULONG)));
  }
}

void RequestFiller::On(spec::HandlesOut& shape) {
  shape.count = memory_.New<CK_ULONG>();
  shape.max = Below(5) == 0 ? CK_UNAVAILABLE_INFORMATION : Below(kRoomEntries);
  const std::size_t room = std::min<CK_ULONG>(shape.max, kRoomEntries);
  shape.list = reinterpret_cast<CK_OBJECT_HANDLE_PTR>(Room(room * sizeof(CK_OBJECT_HANDLE)));
}

void RequestFiller::OnStruct(void*& value, std::size_t bytes) { value = Room(bytes); }

void ResultFiller::Fill(void* into, std::size_t bytes) {
  auto* data = static_cast<std::uint8_t*>(into);
  for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::uint8_t>(random_());
}

void ResultFiller::On(spec::TemplateInOut& shape) {
  for (CK_ATTRIBUTE& attribute : shape.view()) {
    if (Below(4) == 0) {
      attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    } else if (attribute.pValue == nullptr) {
      attribute.ulValueLen = Below(1 << 20);
    } else if (spec::IsTemplateAttribute(attribute.type)) {
      const std::size_t count = Below(attribute.ulValueLen / sizeof(CK_ATTRIBUTE) + 1);
      attribute.ulValueLen = count * sizeof(CK_ATTRIBUTE);
      for (std::size_t i = 0; i < count; ++i) {
        CK_ATTRIBUTE& inner = static_cast<CK_ATTRIBUTE*>(attribute.pValue)[i];
        inner.type = random_();
        inner.ulValueLen = inner.pValue == nullptr ? Below(1 << 20) : Below(inner.ulValueLen + 1);
        if (inner.pValue != nullptr) Fill(inner.pValue, inner.ulValueLen);
      }
    } else {
      attribute.ulValueLen = Below(std::min<CK_ULONG>(attribute.ulValueLen, kRoomBytes) + 1);
      Fill(attribute.pValue, attribute.ulValueLen);
    }
  }
}

void ResultFiller::On(spec::ParameterInOut& shape) {
  const spec::ParameterLayout* layout = shape.data == nullptr ? nullptr : spec::MessageLayout(shape.length);
  if (layout == nullptr) return;
  for (const spec::ParameterField& field : layout->fields) {
    if (field.kind == spec::FieldKind::kUlong || field.direction == spec::Direction::kIn) continue;
    void* buffer = const_cast<void*>(spec::FieldPointer(shape.data, field));
    if (buffer != nullptr) Fill(buffer, spec::FieldBufferBytes(shape.data, field));
  }
}

void ResultFiller::On(spec::DerivingMechanism& shape) {
  const spec::MechanismRow* row = shape.value == nullptr ? nullptr : spec::FindMechanism(shape.value->mechanism);
  if (row == nullptr) return;
  for (const MutableBytes piece : spec::ResultsIn(*row, *shape.value)) Fill(piece.data(), piece.size());
}

void ResultFiller::On(spec::MechanismInOut& shape) {
  spec::ParameterInOut parameter = shape.parameter();
  On(parameter);
}

void ResultFiller::On(spec::UlongOut& shape) { *shape.value = random_(); }

void ResultFiller::On(spec::BytesOut& shape) {
  if (shape.length == nullptr) return;
  if (rv_ != CKR_OK || shape.data == nullptr) {
    *shape.length = random_();
    return;
  }
  *shape.length = Below(std::min<CK_ULONG>(*shape.length, kRoomBytes) + 1);
  Fill(shape.Room(*shape.length), *shape.length);
}

void ResultFiller::On(spec::FillOut& shape) { Fill(shape.data, shape.length); }

void ResultFiller::On(spec::UlongListOut& shape) {
  if (rv_ != CKR_OK || shape.list == nullptr) {
    *shape.count = random_();
    return;
  }
  *shape.count = Below(std::min<CK_ULONG>(*shape.count, kRoomEntries) + 1);
  Fill(shape.list, *shape.count * sizeof(CK_ULONG));
}

void ResultFiller::On(spec::HandlesOut& shape) {
  *shape.count = Below(std::min<CK_ULONG>(shape.max, kRoomEntries) + 1);
  Fill(shape.list, *shape.count * sizeof(CK_OBJECT_HANDLE));
}

void ResultFiller::On(spec::Document& shape) {
  shape.value.resize(Below(64));
  Fill(shape.value.data(), shape.value.size());
}

void ResultFiller::OnStruct(void*& value, std::size_t bytes) { Fill(value, bytes); }

}  // namespace cmkd::tests

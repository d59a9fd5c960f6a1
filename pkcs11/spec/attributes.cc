// A sorted vector: objects have some thirty attributes, and most reads follow each other.
#include "pkcs11/spec/attributes.h"

#include <algorithm>
#include <cstring>

namespace cmkd::spec {
namespace {

// Of an object; more make the vector grow. As much as malloc gives without looking around.
constexpr std::size_t kUsualCount = 30;

template <class Items>
auto Position(Items& items, CK_ATTRIBUTE_TYPE type) {
  return std::lower_bound(items.begin(), items.end(), type,
                          [](const Attribute& item, CK_ATTRIBUTE_TYPE t) { return item.type < t; });
}

ByteView BytesOf(const CK_ULONG& value) { return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value}; }

// The value of one CK_ATTRIBUTE in our form.
Fallible<Bytes> FlatValue(const CK_ATTRIBUTE& given) {
  if (given.pValue == nullptr && given.ulValueLen != 0) return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "NULL with a length");
  if (!IsTemplateAttribute(given.type)) return ToBytes(ValueOf(given));
  if (given.ulValueLen % sizeof(CK_ATTRIBUTE) != 0) {
    return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "a nested template's length is no multiple of CK_ATTRIBUTE");
  }
  return EncodeTemplate({static_cast<const CK_ATTRIBUTE*>(given.pValue), given.ulValueLen / sizeof(CK_ATTRIBUTE)});
}

}  // namespace

Fallible<Attributes> Attributes::From(std::span<const CK_ATTRIBUTE> attributes) {
  Attributes result;
  for (const CK_ATTRIBUTE& given : attributes) {
    ASSIGN_OR_RETURN(const Bytes value, FlatValue(given));
    result.Set(given.type, value);
  }
  return result;
}

const ShortBytes* Attributes::Find(CK_ATTRIBUTE_TYPE type) const {
  const auto item = Position(items_, type);
  return item != items_.end() && item->type == type ? &item->value : nullptr;
}

bool Attributes::Bool(CK_ATTRIBUTE_TYPE type, bool fallback) const {
  const ShortBytes* value = Find(type);
  return value != nullptr && value->size() == sizeof(CK_BBOOL) ? value->front() != CK_FALSE : fallback;
}

std::optional<CK_ULONG> Attributes::Ulong(CK_ATTRIBUTE_TYPE type) const {
  const ShortBytes* value = Find(type);
  if (value == nullptr || value->size() != sizeof(CK_ULONG)) return std::nullopt;
  CK_ULONG number;
  std::memcpy(&number, value->data(), sizeof number);
  return number;
}

std::string_view Attributes::Text(CK_ATTRIBUTE_TYPE type) const { return AsText(View(type)); }

ByteView Attributes::View(CK_ATTRIBUTE_TYPE type) const {
  const ShortBytes* value = Find(type);
  return value == nullptr ? ByteView{} : ByteView{*value};
}

void Attributes::Set(CK_ATTRIBUTE_TYPE type, ByteView value) {
  const auto item = Position(items_, type);
  if (item == items_.end() || item->type != type) {
    const auto place = item - items_.begin();
    if (items_.size() == items_.capacity()) items_.reserve(items_.empty() ? 1 : items_.size() + kUsualCount);
    items_.insert(items_.begin() + place, Attribute{type, ShortBytes(value)});
    return;
  }
  item->value = ShortBytes(value);  // a copy first: the view may look into this very value
}

void Attributes::SetBool(CK_ATTRIBUTE_TYPE type, bool value) {
  const std::uint8_t byte = value ? CK_TRUE : CK_FALSE;
  Set(type, {&byte, 1});
}

void Attributes::SetUlong(CK_ATTRIBUTE_TYPE type, CK_ULONG value) { Set(type, BytesOf(value)); }

void Attributes::Remove(CK_ATTRIBUTE_TYPE type) {
  const auto item = Position(items_, type);
  if (item == items_.end() || item->type != type) return;
  items_.erase(item);
}

void Attributes::Merge(const Attributes& other) {
  for (const Attribute& item : other) Set(item.type, item.value);
}

bool Attributes::Matches(std::span<const CK_ATTRIBUTE> wanted) const {
  return std::all_of(wanted.begin(), wanted.end(), [this](const CK_ATTRIBUTE& given) {
    const ShortBytes* value = Find(given.type);
    return value != nullptr && SameValue(given, *value);
  });
}

CTemplate Attributes::ToTemplate() const {
  CTemplate result;
  result.list_.reserve(items_.size());
  for (const Attribute& item : items_) {
    if (!IsTemplateAttribute(item.type)) {
      // C has no const here; whoever gets the template only reads it.
      result.list_.push_back({item.type, const_cast<std::uint8_t*>(item.value.data()), item.value.size()});
      continue;
    }
    CK_ATTRIBUTE attribute{item.type, nullptr, 0};
    if (auto nested = DecodeTemplate(item.value); nested.ok()) {
      attribute.pValue = nested->data();
      attribute.ulValueLen = nested->size() * sizeof(CK_ATTRIBUTE);
      result.nested_.push_back(std::move(*nested));
    }
    result.list_.push_back(attribute);
  }
  return result;
}

bool SameValue(const CK_ATTRIBUTE& given, ByteView value) {
  if (!IsTemplateAttribute(given.type)) {
    return (given.pValue != nullptr || given.ulValueLen == 0) && Equal(ValueOf(given), value);
  }
  const Fallible<Bytes> flat = FlatValue(given);
  return flat.ok() && Equal(*flat, value);
}

}  // namespace cmkd::spec

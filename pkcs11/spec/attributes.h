// The attributes of one object as a value: a small ordered set of type and bytes. Knows nothing of rules;
// attribute_rules.h does.
//
// A template-valued attribute (CKA_WRAP_TEMPLATE and its kin) is kept in the flat form of template_codec.h, since it
// comes in as pointers into the caller's memory.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "common/short_bytes.h"
#include "pkcs11/spec/error.h"
#include "pkcs11/spec/template_codec.h"

namespace cmkd::spec {

struct Attribute {
  CK_ATTRIBUTE_TYPE type;
  ShortBytes value;
  bool operator==(const Attribute&) const = default;
};

// Not synchronised: one thread at a time for a value that changes. Values are wiped when they go, since some are keys.
class Attributes {
 public:
  // The attributes of a template in the form C gives it. The last one of a type wins: judge the template with
  // CheckTemplate() first. Errors: those of EncodeTemplate() for nested templates, CKR_ATTRIBUTE_VALUE_INVALID for NULL
  // with a length.
  static Fallible<Attributes> From(std::span<const CK_ATTRIBUTE> attributes);

  // The value, or nullptr. Good until the set changes.
  const ShortBytes* Find(CK_ATTRIBUTE_TYPE type) const;
  bool Has(CK_ATTRIBUTE_TYPE type) const { return Find(type) != nullptr; }

  // The value as what it should be; the fallback when it is absent or has another length.
  bool Bool(CK_ATTRIBUTE_TYPE type, bool fallback = false) const;
  std::optional<CK_ULONG> Ulong(CK_ATTRIBUTE_TYPE type) const;
  std::string_view Text(CK_ATTRIBUTE_TYPE type) const;  // empty when absent
  ByteView View(CK_ATTRIBUTE_TYPE type) const;          // empty when absent

  void Set(CK_ATTRIBUTE_TYPE type, ByteView value);
  void SetBytes(CK_ATTRIBUTE_TYPE type, ByteView value) { Set(type, value); }
  void SetBool(CK_ATTRIBUTE_TYPE type, bool value);
  void SetUlong(CK_ATTRIBUTE_TYPE type, CK_ULONG value);
  void SetText(CK_ATTRIBUTE_TYPE type, std::string_view value) { Set(type, AsBytes(value)); }
  void Remove(CK_ATTRIBUTE_TYPE type);
  // Removes every attribute whose type `condition` says; one pass.
  template <class Condition>
  void RemoveIf(Condition condition) {
    std::erase_if(items_, [&](const Attribute& item) { return condition(item.type); });
  }
  // Takes over every attribute of `other`.
  void Merge(const Attributes& other);

  std::size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }
  auto begin() const { return items_.begin(); }  // in order of type
  auto end() const { return items_.end(); }
  bool operator==(const Attributes&) const = default;

  // Whether every given attribute is here with the same bytes, as C_FindObjects asks. An empty template matches
  // everything. Says nothing of what may be shown: FoundBy() of attribute_rules.h does.
  bool Matches(std::span<const CK_ATTRIBUTE> wanted) const;

  // The set as a template in C's form. Its plain values point into this set: good until the set changes. A nested
  // template that is not well formed comes out empty.
  class CTemplate ToTemplate() const;

 private:
  std::vector<Attribute> items_;
};

// CK_ATTRIBUTEs, and the nested templates that they lead to. The flat form of a nested template must never be taken for
// C's: it has a caller's bytes where C has pointers.
class CTemplate {
 public:
  std::span<const CK_ATTRIBUTE> view() const { return list_; }
  operator std::span<const CK_ATTRIBUTE>() const { return list_; }  // NOLINT: it is one
  bool empty() const { return list_.empty(); }
  std::size_t size() const { return list_.size(); }
  const CK_ATTRIBUTE& operator[](std::size_t index) const { return list_[index]; }

 private:
  friend class Attributes;
  std::vector<CK_ATTRIBUTE> list_;
  std::vector<DecodedTemplate> nested_;  // moving one keeps its pointers good
};

// Whether one attribute of C's form has this value in our flat form.
bool SameValue(const CK_ATTRIBUTE& given, ByteView value);

// The view of a CK_ATTRIBUTE's bytes; empty for NULL.
inline ByteView ValueOf(const CK_ATTRIBUTE& attribute) {
  if (attribute.pValue == nullptr) return {};
  return {static_cast<const std::uint8_t*>(attribute.pValue), attribute.ulValueLen};
}

}  // namespace cmkd::spec

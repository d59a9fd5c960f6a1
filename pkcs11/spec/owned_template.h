// Templates made by chaining, for who calls a module: OwnedTemplate().Bool(CKA_TOKEN, false).Text(CKA_LABEL, "k").
#pragma once

#include <cstring>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "pkcs11/spec/cryptoki.h"

namespace cmkd::spec {

// Owns the values that the CK_ATTRIBUTEs point to.
class OwnedTemplate {
 public:
  OwnedTemplate& Bool(CK_ATTRIBUTE_TYPE type, bool value) {
    return Raw(type, Bytes{static_cast<std::uint8_t>(value ? CK_TRUE : CK_FALSE)});
  }
  OwnedTemplate& Ulong(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
    Bytes bytes(sizeof value);
    std::memcpy(bytes.data(), &value, sizeof value);
    return Raw(type, std::move(bytes));
  }
  OwnedTemplate& Text(CK_ATTRIBUTE_TYPE type, std::string_view value) { return Raw(type, ToBytes(AsBytes(value))); }
  OwnedTemplate& Raw(CK_ATTRIBUTE_TYPE type, Bytes value) {
    items_.push_back({type, std::move(value)});
    return *this;
  }
  OwnedTemplate& Add(const OwnedTemplate& other) {
    items_.insert(items_.end(), other.items_.begin(), other.items_.end());
    return *this;
  }

  // Good until the template changes.
  CK_ATTRIBUTE* data() {
    list_.clear();
    for (Item& item : items_) list_.push_back({item.type, item.value.data(), item.value.size()});
    return list_.data();
  }
  CK_ULONG size() const { return items_.size(); }

 private:
  struct Item {
    CK_ATTRIBUTE_TYPE type;
    Bytes value;
  };
  std::vector<Item> items_;
  std::vector<CK_ATTRIBUTE> list_;
};

}  // namespace cmkd::spec

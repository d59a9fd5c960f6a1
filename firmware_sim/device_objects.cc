// See device_objects.h.
#include "firmware_sim/device_objects.h"

#include <algorithm>

#include "pkcs11/spec/attribute_values.h"

namespace cmkd::sim {
namespace {

// Not handles of the object store, which counts from 1.
constexpr CK_OBJECT_HANDLE kCounterHandle = CK_OBJECT_HANDLE{1} << 40;
constexpr CK_OBJECT_HANDLE kValidationHandle = kCounterHandle + 1;

constexpr CK_VERSION kNoVersionOfAStandard{0, 0};  // it was validated to none

struct Attribute {
  CK_ATTRIBUTE_TYPE type;
  Bytes value;
};

template <class Value>
Bytes Raw(const Value& value) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&value);
  return Bytes(bytes, bytes + sizeof value);
}
Bytes Text(std::string_view text) { return ToBytes(AsBytes(text)); }

// The value of the counter is not here: reading it moves it.
const std::vector<Attribute>& CounterAttributes() {
  static const auto* const attributes = new std::vector<Attribute>{
      {CKA_CLASS, Raw(CK_ULONG{CKO_HW_FEATURE})},
      {CKA_HW_FEATURE_TYPE, Raw(CK_ULONG{CKH_MONOTONIC_COUNTER})},
      {CKA_RESET_ON_INIT, {CK_FALSE}},
      {CKA_HAS_RESET, {CK_FALSE}},
  };
  return *attributes;
}

// Software, of no authority, with no certificate: it is a simulation, and nobody has validated it.
const std::vector<Attribute>& ValidationAttributes() {
  static const auto* const attributes = new std::vector<Attribute>{
      {CKA_CLASS, Raw(CK_ULONG{CKO_VALIDATION})},
      {CKA_UNIQUE_ID, Text("validation")},
      {CKA_MODIFIABLE, {CK_FALSE}},
      {CKA_COPYABLE, {CK_FALSE}},
      {CKA_DESTROYABLE, {CK_FALSE}},
      {CKA_VALIDATION_TYPE, Raw(CK_ULONG{CKV_TYPE_SOFTWARE})},
      {CKA_VALIDATION_VERSION, Raw(kNoVersionOfAStandard)},
      {CKA_VALIDATION_LEVEL, Raw(CK_ULONG{0})},
      {CKA_VALIDATION_MODULE_ID, Text("cmkd firmware_sim, a simulation, not validated")},
      {CKA_VALIDATION_FLAG, Raw(CK_FLAGS{0})},
      {CKA_VALIDATION_AUTHORITY_TYPE, Raw(CK_ULONG{CKV_AUTHORITY_TYPE_UNSPECIFIED})},
      {CKA_VALIDATION_COUNTRY, {}},
      {CKA_VALIDATION_CERTIFICATE_IDENTIFIER, {}},
      {CKA_VALIDATION_CERTIFICATE_URI, {}},
      {CKA_VALIDATION_VENDOR_URI, {}},
      {CKA_VALIDATION_PROFILE, {}},
  };
  return *attributes;
}

const std::vector<Attribute>& AttributesOf(CK_OBJECT_HANDLE handle) {
  return handle == kCounterHandle ? CounterAttributes() : ValidationAttributes();
}

const Bytes* Find(const std::vector<Attribute>& attributes, CK_ATTRIBUTE_TYPE type) {
  const auto found =
      std::find_if(attributes.begin(), attributes.end(), [type](const Attribute& a) { return a.type == type; });
  return found == attributes.end() ? nullptr : &found->value;
}

bool IsWanted(const std::vector<Attribute>& attributes, std::span<const CK_ATTRIBUTE> wanted) {
  bool by_class = false;
  for (const CK_ATTRIBUTE& attribute : wanted) {
    const Bytes* const value = Find(attributes, attribute.type);
    if (value == nullptr || !Equal(*value, spec::ValueOf(attribute))) return false;
    by_class = by_class || attribute.type == CKA_CLASS;
  }
  return by_class;
}

Fallible<Bytes> ReadCounter(Context& context, const CK_ATTRIBUTE& wanted) {
  // Only a reading that the caller can have is one.
  if (wanted.pValue == nullptr || wanted.ulValueLen < Counter::Value().size()) return Bytes(Counter::Value().size());
  ASSIGN_OR_RETURN(const Counter::Value value, context.device.counter().Next());
  return ToBytes(value);
}

Fallible<Bytes> Read(Context& context, CK_OBJECT_HANDLE handle, const CK_ATTRIBUTE& wanted) {
  if (handle == kCounterHandle && wanted.type == CKA_VALUE) return ReadCounter(context, wanted);
  const Bytes* const value = Find(AttributesOf(handle), wanted.type);
  if (value == nullptr) return Fail(CKR_ATTRIBUTE_TYPE_INVALID, "not an attribute of this object");
  return *value;
}

}  // namespace

bool IsDeviceObject(CK_OBJECT_HANDLE handle) { return handle == kCounterHandle || handle == kValidationHandle; }

void FindDeviceObjects(std::span<const CK_ATTRIBUTE> wanted, std::vector<CK_OBJECT_HANDLE>& found) {
  for (const CK_OBJECT_HANDLE handle : {kCounterHandle, kValidationHandle}) {
    if (IsWanted(AttributesOf(handle), wanted)) found.push_back(handle);
  }
}

Status ShowDeviceObject(Context& context, CK_OBJECT_HANDLE handle, std::span<CK_ATTRIBUTE> attributes) {
  CK_RV rv = CKR_OK;
  for (CK_ATTRIBUTE& wanted : attributes) {
    const Fallible<Bytes> value = Read(context, handle, wanted);
    const CK_RV one = value.ok() ? PutValue(wanted, *value) : PutNothing(wanted, value.error().rv);
    if (one != CKR_OK) rv = one;
  }
  if (rv != CKR_OK) return Fail(rv, "not every attribute could be given");
  return {};
}

CK_RV PutNothing(CK_ATTRIBUTE& wanted, CK_RV rv) {
  wanted.ulValueLen = CK_UNAVAILABLE_INFORMATION;
  return rv;
}

CK_RV PutValue(CK_ATTRIBUTE& wanted, ByteView value) {
  if (wanted.pValue != nullptr && wanted.ulValueLen < value.size()) return PutNothing(wanted, CKR_BUFFER_TOO_SMALL);
  if (wanted.pValue != nullptr && !value.empty()) std::memcpy(wanted.pValue, value.data(), value.size());
  wanted.ulValueLen = value.size();
  return CKR_OK;
}

}  // namespace cmkd::sim

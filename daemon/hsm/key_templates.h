// The templates with which key objects are made in a device: what each kind of key is allowed to do there, and which of
// its attributes are its material. The daemon decides who may use a key for what; in the device a key may do all that
// its type can.
#pragma once

#include <array>
#include <atomic>
#include <span>

#include "daemon/hsm/backend.h"
#include "pkcs11/spec/attributes.h"

namespace cmkd::daemon {

// A short list of CK_ATTRIBUTE with room for the values of flags and numbers; other bytes are borrowed. Points into
// itself, so it stays where it is.
class ObjectTemplate {
 public:
  ObjectTemplate() = default;
  ObjectTemplate(const ObjectTemplate&) = delete;
  ObjectTemplate& operator=(const ObjectTemplate&) = delete;

  void AddBool(CK_ATTRIBUTE_TYPE type, bool value);
  void AddUlong(CK_ATTRIBUTE_TYPE type, CK_ULONG value);
  void AddBytes(CK_ATTRIBUTE_TYPE type, ByteView value);
  void Clear() { count_ = ulongs_used_ = 0; }
  CK_ATTRIBUTE* data() { return items_.data(); }
  CK_ULONG size() const { return count_; }

 private:
  static constexpr std::size_t kAttributesMax = 40;
  std::array<CK_ATTRIBUTE, kAttributesMax> items_;
  std::array<CK_ULONG, 8> ulongs_;
  std::size_t count_ = 0;
  std::size_t ulongs_used_ = 0;
};

// What a new object in the device is to be.
struct ObjectPlan {
  CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
  CK_KEY_TYPE key_type = CKK_AES;
  bool sensitive = true;
  bool extractable = false;
  ByteView resident_id;                     // not empty: a token object with this CKA_ID
  ByteView resident_label;                  // and this CKA_LABEL
  CK_ULONG value_bytes = 0;                 // not 0: CKA_VALUE_LEN
  const spec::Attributes* parts = nullptr;  // the material or parameters to give, borrowed; nullptr: none
  const KeyName* stays_as = nullptr;        // it was made in this name's home session and stays in the cache, borrowed
};

// How much of what a key can do is asked for. Some devices refuse keys that may do too much.
enum class Generosity : std::uint8_t {
  kAll,     // every usage that fits the type
  kCommon,  // without wrapping and recovery
  kNone,    // what the device gives by itself
};

// Fills `out` for the plan. The plan's borrowed bytes must outlive the template's use.
void FillTemplate(const ObjectPlan& plan, Generosity generosity, ObjectTemplate& out);

// The key type by which devices know a key: HMAC keys with a type of their own are generic secrets to most of them, and
// every HMAC mechanism takes those (3.2, "HMAC").
CK_KEY_TYPE DeviceKeyType(CK_KEY_TYPE type);

// The class by which devices know a key: to them one that makes one-time passwords is a generic secret, too.
CK_OBJECT_CLASS DeviceClass(CK_OBJECT_CLASS object_class);

// The attributes that say what a key is and are no secret: CKA_MODULUS, CKA_EC_POINT, CKA_VALUE_LEN, … as a device
// may show them.
std::span<const CK_ATTRIBUTE_TYPE> PublicAttributes(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type);

// A number for the kind of key, below kKeyKinds, to remember what a device does with it.
inline constexpr std::size_t kKeyKinds = 32;
std::size_t KindIndex(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type);

// What a device has been seen to accept, by kind of key. Any thread.
class TemplateTolerance {
 public:
  // Calls `make` with the template of the plan; with less generous ones when the device objects to attributes. Returns
  // the last success, or the first refusal.
  template <class Make>
  CK_RV Try(const ObjectPlan& plan, Make make) {
    std::atomic<Generosity>& known = known_[KindIndex(plan.object_class, plan.key_type)];
    CK_RV first = CKR_OK;
    for (auto level = known.load(std::memory_order_relaxed);;
         level = static_cast<Generosity>(static_cast<int>(level) + 1)) {
      ObjectTemplate attributes;
      FillTemplate(plan, level, attributes);
      const CK_RV rv = make(attributes);
      if (rv == CKR_OK) {
        known.store(level, std::memory_order_relaxed);
        return CKR_OK;
      }
      if (first == CKR_OK) first = rv;
      if (!ObjectsToTemplate(rv) || level == Generosity::kNone) return first;
    }
  }

 private:
  static bool ObjectsToTemplate(CK_RV rv);
  std::array<std::atomic<Generosity>, kKeyKinds> known_{};
};

}  // namespace cmkd::daemon

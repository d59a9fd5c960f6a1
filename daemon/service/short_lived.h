// Keys that exist for the length of one call.
#pragma once

#include "daemon/crypto/random.h"
#include "daemon/hsm/backend.h"

namespace cmkd::daemon {

inline KeyMaterial Temporary(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, const cmk::Material& material,
                             const WrappingKey& under) {
  KeyMaterial key;
  key.object_class = object_class;
  key.key_type = type;
  key.material = material;
  key.wrapping_reference = under.reference;
  key.extractable = object_class == CKO_SECRET_KEY;
  return key;
}

// Material that is gone from the device's cache, and from the device, when the call is over.
class ShortLived {
 public:
  ShortLived(Backend& backend, cmk::Material material) : backend_(backend), material_(std::move(material)) {
    name_.id = RandomId();
  }
  ~ShortLived() {
    backend_.Forget(name_);
    if (!kept_) (void)backend_.DestroyMaterial(material_);
  }
  ShortLived(const ShortLived&) = delete;
  ShortLived& operator=(const ShortLived&) = delete;
  const KeyName& name() const { return name_; }
  const cmk::Material& material() const { return material_; }
  // The material belongs to somebody from now on.
  void Keep() { kept_ = true; }

 private:
  Backend& backend_;
  cmk::Material material_;
  KeyName name_;
  bool kept_ = false;
};

}  // namespace cmkd::daemon

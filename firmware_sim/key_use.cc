// See key_use.h.
#include "firmware_sim/key_use.h"

#include "pkcs11/spec/mechanism_parameters.h"

namespace cmkd::sim {
namespace {

// What asymmetric keys do with which half.
constexpr CK_FLAGS kWithPublicHalf = CKF_ENCRYPT | CKF_VERIFY | CKF_VERIFY_RECOVER | CKF_WRAP | CKF_ENCAPSULATE;

bool RightType(const spec::MechanismRow& row, const Key& key) {
  if (row.key_type != spec::kAnyKeyType) return key.type() == row.key_type || key.type() == row.other_key_type;
  return key.object_class() == CKO_SECRET_KEY;
}

bool RightClass(CK_OBJECT_CLASS object_class, CK_FLAGS operation) {
  if (object_class == CKO_SECRET_KEY) return true;
  return object_class == ((operation & kWithPublicHalf) != 0 ? CKO_PUBLIC_KEY : CKO_PRIVATE_KEY);
}

}  // namespace

Fallible<const spec::MechanismRow*> CheckMechanism(const CK_MECHANISM& mechanism, CK_FLAGS operation) {
  const spec::MechanismRow* row = spec::FindMechanism(mechanism.mechanism);
  if (row == nullptr || spec::IsMadeHere(*row) || (row->operations & operation) == 0)
    return Fail(CKR_MECHANISM_INVALID, "not a mechanism for this");
  // Message operations have their parameter with each message (PKCS#11 3.2 section 6.14.4).
  const bool messages = (operation & (CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT)) != 0;
  if (messages && mechanism.pParameter == nullptr) return row;
  RETURN_IF_ERROR(spec::CheckParameter(*row, mechanism));
  return row;
}

// There is nothing to log in for in the middle of one call: logging out and in again is what is left.
Status ChargeCall(Device& device, const Object& object, const Amount& amount) {
  if (device.WantsLogin(object)) return Fail(CKR_USER_NOT_LOGGED_IN, "the key wants the user to log in again");
  return device.Charge(object, amount);
}

Fallible<ObjectPtr> CheckKey(const Device& device, const spec::MechanismRow& row, CK_OBJECT_HANDLE handle,
                             CK_FLAGS operation, const KeyRefusals& refusals) {
  ObjectPtr object = device.FindObject(handle);
  if (object == nullptr || object->key() == nullptr) return Fail(refusals.handle, "no such key");
  const Key& key = *object->key();
  if (!RightType(row, key) || !RightClass(key.object_class(), operation)) {
    return Fail(refusals.type, "not a key for this mechanism");
  }
  if (!object->Permits(operation)) return Fail(CKR_KEY_FUNCTION_NOT_PERMITTED, "the key is not made for this use");
  if (!object->AllowsMechanism(row.type)) return Fail(CKR_MECHANISM_INVALID, "not in the key's CKA_ALLOWED_MECHANISMS");
  if (key.bits() < row.key_bits_min || key.bits() > row.key_bits_max) return Fail(refusals.size, "key size");
  return object;
}

}  // namespace cmkd::sim

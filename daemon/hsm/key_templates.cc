// The usages and parts of each kind of key, as tables.
#include "daemon/hsm/key_templates.h"

#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::daemon {
namespace {

constexpr CK_BBOOL kTrue = CK_TRUE;
constexpr CK_BBOOL kFalse = CK_FALSE;
constexpr CK_KEY_TYPE kOthers = static_cast<CK_KEY_TYPE>(-1);

using Types = std::span<const CK_ATTRIBUTE_TYPE>;

constexpr CK_ATTRIBUTE_TYPE kCipherAndMac[] = {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY};
constexpr CK_ATTRIBUTE_TYPE kWrapAndDerive[] = {CKA_WRAP, CKA_UNWRAP, CKA_DERIVE};
constexpr CK_ATTRIBUTE_TYPE kMac[] = {CKA_SIGN, CKA_VERIFY};
constexpr CK_ATTRIBUTE_TYPE kDerive[] = {CKA_DERIVE};
constexpr CK_ATTRIBUTE_TYPE kSign[] = {CKA_SIGN};
constexpr CK_ATTRIBUTE_TYPE kSignAndDerive[] = {CKA_SIGN, CKA_DERIVE};
constexpr CK_ATTRIBUTE_TYPE kVerify[] = {CKA_VERIFY};
constexpr CK_ATTRIBUTE_TYPE kDecryptAndSign[] = {CKA_DECRYPT, CKA_SIGN};
constexpr CK_ATTRIBUTE_TYPE kEncryptAndVerify[] = {CKA_ENCRYPT, CKA_VERIFY};
constexpr CK_ATTRIBUTE_TYPE kUnwrap[] = {CKA_UNWRAP};
constexpr CK_ATTRIBUTE_TYPE kWrap[] = {CKA_WRAP};
constexpr CK_ATTRIBUTE_TYPE kUnwrapAndRecover[] = {CKA_UNWRAP, CKA_SIGN_RECOVER};
constexpr CK_ATTRIBUTE_TYPE kWrapAndRecover[] = {CKA_WRAP, CKA_VERIFY_RECOVER};

constexpr CK_ATTRIBUTE_TYPE kValue[] = {CKA_VALUE};
constexpr CK_ATTRIBUTE_TYPE kValueLen[] = {CKA_VALUE_LEN, CKA_CHECK_VALUE};
constexpr CK_ATTRIBUTE_TYPE kRsaPrivate[] = {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_PRIME_1,
                                             CKA_PRIME_2, CKA_EXPONENT_1,      CKA_EXPONENT_2,       CKA_COEFFICIENT};
constexpr CK_ATTRIBUTE_TYPE kRsaPublic[] = {CKA_MODULUS, CKA_PUBLIC_EXPONENT};
constexpr CK_ATTRIBUTE_TYPE kRsaShown[] = {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PUBLIC_KEY_INFO};
constexpr CK_ATTRIBUTE_TYPE kCurvePrivate[] = {CKA_EC_PARAMS, CKA_VALUE};
constexpr CK_ATTRIBUTE_TYPE kCurvePublic[] = {CKA_EC_PARAMS, CKA_EC_POINT};
constexpr CK_ATTRIBUTE_TYPE kCurveShown[] = {CKA_EC_PARAMS, CKA_EC_POINT, CKA_PUBLIC_KEY_INFO};

constexpr CK_ATTRIBUTE_TYPE kDsaParts[] = {CKA_PRIME, CKA_SUBPRIME, CKA_BASE, CKA_VALUE};
constexpr CK_ATTRIBUTE_TYPE kDsaShown[] = {CKA_PRIME, CKA_SUBPRIME, CKA_BASE, CKA_PUBLIC_KEY_INFO};
constexpr CK_ATTRIBUTE_TYPE kDsaPublicShown[] = {CKA_PRIME, CKA_SUBPRIME, CKA_BASE, CKA_VALUE, CKA_PUBLIC_KEY_INFO};
constexpr CK_ATTRIBUTE_TYPE kDhParts[] = {CKA_PRIME, CKA_BASE, CKA_VALUE};
constexpr CK_ATTRIBUTE_TYPE kDhShown[] = {CKA_PRIME, CKA_BASE, CKA_VALUE_BITS, CKA_PUBLIC_KEY_INFO};
constexpr CK_ATTRIBUTE_TYPE kDhPublicShown[] = {CKA_PRIME, CKA_BASE, CKA_VALUE, CKA_PUBLIC_KEY_INFO};

struct KindRow {
  CK_OBJECT_CLASS object_class;
  CK_KEY_TYPE key_type;
  Types common;    // usages that every device gives such a key
  Types generous;  // usages that some refuse
  Types material;
  Types shown;
};

constexpr std::array kKinds = {
    KindRow{CKO_SECRET_KEY, CKK_AES, kCipherAndMac, kWrapAndDerive, kValue, kValueLen},
    KindRow{CKO_SECRET_KEY, CKK_GENERIC_SECRET, kMac, kDerive, kValue, kValueLen},
    KindRow{CKO_SECRET_KEY, kOthers, kCipherAndMac, kWrapAndDerive, kValue, kValueLen},
    KindRow{CKO_PRIVATE_KEY, CKK_RSA, kDecryptAndSign, kUnwrapAndRecover, kRsaPrivate, kRsaShown},
    KindRow{CKO_PRIVATE_KEY, CKK_EC, kSignAndDerive, kUnwrap, kCurvePrivate, kCurveShown},
    KindRow{CKO_PRIVATE_KEY, CKK_EC_EDWARDS, kSign, {}, kCurvePrivate, kCurveShown},
    KindRow{CKO_PRIVATE_KEY, CKK_EC_MONTGOMERY, kDerive, kUnwrap, kCurvePrivate, kCurveShown},
    KindRow{CKO_PRIVATE_KEY, CKK_SM2, kDecryptAndSign, {}, kCurvePrivate, kCurveShown},
    KindRow{CKO_PRIVATE_KEY, CKK_DSA, kSign, {}, kDsaParts, kDsaShown},
    KindRow{CKO_PRIVATE_KEY, CKK_DH, kDerive, {}, kDhParts, kDhShown},
    KindRow{CKO_PRIVATE_KEY, CKK_X9_42_DH, kDerive, {}, kDsaParts, kDsaShown},
    KindRow{CKO_PRIVATE_KEY, kOthers, kSign, {}, kValue, {}},
    KindRow{CKO_PUBLIC_KEY, CKK_RSA, kEncryptAndVerify, kWrapAndRecover, kRsaPublic, kRsaShown},
    KindRow{CKO_PUBLIC_KEY, CKK_EC, kVerify, kWrap, kCurvePublic, kCurveShown},
    KindRow{CKO_PUBLIC_KEY, CKK_EC_EDWARDS, kVerify, {}, kCurvePublic, kCurveShown},
    // Given to the device to work with only where that wraps with it.
    KindRow{CKO_PUBLIC_KEY, CKK_EC_MONTGOMERY, {}, kWrap, kCurvePublic, kCurveShown},
    KindRow{CKO_PUBLIC_KEY, CKK_SM2, kEncryptAndVerify, {}, kCurvePublic, kCurveShown},
    KindRow{CKO_PUBLIC_KEY, CKK_DSA, kVerify, {}, kDsaParts, kDsaPublicShown},
    KindRow{CKO_PUBLIC_KEY, CKK_DH, {}, {}, kDhParts, kDhPublicShown},
    KindRow{CKO_PUBLIC_KEY, CKK_X9_42_DH, {}, {}, kDsaParts, kDsaPublicShown},
    KindRow{CKO_PUBLIC_KEY, kOthers, kVerify, {}, kValue, {}},
};
static_assert(kKinds.size() <= kKeyKinds);

const KindRow& RowOf(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type) { return kKinds[KindIndex(object_class, type)]; }

void AddUsages(Types usages, ObjectTemplate& out) {
  for (const CK_ATTRIBUTE_TYPE usage : usages) out.AddBool(usage, true);
}

// Parts come from the plan; what is not material of this kind of key has no business in the device.
void AddParts(const ObjectPlan& plan, const KindRow& kind, ObjectTemplate& out) {
  for (const CK_ATTRIBUTE_TYPE type : kind.material) {
    const ShortBytes* value = plan.parts->Find(type);
    if (value != nullptr && !value->empty()) out.AddBytes(type, *value);
  }
  // Not material, but what a public key is generated from (3.2, "RSA public key objects").
  if (const auto bits = plan.parts->Ulong(CKA_MODULUS_BITS); bits && !plan.parts->Has(CKA_MODULUS)) {
    out.AddUlong(CKA_MODULUS_BITS, *bits);
  }
}

}  // namespace

void ObjectTemplate::AddBool(CK_ATTRIBUTE_TYPE type, bool value) { AddBytes(type, {value ? &kTrue : &kFalse, 1}); }

void ObjectTemplate::AddUlong(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
  CK_ULONG& kept = ulongs_.at(ulongs_used_++);
  kept = value;
  AddBytes(type, {reinterpret_cast<const std::uint8_t*>(&kept), sizeof kept});
}

void ObjectTemplate::AddBytes(CK_ATTRIBUTE_TYPE type, ByteView value) {
  // C's type has no const; nobody writes through a template that goes in.
  items_.at(count_++) = {type, const_cast<std::uint8_t*>(value.data()), value.size()};
}

CK_KEY_TYPE DeviceKeyType(CK_KEY_TYPE type) {
  return spec::KeyTypeBit(type) == spec::kForGeneric || type == CKK_HOTP ? CKK_GENERIC_SECRET : type;
}

CK_OBJECT_CLASS DeviceClass(CK_OBJECT_CLASS object_class) {
  return spec::IsSecretKeyClass(object_class) ? CKO_SECRET_KEY : object_class;
}

std::size_t KindIndex(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type) {
  std::size_t i = 0;
  while (i + 1 < kKinds.size() &&
         (kKinds[i].object_class != object_class || (kKinds[i].key_type != type && kKinds[i].key_type != kOthers))) {
    ++i;
  }
  return i;
}

std::span<const CK_ATTRIBUTE_TYPE> PublicAttributes(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type) {
  return RowOf(object_class, DeviceKeyType(type)).shown;
}

void FillTemplate(const ObjectPlan& plan, Generosity generosity, ObjectTemplate& out) {
  const KindRow& kind = RowOf(plan.object_class, plan.key_type);
  out.Clear();
  out.AddUlong(CKA_CLASS, plan.object_class);
  out.AddUlong(CKA_KEY_TYPE, plan.key_type);
  out.AddBool(CKA_TOKEN, !plan.resident_id.empty());
  if (plan.object_class != CKO_PUBLIC_KEY) {
    out.AddBool(CKA_PRIVATE, true);
    out.AddBool(CKA_SENSITIVE, plan.sensitive);
    out.AddBool(CKA_EXTRACTABLE, plan.extractable);
  } else {
    out.AddBool(CKA_PRIVATE, false);
  }
  if (!plan.resident_id.empty()) out.AddBytes(CKA_ID, plan.resident_id);
  if (!plan.resident_label.empty()) out.AddBytes(CKA_LABEL, plan.resident_label);
  if (plan.value_bytes != 0) out.AddUlong(CKA_VALUE_LEN, plan.value_bytes);
  if (plan.parts != nullptr) AddParts(plan, kind, out);
  if (generosity != Generosity::kNone) AddUsages(kind.common, out);
  if (generosity == Generosity::kAll) AddUsages(kind.generous, out);
}

bool TemplateTolerance::ObjectsToTemplate(CK_RV rv) {
  return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_ATTRIBUTE_READ_ONLY ||
         rv == CKR_TEMPLATE_INCONSISTENT;
}

}  // namespace cmkd::daemon

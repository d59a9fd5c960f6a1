// See key.h.
#include "firmware_sim/key.h"

#include "firmware_sim/engine.h"
#include "firmware_sim/key_encoding.h"

namespace cmkd::sim {
namespace {

std::size_t BitsOf(const DecodedKey& key) {
  if (key.curve != nullptr) return key.curve->bits;
  return spec::BitLength(key.parts[IsInField(key.type) ? Part::kPrime : Part::kModulus]);
}

// CKA_EC_PARAMS to the curve, which must be one for this key type.
Fallible<const spec::Curve*> CurveOf(CK_KEY_TYPE type, const Parts& parts) {
  if (type == CKK_RSA || IsInField(type)) return static_cast<const spec::Curve*>(nullptr);
  const spec::Curve* curve = spec::FindCurve(parts[Part::kEcParams]);
  if (curve == nullptr) return Fail(CKR_CURVE_NOT_SUPPORTED, "CKA_EC_PARAMS names no known curve");
  if (curve->key_type != type) return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "the curve is not one of this key type");
  return curve;
}

// RFC 5915 section 3 wants the scalar of an EC key as long as the field; PKCS#11 has it as a big integer.
Fallible<SecretBytes> FixedLengthScalar(const spec::Curve& curve, ByteView value) {
  if (!HasScalar(curve.key_type)) return SecretBytes(value);
  const std::size_t bytes = (curve.bits + 7u) / 8;
  while (!value.empty() && value[0] == 0) value = value.subspan(1);
  if (value.size() > bytes) return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "the scalar is longer than the field");
  SecretBytes fixed(bytes);
  if (!value.empty()) std::memcpy(fixed.bytes().data() + bytes - value.size(), value.data(), value.size());
  return fixed;
}

}  // namespace

Fallible<KeyPtr> Key::Secret(CK_KEY_TYPE type, SecretBytes value) {
  auto key = std::make_shared<Key>();
  key->object_class_ = CKO_SECRET_KEY;
  key->type_ = type;
  key->bits_ = value.size() * 8;
  key->secret_ = std::move(value);
  key->parts_[Part::kValue] = key->secret_.view();
  key->engine_ = PrepareSecret();
  return KeyPtr(std::move(key));
}

Fallible<KeyPtr> Key::Private(SecretBytes pkcs8) {
  ASSIGN_OR_RETURN(DecodedKey decoded, DecodePkcs8(pkcs8.view(), CKR_WRAPPED_KEY_INVALID));
  auto key = std::make_shared<Key>();
  // The public point is computed when the encoding has none, and always on the curves of RFC 8032, where signing with a
  // public key of somebody else's choice gives the private key away.
  const bool signs_with_point = decoded.type == CKK_EC_EDWARDS;
  if (decoded.curve != nullptr && (decoded.parts[Part::kPoint].empty() || signs_with_point)) {
    ASSIGN_OR_RETURN(key->computed_point_,
                     ComputePoint(*decoded.curve, decoded.parts[Part::kValue], CKR_WRAPPED_KEY_INVALID));
    decoded.parts[Part::kPoint] = key->computed_point_;
  }
  if (IsInField(decoded.type)) {
    ASSIGN_OR_RETURN(key->computed_point_, ComputePublicValue(decoded.parts, CKR_WRAPPED_KEY_INVALID));
    decoded.parts[Part::kPoint] = key->computed_point_;
  }
  ASSIGN_OR_RETURN(key->engine_, PreparePrivate(decoded.type, decoded.curve, decoded.parts, CKR_WRAPPED_KEY_INVALID));
  key->object_class_ = CKO_PRIVATE_KEY;
  key->type_ = decoded.type;
  key->curve_ = decoded.curve;
  key->bits_ = BitsOf(decoded);
  // Moving a SecretBytes moves no byte: the views stay good.
  key->secret_ = std::move(pkcs8);
  key->parts_ = decoded.parts;
  return KeyPtr(std::move(key));
}

Fallible<KeyPtr> Key::Public(Bytes spki) {
  auto key = std::make_shared<Key>();
  key->public_ = std::move(spki);
  ASSIGN_OR_RETURN(const DecodedKey decoded, DecodeSpki(key->public_, CKR_PUBLIC_KEY_INVALID));
  ASSIGN_OR_RETURN(key->engine_, PreparePublic(decoded.type, decoded.curve, decoded.parts));
  key->object_class_ = CKO_PUBLIC_KEY;
  key->type_ = decoded.type;
  key->curve_ = decoded.curve;
  key->bits_ = BitsOf(decoded);
  key->parts_ = decoded.parts;
  return KeyPtr(std::move(key));
}

Fallible<KeyPtr> Key::PrivateFromParts(CK_KEY_TYPE type, const Parts& parts) {
  ASSIGN_OR_RETURN(const spec::Curve* curve, CurveOf(type, parts));
  Fallible<KeyPtr> key = Fail(CKR_ATTRIBUTE_VALUE_INVALID, "no such key type");
  if (type == CKK_RSA) {
    ASSIGN_OR_RETURN(const RsaNumbers numbers, CompleteRsa(parts, CKR_ATTRIBUTE_VALUE_INVALID));
    key = Private(EncodePkcs8(type, nullptr, numbers.parts));
  } else if (IsInField(type)) {
    RETURN_IF_ERROR(CheckGroup(type, parts));
    key = Private(EncodePkcs8(type, nullptr, parts));
  } else {
    ASSIGN_OR_RETURN(const SecretBytes scalar, FixedLengthScalar(*curve, parts[Part::kValue]));
    ASSIGN_OR_RETURN(const Bytes point, ComputePoint(*curve, scalar.view(), CKR_ATTRIBUTE_VALUE_INVALID));
    Parts complete = parts;
    complete[Part::kValue] = scalar.view();
    complete[Part::kPoint] = point;
    key = Private(EncodePkcs8(type, curve, complete));
  }
  if (!key.ok() && key.error().rv == CKR_WRAPPED_KEY_INVALID) key.error().rv = CKR_ATTRIBUTE_VALUE_INVALID;
  return key;
}

Fallible<KeyPtr> Key::PublicFromParts(CK_KEY_TYPE type, const Parts& parts) {
  ASSIGN_OR_RETURN(const spec::Curve* curve, CurveOf(type, parts));
  return Public(EncodeSpki(type, curve, parts));
}

Bytes Key::PublicInfo() const { return EncodeSpki(type_, curve_, parts_); }

}  // namespace cmkd::sim

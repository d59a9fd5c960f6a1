// See object.h.
#include "firmware_sim/object.h"

#include <algorithm>

#include "firmware_sim/der.h"
#include "firmware_sim/device_clock.h"
#include "firmware_sim/engine.h"
#include "firmware_sim/primitives.h"
#include "firmware_sim/record.h"
#include "pkcs11/spec/template_codec.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::sim {
namespace {

constexpr std::uint64_t kRecordVersion = 1;

struct PartRow {
  CK_ATTRIBUTE_TYPE type;
  Part part;
};
// Attributes that are parts of the material as they are. CKA_EC_POINT is one with DER around it.
constexpr PartRow kParts[] = {
    {CKA_MODULUS, Part::kModulus},
    {CKA_PUBLIC_EXPONENT, Part::kPublicExponent},
    {CKA_PRIVATE_EXPONENT, Part::kPrivateExponent},
    {CKA_PRIME_1, Part::kPrime1},
    {CKA_PRIME_2, Part::kPrime2},
    {CKA_EXPONENT_1, Part::kExponent1},
    {CKA_EXPONENT_2, Part::kExponent2},
    {CKA_COEFFICIENT, Part::kCoefficient},
    {CKA_EC_PARAMS, Part::kEcParams},
    {CKA_PRIME, Part::kPrime},
    {CKA_SUBPRIME, Part::kSubprime},
    {CKA_BASE, Part::kBase},
    {CKA_VALUE, Part::kValue},
};
// Computed from the material when they are asked for.
constexpr CK_ATTRIBUTE_TYPE kComputed[] = {CKA_EC_POINT,  CKA_PUBLIC_KEY_INFO, CKA_CHECK_VALUE,
                                           CKA_VALUE_LEN, CKA_MODULUS_BITS,    CKA_VALUE_BITS};

struct UsageRow {
  CK_ATTRIBUTE_TYPE type;
  CK_FLAGS operation;
};
constexpr UsageRow kUsages[] = {
    {CKA_ENCRYPT, CKF_ENCRYPT | CKF_MESSAGE_ENCRYPT},
    {CKA_DECRYPT, CKF_DECRYPT | CKF_MESSAGE_DECRYPT},
    {CKA_SIGN, CKF_SIGN | CKF_MESSAGE_SIGN},
    {CKA_VERIFY, CKF_VERIFY | CKF_MESSAGE_VERIFY},
    {CKA_SIGN_RECOVER, CKF_SIGN_RECOVER},
    {CKA_VERIFY_RECOVER, CKF_VERIFY_RECOVER},
    {CKA_ENCAPSULATE, CKF_ENCAPSULATE},
    {CKA_DECAPSULATE, CKF_DECAPSULATE},
    {CKA_WRAP, CKF_WRAP},
    {CKA_UNWRAP, CKF_UNWRAP},
    {CKA_DERIVE, CKF_DERIVE},
};

bool IsPart(CK_ATTRIBUTE_TYPE type) {
  return std::any_of(std::begin(kParts), std::end(kParts), [type](const PartRow& row) { return row.type == type; });
}
bool IsComputed(CK_ATTRIBUTE_TYPE type) {
  return std::find(std::begin(kComputed), std::end(kComputed), type) != std::end(kComputed);
}

Bytes UlongBytes(CK_ULONG value) { return ToBytes({reinterpret_cast<const std::uint8_t*>(&value), sizeof value}); }

Bytes DerPoint(ByteView point) {
  std::uint8_t buffer[160];
  der::Writer writer(buffer);
  writer.Value(der::kOctetString, point);
  return ToBytes(writer.written());
}

// PKCS#11 3.2, CKA_CHECK_VALUE: three bytes; of a zero block for ciphers, of the hash of the value for other secrets.
Fallible<Bytes> CheckValue(const Key& key) {
  std::uint8_t block[64] = {};
  if (const std::size_t bytes = spec::CipherBlockBytes(key.type()); bytes != 0) {
    const CK_MECHANISM_TYPE type = key.type() == CKK_AES   ? CKM_AES_ECB
                                   : key.type() == CKK_SM4 ? CKM_SM4_ECB
                                                           : CKM_DES3_ECB;
    const CK_MECHANISM ecb{type, nullptr, 0};
    ASSIGN_OR_RETURN(const auto cipher, MakeCipher(*spec::FindMechanism(type), ecb, key, Mode::kEncrypt));
    ASSIGN_OR_RETURN(const std::size_t n,
                     cipher->Whole(ByteView(block).first(bytes), MutableBytes(block).first(bytes)));
    (void)n;
  } else {
    ASSIGN_OR_RETURN(const auto digest, MakeDigest(CKM_SHA_1));
    RETURN_IF_ERROR(digest->Update(key.part(Part::kValue)));
    RETURN_IF_ERROR(digest->Final(block));
  }
  return ToBytes(ByteView(block).first(3));
}

Limits LimitsOf(const spec::Attributes& attributes) {
  const auto limit = [&](CK_ATTRIBUTE_TYPE type) { return attributes.Ulong(type).value_or(0); };
  return {limit(CKA_CMKD_LIMIT_USES), limit(CKA_CMKD_LIMIT_BYTES), limit(CKA_CMKD_LIMIT_SECONDS),
          limit(CKA_CMKD_USES_PER_LOGIN)};
}

void TakeOutMaterial(spec::Attributes& attributes) {
  // An empty check value is a wish: there shall be none.
  attributes.RemoveIf(
      [](CK_ATTRIBUTE_TYPE type) { return IsPart(type) || (IsComputed(type) && type != CKA_CHECK_VALUE); });
}

}  // namespace

Object::Object(spec::Attributes attributes, KeyPtr key, CK_SESSION_HANDLE owner, std::string name, UsagePtr usage)
    : attributes_(std::move(attributes)),
      key_(std::move(key)),
      owner_(owner),
      name_(std::move(name)),
      usage_(std::move(usage)) {
  object_class_ = attributes_.Ulong(CKA_CLASS).value_or(CKO_DATA);
  is_private_ = attributes_.Bool(CKA_PRIVATE);
  always_authenticate_ = attributes_.Bool(CKA_ALWAYS_AUTHENTICATE);
  restricts_mechanisms_ = !attributes_.View(CKA_ALLOWED_MECHANISMS).empty();
  attributes_.SetText(CKA_UNIQUE_ID, name_);
  if (key_ == nullptr) return;
  TakeOutMaterial(attributes_);
  if (usage_ == nullptr && object_class_ != CKO_PUBLIC_KEY)
    usage_ = std::make_shared<KeyUsage>(LimitsOf(attributes_), Spent{.made = DeviceTime(), .seen = 0}, !is_token());
  for (const UsageRow& row : kUsages) usages_ |= attributes_.Bool(row.type) ? row.operation : 0;
}

bool Object::AllowsMechanism(CK_MECHANISM_TYPE type) const {
  if (!restricts_mechanisms_) return true;
  const ByteView list = attributes_.View(CKA_ALLOWED_MECHANISMS);
  for (std::size_t i = 0; i + sizeof type <= list.size(); i += sizeof type) {
    if (std::memcmp(list.data() + i, &type, sizeof type) == 0) return true;
  }
  return false;
}

Fallible<Bytes> Object::FromMaterial(CK_ATTRIBUTE_TYPE type) const {
  const bool secret = object_class_ == CKO_SECRET_KEY;
  const bool field = IsInField(key_->type());
  if (type == CKA_VALUE && field && object_class_ == CKO_PUBLIC_KEY) return ToBytes(key_->part(Part::kPoint));
  if (type == CKA_VALUE_BITS && field && object_class_ == CKO_PRIVATE_KEY)
    return UlongBytes(spec::BitLength(key_->part(Part::kValue)));
  for (const PartRow& row : kParts) {
    if (row.type == type) return ToBytes(key_->part(row.part));
  }
  if (type == CKA_EC_POINT && key_->curve() != nullptr) return DerPoint(key_->part(Part::kPoint));
  if (type == CKA_PUBLIC_KEY_INFO && !secret) return key_->PublicInfo();
  if (type == CKA_CHECK_VALUE && secret && !attributes_.Has(CKA_CHECK_VALUE)) return CheckValue(*key_);
  if (type == CKA_VALUE_LEN && secret) return UlongBytes(key_->bits() / 8);
  if (type == CKA_MODULUS_BITS && object_class_ == CKO_PUBLIC_KEY && key_->type() == CKK_RSA)
    return UlongBytes(key_->bits());
  return Bytes();
}

Fallible<Bytes> Object::Reveal(CK_ATTRIBUTE_TYPE type) const {
  if (key_ != nullptr && (IsPart(type) || IsComputed(type))) {
    if (!spec::MayReveal(attributes_, type)) return Fail(CKR_ATTRIBUTE_SENSITIVE, "sensitive");
    ASSIGN_OR_RETURN(Bytes value, FromMaterial(type));
    if (!value.empty()) return value;
  }
  const bool counted = usage_ != nullptr && usage_->limits().any();
  if (type == CKA_CMKD_USES && counted) return UlongBytes(usage_->spent().uses);
  if (type == CKA_CMKD_BYTES && counted) return UlongBytes(usage_->spent().bytes);
  const ShortBytes* value = attributes_.Find(type);
  if (value == nullptr) return Fail(CKR_ATTRIBUTE_TYPE_INVALID, "the object has no such attribute");
  return ToBytes(*value);
}

spec::Attributes Object::All() const {
  spec::Attributes all = attributes_;
  if (key_ == nullptr) return all;
  const auto add = [&](CK_ATTRIBUTE_TYPE type) {
    auto value = Reveal(type);
    if (!value.ok()) return;
    all.Set(type, *value);
    Wipe(*value);
  };
  for (const PartRow& row : kParts) add(row.type);
  for (const CK_ATTRIBUTE_TYPE type : kComputed) add(type);
  return all;
}

bool Object::FoundBy(std::span<const CK_ATTRIBUTE> wanted) const {
  const bool asks_material =
      key_ != nullptr && std::any_of(wanted.begin(), wanted.end(), [](const CK_ATTRIBUTE& attribute) {
        return IsPart(attribute.type) || IsComputed(attribute.type);
      });
  return asks_material ? spec::FoundBy(All(), wanted) : spec::FoundBy(attributes_, wanted);
}

SecretBytes Object::Encode() const {
  RecordWriter writer;
  writer.Number(kRecordVersion);
  writer.Number(attributes_.size());
  for (const spec::Attribute& attribute : attributes_) {
    writer.Number(attribute.type);
    writer.String(attribute.value);
  }
  writer.String(key_ == nullptr ? ByteView() : key_->encoded());
  return SecretBytes(writer.bytes());
}

Fallible<ObjectPtr> Object::Decode(ByteView record, std::string name, const Spent& spent, std::string_view origin) {
  const auto malformed = [&] { return Fail(CKR_DEVICE_ERROR, "flash: " + name + " is malformed"); };
  RecordReader reader(record);
  if (reader.Number() != kRecordVersion) return malformed();
  spec::Attributes attributes;
  for (std::uint64_t left = reader.Number(); left > 0 && reader.ok(); --left) {
    const CK_ATTRIBUTE_TYPE type = reader.Number();
    attributes.Set(type, reader.String());
  }
  const ByteView encoded = reader.String();
  if (!reader.AtEnd()) return malformed();
  const auto object_class = attributes.Ulong(CKA_CLASS);
  const CK_KEY_TYPE type = attributes.Ulong(CKA_KEY_TYPE).value_or(CKK_GENERIC_SECRET);
  Fallible<KeyPtr> key = KeyPtr();
  if (object_class == CKO_SECRET_KEY) key = Key::Secret(type, SecretBytes(encoded));
  if (object_class == CKO_PRIVATE_KEY) key = Key::Private(SecretBytes(encoded));
  if (object_class == CKO_PUBLIC_KEY) key = Key::Public(ToBytes(encoded));
  if (!key.ok()) return malformed();
  UsagePtr usage;
  if (object_class == CKO_SECRET_KEY || object_class == CKO_PRIVATE_KEY)
    usage = std::make_shared<KeyUsage>(LimitsOf(attributes), spent, false);
  if (*key != nullptr && !origin.empty()) attributes.SetText(CKA_CMKD_CLONE_OF, std::string(origin));
  return ObjectPtr(
      std::make_shared<Object>(std::move(attributes), std::move(*key), 0, std::move(name), std::move(usage)));
}

Status CheckMaterial(const Object& object, std::span<const CK_ATTRIBUTE> given) {
  if (object.key() == nullptr || given.empty()) return {};
  const bool claims =
      std::any_of(given.begin(), given.end(), [](const CK_ATTRIBUTE& attribute) { return IsComputed(attribute.type); });
  if (!claims) return {};
  // Only what is claimed, and what says how to compare it: to compute the rest takes longer than to make a key.
  spec::Attributes computed;
  const auto add = [&](CK_ATTRIBUTE_TYPE type) {
    auto value = object.Reveal(type);
    if (!value.ok()) return;
    computed.Set(type, *value);
    Wipe(*value);
  };
  computed.SetUlong(CKA_CLASS, object.object_class());
  computed.SetUlong(CKA_KEY_TYPE, object.key()->type());
  if (object.key()->curve() != nullptr) add(CKA_EC_PARAMS);
  for (const CK_ATTRIBUTE& attribute : given) {
    if (IsPart(attribute.type) || IsComputed(attribute.type)) add(attribute.type);
  }
  return spec::CheckAgainstMaterial(given, computed);
}

Fallible<KeyPtr> KeyFromTemplate(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, const spec::Attributes& attributes) {
  if (object_class == CKO_SECRET_KEY) return Key::Secret(type, SecretBytes(attributes.View(CKA_VALUE)));
  Parts parts;
  for (const PartRow& row : kParts) parts[row.part] = attributes.View(row.type);
  if (object_class == CKO_PRIVATE_KEY) return Key::PrivateFromParts(type, parts);
  if (IsInField(type)) parts[Part::kPoint] = parts[Part::kValue];
  if (const spec::Curve* curve = spec::FindCurve(parts[Part::kEcParams]); type != CKK_RSA && curve != nullptr) {
    parts[Part::kPoint] = spec::PointOf(attributes.View(CKA_EC_POINT), *curve);
  }
  return Key::PublicFromParts(type, parts);
}

}  // namespace cmkd::sim

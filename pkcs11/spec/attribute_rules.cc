// CheckTemplate: the footnotes of the attribute table, asked one by one, and the few things that attributes say
// together.
#include "pkcs11/spec/attribute_rules.h"

#include <algorithm>
#include <cstring>

#include "pkcs11/spec/attribute_values.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/otp.h"
#include "pkcs11/spec/template_codec.h"

namespace cmkd::spec {
namespace {

using Template = std::span<const CK_ATTRIBUTE>;

// On generation, as FIPS 186-5 section A.1.1 has it: 2^16 < e < 2^256.
constexpr std::size_t kMadeExponentBitsMin = 17;
constexpr std::size_t kMadeExponentBitsMax = 256;

Failure<Error> Refuse(CK_RV rv, const AttributeRow& row, std::string_view why) {
  return Fail(rv, std::string(row.name) + " " + std::string(why));
}

bool IsKey(CK_OBJECT_CLASS object_class) { return (ClassBit(object_class) & kOnKeys) != 0; }
bool IsChange(Verb verb) { return verb == Verb::kCopy || verb == Verb::kSet; }
bool IsUsage(const AttributeRow& row) { return row.initial == Default::kUsage; }

const CK_ATTRIBUTE* Find(Template attributes, CK_ATTRIBUTE_TYPE type) {
  const auto found =
      std::find_if(attributes.begin(), attributes.end(), [type](const CK_ATTRIBUTE& a) { return a.type == type; });
  return found == attributes.end() ? nullptr : &*found;
}

bool IsTrue(const CK_ATTRIBUTE& attribute) { return *static_cast<const CK_BBOOL*>(attribute.pValue) == CK_TRUE; }

CK_ULONG UlongOf(const CK_ATTRIBUTE& attribute) {
  CK_ULONG value;
  std::memcpy(&value, attribute.pValue, sizeof value);
  return value;
}

bool SameAttribute(const CK_ATTRIBUTE& a, const CK_ATTRIBUTE& b) {
  if (!IsTemplateAttribute(a.type)) return Equal(ValueOf(a), ValueOf(b));
  const Fallible<Attributes> left = Attributes::From({&a, 1});
  return left.ok() && SameValue(b, left->View(a.type));
}

// What the object would be

Status CheckKeyKind(const TemplateContext& context) {
  const KeyTypeSet key_type = KeyTypeBit(context.key_type);
  if (context.key_type == CK_UNAVAILABLE_INFORMATION) return Fail(CKR_TEMPLATE_INCOMPLETE, "no CKA_KEY_TYPE");
  if (key_type == 0) return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "CKA_KEY_TYPE is none that this token has");
  const bool secret_type = (key_type & kForSecrets) != 0;
  const bool otp_type = key_type == kForHotp;
  if (secret_type != IsSecretKeyClass(context.object_class) || otp_type != (context.object_class == CKO_OTP_KEY)) {
    return Fail(CKR_TEMPLATE_INCONSISTENT, "CKA_KEY_TYPE does not go with CKA_CLASS");
  }
  return {};
}

Status CheckDomainKind(const TemplateContext& context) {
  if (context.key_type == CK_UNAVAILABLE_INFORMATION) return Fail(CKR_TEMPLATE_INCOMPLETE, "no CKA_KEY_TYPE");
  if ((KeyTypeBit(context.key_type) & kForDiscreteLog) != 0) return {};
  return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "keys of this CKA_KEY_TYPE have no domain parameters");
}

Status CheckKind(const TemplateContext& context) {
  if (context.object_class == CK_UNAVAILABLE_INFORMATION) return Fail(CKR_TEMPLATE_INCOMPLETE, "no CKA_CLASS");
  const ClassSet object_class = ClassBit(context.object_class);
  if (object_class == 0) return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "CKA_CLASS is none that this token has");
  if ((object_class & kOnBuiltIn) != 0 && !IsChange(context.verb))
    return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "objects of this CKA_CLASS are the token's own");
  if (IsKey(context.object_class)) return CheckKeyKind(context);
  if (object_class == kOnDomain && context.verb != Verb::kUnwrap && context.verb != Verb::kDerive)
    return CheckDomainKind(context);
  if (context.verb == Verb::kGenerate || context.verb == Verb::kUnwrap || context.verb == Verb::kDerive) {
    return Fail(CKR_TEMPLATE_INCONSISTENT, "CKA_CLASS is no key");
  }
  if (context.object_class != CKO_CERTIFICATE) return {};
  if (context.key_type == CK_UNAVAILABLE_INFORMATION) return Fail(CKR_TEMPLATE_INCOMPLETE, "no CKA_CERTIFICATE_TYPE");
  if (context.key_type != CKC_X_509) return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "only X.509 certificates are kept");
  return {};
}

// Whether the object may be changed or copied at all.
Status CheckCurrent(const TemplateContext& context) {
  if (!IsChange(context.verb)) return {};
  if (context.current == nullptr) return Fail(CKR_GENERAL_ERROR, "a change without an object");
  if (context.verb == Verb::kSet && !context.current->Bool(CKA_MODIFIABLE, true)) {
    return Fail(CKR_ACTION_PROHIBITED, "the object is not CKA_MODIFIABLE");
  }
  if (context.verb == Verb::kCopy && !context.current->Bool(CKA_COPYABLE, true)) {
    return Fail(CKR_ACTION_PROHIBITED, "the object is not CKA_COPYABLE");
  }
  return {};
}

// What single values may be

Status CheckMaterialLength(const TemplateContext& context, const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  if (!IsSecretKeyClass(context.object_class)) {
    const bool private_key = context.object_class == CKO_PRIVATE_KEY;
    if (private_key && attribute.ulValueLen == 0) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, row, "is empty");
    return {};
  }
  if (IsSecretLength(context.key_type, attribute.ulValueLen)) return {};
  return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, row, "has a length that its key type does not have");
}

Status CheckAskedLength(const TemplateContext& context, const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  if (IsSecretLength(context.key_type, UlongOf(attribute))) return {};
  return Refuse(CKR_KEY_SIZE_RANGE, row, "is a length that its key type does not have");
}

// What is asked of a private Diffie-Hellman value: long enough for 112 bits of security (SP 800-56A), and below any
// prime.
Status CheckAskedValueBits(const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  const CK_ULONG bits = UlongOf(attribute);
  if (bits >= 224 && bits <= 8192) return {};
  return Refuse(CKR_KEY_SIZE_RANGE, row, "is a size that is not made here");
}

Status CheckAskedModulus(const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  const MechanismRow* making = FindMechanism(CKM_RSA_PKCS_KEY_PAIR_GEN);
  const CK_ULONG bits = UlongOf(attribute);
  if (bits >= making->key_bits_min && bits <= making->key_bits_max) return {};
  return Refuse(CKR_KEY_SIZE_RANGE, row, "is a size that is not made here");
}

Status CheckCurve(const TemplateContext& context, const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  const Curve* curve = FindCurve(ValueOf(attribute));
  if (curve == nullptr) return Refuse(CKR_CURVE_NOT_SUPPORTED, row, "names no curve known here");
  if (curve->key_type != context.key_type)
    return Refuse(CKR_CURVE_NOT_SUPPORTED, row, "names a curve of another key type");
  return {};
}

Status CheckExponent(const TemplateContext& context, const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  const ByteView exponent = ValueOf(attribute);
  const std::size_t bits = BitLength(exponent);
  if (bits < 2 || exponent.back() % 2 == 0) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, row, "is even or 1");
  if (context.verb == Verb::kGenerate && (bits < kMadeExponentBitsMin || bits > kMadeExponentBitsMax)) {
    return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, row, "must be above 2^16 and below 2^256 for a new key");
  }
  return {};
}

Status CheckModulus(const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  const ByteView modulus = ValueOf(attribute);
  if (BitLength(modulus) < 2 || modulus.back() % 2 == 0)
    return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, row, "is even or 1");
  return {};
}

Status CheckEqual(const AttributeRow& row, const CK_ATTRIBUTE& attribute, CK_ULONG expected) {
  if (UlongOf(attribute) == expected) return {};
  return Refuse(CKR_TEMPLATE_INCONSISTENT, row, "is not what this call makes");
}

Status CheckRange(const AttributeRow& row, const CK_ATTRIBUTE& attribute, CK_ULONG greatest) {
  if (UlongOf(attribute) <= greatest) return {};
  return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, row, "is none of the standard's values");
}

// Values that must make sense by themselves, for a new object.
Status CheckMeaning(const TemplateContext& context, const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  switch (row.type) {
    case CKA_CLASS: return CheckEqual(row, attribute, context.object_class);
    case CKA_KEY_TYPE:
    case CKA_CERTIFICATE_TYPE: return CheckEqual(row, attribute, context.key_type);
    case CKA_CERTIFICATE_CATEGORY:  // both have four values, from 0 on
    case CKA_JAVA_MIDP_SECURITY_DOMAIN: return CheckRange(row, attribute, CK_SECURITY_DOMAIN_THIRD_PARTY);
    case CKA_VALUE: return CheckMaterialLength(context, row, attribute);
    case CKA_VALUE_LEN: return CheckAskedLength(context, row, attribute);
    case CKA_MODULUS_BITS: return CheckAskedModulus(row, attribute);
    case CKA_EC_PARAMS: return CheckCurve(context, row, attribute);
    case CKA_EC_POINT:
      if (attribute.ulValueLen == 0 && HasRule(row, kRequiredOnCreate))
        return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, row, "is empty");
      return {};
    case CKA_PUBLIC_EXPONENT: return CheckExponent(context, row, attribute);
    case CKA_MODULUS:
    case CKA_PRIME: return CheckModulus(row, attribute);
    case CKA_VALUE_BITS: return CheckAskedValueBits(row, attribute);
    case CKA_PRIVATE_EXPONENT:
      if (BitLength(ValueOf(attribute)) < 2) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, row, "is no private exponent");
      return {};
    default: return (row.classes & kOnOtpKey) != 0 ? CheckOtpAttribute(row, attribute) : Status();
  }
}

// What a verb allows

Status CheckNew(const TemplateContext& context, const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  if (row.set_by == SetBy::kToken) return Refuse(CKR_ATTRIBUTE_READ_ONLY, row, "is set by the token");
  const AttributeRules forbidden = context.verb == Verb::kCreate     ? kForbiddenOnCreate
                                   : context.verb == Verb::kGenerate ? kForbiddenOnGenerate
                                                                     : kForbiddenOnUnwrap;
  if (HasRule(row, forbidden))
    return Refuse(CKR_TEMPLATE_INCONSISTENT, row, "is made by this call and cannot be given");
  if (HasRule(row, kOnlySoSetsTrue) && !context.so && IsTrue(attribute)) {
    return Refuse(CKR_ATTRIBUTE_READ_ONLY, row, "is for the security officer");
  }
  return CheckMeaning(context, row, attribute);
}

// A boolean that went one way does not come back. An object without the attribute counts as gone that way.
Status CheckLatch(const TemplateContext& context, const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  if (HasRule(row, kLatchesTrue) && context.current->Bool(row.type, true) && !IsTrue(attribute)) {
    return Refuse(CKR_ATTRIBUTE_READ_ONLY, row, "stays true");
  }
  if (HasRule(row, kLatchesFalse) && !context.current->Bool(row.type, false) && IsTrue(attribute)) {
    return Refuse(CKR_ATTRIBUTE_READ_ONLY, row, "stays false");
  }
  return {};
}

bool MayChange(const TemplateContext& context, const AttributeRow& row) {
  if (HasRule(row, kOnlySoSetsTrue)) return context.so;
  if (context.verb == Verb::kSet && context.profile == Profile::kManaged && IsUsage(row)) return false;
  return HasRule(row, kModifiable) || (context.verb == Verb::kCopy && HasRule(row, kChangeableOnCopy));
}

// What only copying can do wrong: a copy that is seen before login, and one that can do more than its source.
Status CheckCopied(const TemplateContext& context, const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  if (row.type == CKA_PRIVATE && context.current->Bool(CKA_PRIVATE, true) && !IsTrue(attribute)) {
    return Refuse(CKR_TEMPLATE_INCONSISTENT, row, "stays true in a copy");
  }
  if (context.profile == Profile::kManaged && IsUsage(row) && IsTrue(attribute) && !context.current->Bool(row.type)) {
    return Refuse(CKR_TEMPLATE_INCONSISTENT, row, "can only be taken away in a copy");
  }
  return {};
}

Status CheckChange(const TemplateContext& context, const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  // Programs that copy repeat what they know of the source.
  const ShortBytes* value = context.current->Find(row.type);
  if (context.verb == Verb::kCopy && value != nullptr && SameValue(attribute, *value)) return {};
  const bool trusted = context.object_class == CKO_CERTIFICATE && context.current->Bool(CKA_TRUSTED);
  if (trusted && !context.so) return Refuse(CKR_ATTRIBUTE_READ_ONLY, row, "belongs to a trusted certificate");
  if (!MayChange(context, row)) return Refuse(CKR_ATTRIBUTE_READ_ONLY, row, "cannot be changed");
  // 3.2, "Private key objects": what says the key's public half is verified, and the value is what it was.
  if (row.type == CKA_PUBLIC_KEY_INFO && (value == nullptr || !SameValue(attribute, *value))) {
    return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, row, "does not fit the key");
  }
  if (row.type == CKA_CHECK_VALUE && attribute.ulValueLen != 0) {
    return Refuse(CKR_ATTRIBUTE_READ_ONLY, row, "can only be taken away");
  }
  RETURN_IF_ERROR(CheckLatch(context, row, attribute));
  return context.verb == Verb::kCopy ? CheckCopied(context, row, attribute) : Status();
}

Status CheckOne(const TemplateContext& context, const CK_ATTRIBUTE& attribute) {
  if (FindAttribute(attribute.type) == nullptr) return Fail(CKR_ATTRIBUTE_TYPE_INVALID, "unknown attribute");
  const AttributeRow* row = FindAttribute(attribute.type, context.object_class, context.key_type);
  if (row == nullptr)
    return Refuse(kForeignAttribute, *FindAttribute(attribute.type), "is no attribute of such an object");
  RETURN_IF_ERROR(CheckValue(*row, attribute));
  if (IsChange(context.verb)) return CheckChange(context, *row, attribute);
  return CheckNew(context, *row, attribute);
}

Status CheckRepeats(Template attributes) {
  for (std::size_t i = 1; i < attributes.size(); ++i) {
    const CK_ATTRIBUTE* earlier = Find(attributes.first(i), attributes[i].type);
    if (earlier != nullptr && !SameAttribute(*earlier, attributes[i])) {
      return Fail(CKR_TEMPLATE_INCONSISTENT, "an attribute is given twice with different values");
    }
  }
  return {};
}

Status CheckRequired(const TemplateContext& context, Template attributes) {
  const AttributeRules required = context.verb == Verb::kCreate     ? kRequiredOnCreate
                                  : context.verb == Verb::kGenerate ? kRequiredOnGenerate
                                  : context.verb == Verb::kUnwrap   ? kRequiredOnUnwrap
                                                                    : kNoRules;
  for (const AttributeRow& row : AttributeTable()) {
    if (!HasRule(row, required) || !AppliesTo(row, context.object_class, context.key_type)) continue;
    if (Find(attributes, row.type) == nullptr) return Refuse(CKR_TEMPLATE_INCOMPLETE, row, "is missing");
  }
  return {};
}

// What attributes say together

Failure<Error> Contradiction(std::string why) { return Fail(CKR_TEMPLATE_INCONSISTENT, std::move(why)); }

Status CheckCertificate(const Attributes& object) {
  const bool elsewhere = !object.View(CKA_URL).empty();
  if (!elsewhere && object.View(CKA_VALUE).empty()) return Contradiction("a certificate needs CKA_VALUE or CKA_URL");
  const bool hashes =
      !object.View(CKA_HASH_OF_SUBJECT_PUBLIC_KEY).empty() && !object.View(CKA_HASH_OF_ISSUER_PUBLIC_KEY).empty();
  if (elsewhere && !hashes) return Contradiction("a certificate kept elsewhere needs the hashes of its public keys");
  return {};
}

// What a trust object says of a certificate means nothing without saying which certificate it is, unless it only takes
// trust away (PKCS#11 3.2, "Trust objects", footnote 2).
Status CheckTrust(const Attributes& object) {
  bool grants = false;
  for (const AttributeRow& row : AttributeTable()) {
    if (row.type < CKA_TRUST_SERVER_AUTH || row.type > CKA_TRUST_OCSP_SIGNING) continue;
    const CK_ULONG trust = object.Ulong(row.type).value_or(CKT_TRUST_UNKNOWN);
    if (trust > CKT_TRUST_MUST_VERIFY_TRUST)
      return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, row, "is none of the standard's values");
    grants = grants || (trust != CKT_TRUST_UNKNOWN && trust != CKT_NOT_TRUSTED);
  }
  const std::size_t hash_bytes = DigestLength(object.Ulong(CKA_NAME_HASH_ALGORITHM).value_or(CKM_SHA_1));
  if (hash_bytes == 0) return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "CKA_NAME_HASH_ALGORITHM is no digest known here");
  const ByteView hash = object.View(CKA_HASH_OF_CERTIFICATE);
  if (hash.empty() && grants) return Fail(CKR_TEMPLATE_INCOMPLETE, "trust needs CKA_HASH_OF_CERTIFICATE");
  if (!hash.empty() && hash.size() != hash_bytes)
    return Contradiction("CKA_HASH_OF_CERTIFICATE has not the length of CKA_NAME_HASH_ALGORITHM");
  return {};
}

Status CheckDates(const Attributes& object) {
  const ByteView start = object.View(CKA_START_DATE);
  const ByteView end = object.View(CKA_END_DATE);
  if (!start.empty() && !end.empty() && AsText(end) < AsText(start))
    return Contradiction("CKA_END_DATE is before CKA_START_DATE");
  return {};
}

// What a key gives is as closed as the key. For an agreed secret that holds on managed tokens only: to have it in the
// clear is what programs agree for, and the private key stays inside; CKA_DERIVE_TEMPLATE closes it.
Status CheckInherited(const TemplateContext& context, const Attributes& object) {
  if (context.verb != Verb::kDerive || context.current == nullptr) return {};
  if (context.current->Bool(CKA_SENSITIVE, true) && !object.Bool(CKA_SENSITIVE)) {
    return Contradiction("a key derived from a sensitive one is sensitive");
  }
  if (!context.current->Bool(CKA_EXTRACTABLE, false) && object.Bool(CKA_EXTRACTABLE)) {
    return Contradiction("a key derived from an unextractable one is unextractable");
  }
  return {};
}

// Fewer bytes of a secret than this are found by trying (112 bits, SP 800-131A); and then the next ones.
constexpr CK_ULONG kDerivedBytesMin = 14;

Status CheckCut(const TemplateContext& context, const Attributes& object) {
  const CK_ULONG bytes = object.Ulong(CKA_VALUE_LEN).value_or(kDerivedBytesMin);
  if (context.verb != Verb::kDerive || !object.Bool(CKA_SENSITIVE) || bytes >= kDerivedBytesMin) return {};
  return Fail(CKR_KEY_SIZE_RANGE, "a sensitive secret is not cut so short that it can be found by trying");
}

// A managed token's keys do not come in the clear, and what is unwrapped or derived there is not weaker than its
// source.
Status CheckManaged(const TemplateContext& context, const Attributes& object) {
  if (!object.Has(CKA_SENSITIVE)) return {};
  const bool from_secret =
      context.current != nullptr && IsSecretKeyClass(context.current->Ulong(CKA_CLASS).value_or(CKO_DATA));
  if (context.inherits_secrecy || from_secret) RETURN_IF_ERROR(CheckInherited(context, object));
  RETURN_IF_ERROR(CheckCut(context, object));
  if (context.profile != Profile::kManaged) return {};
  if (context.verb == Verb::kCreate && object.Bool(CKA_TOKEN)) {
    return Contradiction("a managed token takes no key in the clear; import it wrapped");
  }
  if (context.verb == Verb::kUnwrap && !object.Bool(CKA_SENSITIVE))
    return Contradiction("an unwrapped key stays sensitive");
  return CheckInherited(context, object);
}

Status CheckTogether(const TemplateContext& context, Template attributes) {
  const Attributes object = WithoutDefaults(context, attributes);
  if (context.object_class == CKO_CERTIFICATE) RETURN_IF_ERROR(CheckCertificate(object));
  if (context.object_class == CKO_TRUST) RETURN_IF_ERROR(CheckTrust(object));
  RETURN_IF_ERROR(CheckDates(object));
  if (object.Bool(CKA_ALWAYS_AUTHENTICATE) && !object.Bool(CKA_PRIVATE)) {
    return Contradiction("CKA_ALWAYS_AUTHENTICATE needs CKA_PRIVATE");
  }
  if (context.object_class == CKO_OTP_KEY && !IsChange(context.verb)) RETURN_IF_ERROR(CheckOtpKey(object));
  const CK_ATTRIBUTE* length = Find(attributes, CKA_VALUE_LEN);
  if (length != nullptr && object.Has(CKA_VALUE) && UlongOf(*length) != object.View(CKA_VALUE).size()) {
    return Contradiction("CKA_VALUE_LEN is not the length of CKA_VALUE");
  }
  return CheckManaged(context, object);
}

}  // namespace

Fallible<ObjectKind> DescribeTemplate(Template attributes) {
  ObjectKind kind;
  const auto read = [attributes](CK_ATTRIBUTE_TYPE type, CK_ULONG& value) -> Status {
    for (const CK_ATTRIBUTE& attribute : attributes) {
      if (attribute.type != type) continue;
      RETURN_IF_ERROR(CheckValue(*FindAttribute(type), attribute));
      if (value != CK_UNAVAILABLE_INFORMATION && value != UlongOf(attribute)) {
        return Fail(CKR_TEMPLATE_INCONSISTENT, "an attribute is given twice with different values");
      }
      value = UlongOf(attribute);
    }
    return {};
  };
  RETURN_IF_ERROR(read(CKA_CLASS, kind.object_class));
  const bool certificate = kind.object_class == CKO_CERTIFICATE;
  RETURN_IF_ERROR(read(certificate ? CKA_CERTIFICATE_TYPE : CKA_KEY_TYPE, kind.key_type));
  return kind;
}

Status CheckTemplate(const TemplateContext& context, Template attributes) {
  RETURN_IF_ERROR(CheckCurrent(context));
  RETURN_IF_ERROR(CheckKind(context));
  if (attributes.size() > kTemplateCountMax) return Contradiction("more attributes than any object has");
  for (const CK_ATTRIBUTE& attribute : attributes) RETURN_IF_ERROR(CheckOne(context, attribute));
  RETURN_IF_ERROR(CheckRepeats(attributes));
  RETURN_IF_ERROR(CheckRequired(context, attributes));
  return CheckTogether(context, attributes);
}

Status CheckAgainstMaterial(Template given, const ObjectKind& kind, const Attributes& computed) {
  for (const CK_ATTRIBUTE& attribute : given) {
    const AttributeRow* row = FindAttribute(attribute.type, kind.object_class, kind.key_type);
    if (row == nullptr || !HasRule(*row, kMustFitMaterial) || attribute.ulValueLen == 0) continue;
    const ShortBytes* value = computed.Find(attribute.type);
    if (value == nullptr || SameValue(attribute, *value)) continue;
    const Curve* curve = attribute.type == CKA_EC_POINT ? FindCurve(computed.View(CKA_EC_PARAMS)) : nullptr;
    const ByteView point = curve == nullptr ? ByteView{} : PointOf(ValueOf(attribute), *curve);
    if (!point.empty() && Equal(point, PointOf(*value, *curve))) continue;
    return Refuse(CKR_ATTRIBUTE_VALUE_INVALID, *row, "does not fit the key");
  }
  return {};
}

Status CheckAgainstMaterial(Template given, const Attributes& computed) {
  // A device does not say again what it was told to make.
  const auto number = [&](CK_ATTRIBUTE_TYPE type) {
    if (const auto made = computed.Ulong(type)) return *made;
    const CK_ATTRIBUTE* told = Find(given, type);
    CK_ULONG value = CK_UNAVAILABLE_INFORMATION;
    if (told != nullptr && told->ulValueLen == sizeof value) std::memcpy(&value, told->pValue, sizeof value);
    return value;
  };
  return CheckAgainstMaterial(given, {number(CKA_CLASS), number(CKA_KEY_TYPE)}, computed);
}

bool MayReveal(const Attributes& object, CK_ATTRIBUTE_TYPE type) {
  const bool readable = !object.Bool(CKA_SENSITIVE, true) && object.Bool(CKA_EXTRACTABLE, false);
  if (readable) return true;
  const CK_OBJECT_CLASS object_class = object.Ulong(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION);
  const CK_KEY_TYPE key_type = object.Ulong(CKA_KEY_TYPE).value_or(CK_UNAVAILABLE_INFORMATION);
  if (ClassBit(object_class) != 0 && (!IsKey(object_class) || KeyTypeBit(key_type) != 0)) {
    const AttributeRow* row = FindAttribute(type, object_class, key_type);
    return row == nullptr || !HasRule(*row, kHiddenWhenSensitive);
  }
  // An object that does not say what it is hides whatever is hidden on any.
  const auto table = AttributeTable();
  return std::none_of(table.begin(), table.end(), [type](const AttributeRow& row) {
    return row.type == type && HasRule(row, kHiddenWhenSensitive);
  });
}

bool FoundBy(const Attributes& object, Template wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&object](const CK_ATTRIBUTE& given) {
    const ShortBytes* value = object.Find(given.type);
    return value != nullptr && MayReveal(object, given.type) && SameValue(given, *value);
  });
}

Status CheckDestroy(const Attributes& object) {
  if (object.Bool(CKA_DESTROYABLE, true)) return {};
  return Fail(CKR_ACTION_PROHIBITED, "the object is not CKA_DESTROYABLE");
}

Fallible<Attributes> MergeForced(ByteView forced, Template given) {
  ASSIGN_OR_RETURN(Attributes merged, Attributes::From(given));
  if (forced.empty()) return merged;
  ASSIGN_OR_RETURN(const DecodedTemplate decoded, DecodeTemplate(forced));
  ASSIGN_OR_RETURN(const Attributes added, Attributes::From(decoded.attributes()));
  for (const Attribute& attribute : added) {
    const ShortBytes* asked = merged.Find(attribute.type);
    if (asked != nullptr && *asked != attribute.value) {
      return Contradiction("the template contradicts the one that the key prescribes");
    }
  }
  merged.Merge(added);
  return merged;
}

bool MatchesFlatTemplate(ByteView flat, const Attributes& object) {
  if (flat.empty()) return true;
  const Fallible<DecodedTemplate> decoded = DecodeTemplate(flat);
  return decoded.ok() && object.Matches(decoded->attributes());
}

}  // namespace cmkd::spec

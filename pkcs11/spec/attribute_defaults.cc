// Complete: what an object is where its template said nothing.
#include <algorithm>
#include <cstring>

#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/attribute_values.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/otp.h"
#include "pkcs11/spec/template_codec.h"

namespace cmkd::spec {
namespace {

using Template = std::span<const CK_ATTRIBUTE>;

constexpr std::uint8_t kF4[] = {0x01, 0x00, 0x01};  // 65537

bool IsHidden(CK_OBJECT_CLASS object_class) {
  return IsSecretKeyClass(object_class) || object_class == CKO_PRIVATE_KEY;
}

// A usage flag, the operation in mechanism rows that it stands for, and the group it belongs to.
struct Usage {
  CK_ATTRIBUTE_TYPE attribute;
  CK_FLAGS operation;
  UsageGroups group;
};
constexpr Usage kUsages[] = {
    {CKA_ENCRYPT, CKF_ENCRYPT, kUsesCipher},
    {CKA_DECRYPT, CKF_DECRYPT, kUsesCipher},
    {CKA_SIGN, CKF_SIGN, kUsesSign},
    {CKA_VERIFY, CKF_VERIFY, kUsesSign},
    {CKA_SIGN_RECOVER, CKF_SIGN_RECOVER, kUsesSign},
    {CKA_VERIFY_RECOVER, CKF_VERIFY_RECOVER, kUsesSign},
    {CKA_WRAP, CKF_WRAP, kUsesWrap},
    {CKA_UNWRAP, CKF_UNWRAP, kUsesWrap},
    {CKA_DERIVE, CKF_DERIVE, kUsesDerive},
    {CKA_ENCAPSULATE, CKF_ENCAPSULATE, kUsesDerive},
    {CKA_DECAPSULATE, CKF_DECAPSULATE, kUsesDerive},
};

// What the mechanisms of this project do with keys of this type. A key that is good for something else is not for
// deriving others because there is some legacy way of doing that.
CK_FLAGS CountOperations(CK_KEY_TYPE key_type) {
  CK_FLAGS operations = 0, legacy = 0;
  for (const MechanismRow& row : Mechanisms()) {
    if (row.key_type != key_type && row.other_key_type != key_type) continue;
    const bool legacy_derivation = row.operations == CKF_DERIVE && row.standing == Standing::kLegacy;
    (legacy_derivation ? legacy : operations) |= row.operations;
  }
  const bool idle = (operations & ~CK_FLAGS{CKF_GENERATE | CKF_GENERATE_KEY_PAIR}) == 0;
  return idle ? operations | legacy : operations;
}

// The table is long, and asked for each key that is made: what it says of AES is remembered.
CK_FLAGS OperationsOf(CK_KEY_TYPE key_type) {
  static const CK_FLAGS of_aes = CountOperations(CKK_AES);
  return key_type == CKK_AES ? of_aes : CountOperations(key_type);
}

UsageGroups GroupsNamedIn(Template attributes) {
  UsageGroups groups = 0;
  for (const CK_ATTRIBUTE& attribute : attributes) {
    for (const Usage& usage : kUsages) {
      if (usage.attribute == attribute.type && ValueOf(attribute).size() == 1 && ValueOf(attribute)[0] == CK_TRUE) {
        groups = static_cast<UsageGroups>(groups | usage.group);
      }
    }
  }
  return groups;
}

// On a managed token a key that names no usage gets the one that its type is made for.
UsageGroups OneGroup(CK_KEY_TYPE key_type, CK_FLAGS operations) {
  if (key_type == CKK_AES) return kUsesCipher;
  if ((operations & CKF_SIGN) != 0) return kUsesSign;
  return (operations & CKF_ENCRYPT) != 0 ? kUsesCipher : kUsesDerive;
}

UsageGroups DefaultGroups(const TemplateContext& context, CK_FLAGS operations) {
  if (context.profile == Profile::kGeneral) return kUsesCipher | kUsesSign | kUsesWrap | kUsesDerive;
  const UsageGroups partner = GroupsNamedIn(context.partner);
  return partner != 0 ? partner : OneGroup(context.key_type, operations);
}

// Footnote 9: a usage that the template does not name. On a general token each is what the key type can do, as other
// tokens have it and programs rely on (pkcs11-tool asks for decryption and then unwraps). On a managed token a key that
// names a usage has only what it names. A public key's part in a derivation needs no flag.
void AddUsages(const TemplateContext& context, bool named, Attributes& object) {
  const CK_FLAGS operations = OperationsOf(context.key_type);
  const UsageGroups groups = DefaultGroups(context, operations);
  const bool only_named = named && context.profile == Profile::kManaged;
  for (const Usage& usage : kUsages) {
    if (object.Has(usage.attribute)) continue;
    const AttributeRow* row = FindAttribute(usage.attribute, context.object_class, context.key_type);
    if (row == nullptr || row->initial != Default::kUsage) continue;
    const bool fits = (operations & usage.operation) != 0 && (groups & usage.group) != 0;
    const bool of_public = usage.attribute == CKA_DERIVE && context.object_class == CKO_PUBLIC_KEY;
    object.SetBool(usage.attribute, !only_named && fits && !of_public);
  }
}

// A secret that came in the clear as a session object is a program's own working key (a SecretKeySpec of SunPKCS11): it
// may leave again. Everything else is born closed.
bool BornOpen(const TemplateContext& context, const Attributes& object) {
  return context.verb == Verb::kCreate && context.object_class == CKO_SECRET_KEY && !object.Bool(CKA_TOKEN);
}

// CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE: true from birth, or inherited from the base key of a derivation.
bool AlwaysSo(const TemplateContext& context, CK_ATTRIBUTE_TYPE history, bool now) {
  if (!now) return false;
  if (context.verb == Verb::kGenerate) return true;
  return context.verb == Verb::kDerive && context.current != nullptr && context.current->Bool(history);
}

void AddHistory(const TemplateContext& context, CK_MECHANISM_TYPE key_gen_mechanism, Attributes& object) {
  const bool made = context.verb == Verb::kGenerate;
  object.SetBool(CKA_LOCAL, made);
  object.SetUlong(CKA_KEY_GEN_MECHANISM, made ? key_gen_mechanism : CK_UNAVAILABLE_INFORMATION);
  if (!IsHidden(context.object_class)) return;
  object.SetBool(CKA_ALWAYS_SENSITIVE, AlwaysSo(context, CKA_ALWAYS_SENSITIVE, object.Bool(CKA_SENSITIVE)));
  object.SetBool(CKA_NEVER_EXTRACTABLE, AlwaysSo(context, CKA_NEVER_EXTRACTABLE, !object.Bool(CKA_EXTRACTABLE)));
}

void SetBoolIfAbsent(Attributes& object, CK_ATTRIBUTE_TYPE type, bool value) {
  if (!object.Has(type)) object.SetBool(type, value);
}

// In the order of the table, which is that of the attributes: each is added at the end.
Attributes TableDefaults(const TemplateContext& context) {
  Attributes object;
  const ClassSet object_class = ClassBit(context.object_class);
  for (const AttributeRow& row : AttributeTable()) {
    // The cheapest question first: most rows are of other objects.
    if ((row.classes & object_class) == 0 || !AppliesTo(row, context.object_class, context.key_type)) continue;
    switch (row.initial) {
      case Default::kFalse: object.SetBool(row.type, false); break;
      case Default::kTrue: object.SetBool(row.type, true); break;
      case Default::kEmpty: object.Set(row.type, {}); break;
      case Default::kZero: object.SetUlong(row.type, 0); break;
      case Default::kAbsent:
      case Default::kUsage:
      case Default::kByRule:
      case Default::kComputed: break;
    }
  }
  return object;
}

// What can be told of the material without computing on it.
void AddSizes(const TemplateContext& context, Attributes& object) {
  const ShortBytes* value = object.Find(CKA_VALUE);
  if (IsSecretKeyClass(context.object_class) && value != nullptr) object.SetUlong(CKA_VALUE_LEN, value->size());
  const ShortBytes* modulus = object.Find(CKA_MODULUS);
  if (context.object_class == CKO_PUBLIC_KEY && modulus != nullptr)
    object.SetUlong(CKA_MODULUS_BITS, BitLength(*modulus));
}

void AddSecrecy(const TemplateContext& context, Attributes& object) {
  const bool open = BornOpen(context, object);
  SetBoolIfAbsent(object, CKA_SENSITIVE, !open);
  SetBoolIfAbsent(object, CKA_EXTRACTABLE, open);
}

void AddKeyDefaults(const TemplateContext& context, bool usages_named, CK_MECHANISM_TYPE key_gen_mechanism,
                    Attributes& object) {
  object.SetUlong(CKA_KEY_TYPE, context.key_type);
  if (IsHidden(context.object_class)) AddSecrecy(context, object);
  AddUsages(context, usages_named, object);
  AddHistory(context, key_gen_mechanism, object);
  AddSizes(context, object);
  if (context.object_class == CKO_OTP_KEY) AddOtpDefaults(object);
  const bool made_rsa = context.verb == Verb::kGenerate && context.key_type == CKK_RSA;
  if (made_rsa && context.object_class == CKO_PUBLIC_KEY && !object.Has(CKA_PUBLIC_EXPONENT)) {
    object.Set(CKA_PUBLIC_EXPONENT, kF4);
  }
}

void AddDomainDefaults(const TemplateContext& context, Attributes& object) {
  object.SetUlong(CKA_KEY_TYPE, context.key_type);
  object.SetBool(CKA_LOCAL, context.verb == Verb::kGenerate);
  if (const ShortBytes* prime = object.Find(CKA_PRIME)) object.SetUlong(CKA_PRIME_BITS, BitLength(*prime));
  if (const ShortBytes* subprime = object.Find(CKA_SUBPRIME)) object.SetUlong(CKA_SUBPRIME_BITS, BitLength(*subprime));
}

// Whether a given value goes into the object as it is. What must fit the material is computed anew, so a wrong claim
// never stays; an empty value of what the object need not have says nothing.
bool IsTaken(const TemplateContext& context, const AttributeRow& row, const CK_ATTRIBUTE& attribute) {
  if (row.set_by == SetBy::kToken || !CheckValue(row, attribute).ok()) return false;
  if (row.type == CKA_CHECK_VALUE) return attribute.ulValueLen == 0;  // empty: there shall be none
  if (row.type == CKA_VALUE_LEN) return context.verb != Verb::kCreate;
  if (HasRule(row, kMustFitMaterial)) return false;
  const bool optional = row.initial == Default::kAbsent || row.initial == Default::kComputed;
  return !optional || attribute.ulValueLen != 0;
}

// Takes over what was given; tells whether any usage was asked for. One that is only refused asks for nothing.
bool AddGiven(const TemplateContext& context, Template attributes, Attributes& object) {
  bool usages_named = false;
  for (const CK_ATTRIBUTE& attribute : attributes) {
    const AttributeRow* row = FindAttribute(attribute.type, context.object_class, context.key_type);
    if (row == nullptr || !IsTaken(context, *row, attribute)) continue;
    const bool asked = row->initial == Default::kUsage && ValueOf(attribute)[0] != CK_FALSE;
    if (!IsTemplateAttribute(attribute.type)) {
      object.Set(attribute.type, ValueOf(attribute));
    } else if (const Fallible<Attributes> flat = Attributes::From({&attribute, 1}); flat.ok()) {
      object.Merge(*flat);
    }
    usages_named = usages_named || asked;
  }
  return usages_named;
}

// A copy is another object: it gets its own identity and lifecycle.
void RemoveIdentity(Attributes& object) {
  for (const AttributeRow& row : AttributeTable()) {
    if (row.set_by == SetBy::kToken && row.initial == Default::kComputed) object.Remove(row.type);
  }
}

}  // namespace

Attributes Complete(const TemplateContext& context, Template attributes, CK_MECHANISM_TYPE key_gen_mechanism) {
  const bool change = context.verb == Verb::kCopy || context.verb == Verb::kSet;
  Attributes object = change ? Attributes() : TableDefaults(context);
  if (change && context.current != nullptr) object = *context.current;
  const bool usages_named = AddGiven(context, attributes, object);
  if (context.verb == Verb::kCopy) RemoveIdentity(object);
  if (change) return object;

  object.SetUlong(CKA_CLASS, context.object_class);
  SetBoolIfAbsent(object, CKA_PRIVATE, IsHidden(context.object_class));
  if (context.object_class == CKO_CERTIFICATE) object.SetUlong(CKA_CERTIFICATE_TYPE, context.key_type);
  if (context.object_class == CKO_DOMAIN_PARAMETERS) AddDomainDefaults(context, object);
  if (context.object_class == CKO_TRUST && !object.Has(CKA_NAME_HASH_ALGORITHM))
    object.SetUlong(CKA_NAME_HASH_ALGORITHM, CKM_SHA_1);
  if ((ClassBit(context.object_class) & kOnKeys) != 0) AddKeyDefaults(context, usages_named, key_gen_mechanism, object);
  return object;
}

Attributes WithoutDefaults(const TemplateContext& context, Template attributes) {
  if (context.verb == Verb::kCopy || context.verb == Verb::kSet) return Complete(context, attributes);
  Attributes object;
  AddGiven(context, attributes, object);
  SetBoolIfAbsent(object, CKA_PRIVATE, IsHidden(context.object_class));
  if (IsHidden(context.object_class)) AddSecrecy(context, object);
  AddSizes(context, object);
  return object;
}

Attributes JoinSecrecy(const Attributes& first, const Attributes& second) {
  Attributes joined = first;
  joined.SetBool(CKA_SENSITIVE, first.Bool(CKA_SENSITIVE, true) || second.Bool(CKA_SENSITIVE, true));
  for (const CK_ATTRIBUTE_TYPE type : {CKA_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE}) {
    joined.SetBool(type, first.Bool(type) && second.Bool(type));
  }
  return joined;
}

UsageGroups UsagesOf(const Attributes& object) {
  UsageGroups groups = 0;
  for (const Usage& usage : kUsages) {
    if (object.Bool(usage.attribute)) groups = static_cast<UsageGroups>(groups | usage.group);
  }
  return groups;
}

}  // namespace cmkd::spec

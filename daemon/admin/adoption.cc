// What a key in a device is, as a record of ours.
#include "daemon/admin/adoption.h"

#include <algorithm>
#include <map>
#include <set>

#include "daemon/custody/reconcile.h"
#include "daemon/hsm/key_templates.h"
#include "daemon/service/access.h"
#include "daemon/service/new_object.h"
#include "daemon/service/translate.h"
#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/key_role.h"

namespace cmkd::daemon {

namespace {

// What a device's key is asked for beside what its kind computes. What it has not, it does not show.
constexpr CK_ATTRIBUTE_TYPE kOfKeys[] = {CKA_LABEL,
                                         CKA_ID,
                                         CKA_PRIVATE,
                                         CKA_MODIFIABLE,
                                         CKA_SENSITIVE,
                                         CKA_EXTRACTABLE,
                                         CKA_ENCRYPT,
                                         CKA_DECRYPT,
                                         CKA_SIGN,
                                         CKA_VERIFY,
                                         CKA_SIGN_RECOVER,
                                         CKA_VERIFY_RECOVER,
                                         CKA_WRAP,
                                         CKA_UNWRAP,
                                         CKA_DERIVE,
                                         CKA_START_DATE,
                                         CKA_END_DATE,
                                         CKA_SUBJECT,
                                         CKA_EC_PARAMS,
                                         CKA_EC_POINT,
                                         CKA_MODULUS,
                                         CKA_PUBLIC_EXPONENT,
                                         CKA_MODULUS_BITS,
                                         CKA_VALUE_LEN,
                                         CKA_ALWAYS_AUTHENTICATE};
// The part of an object's history that its device knows and no template may set.
constexpr CK_ATTRIBUTE_TYPE kHistory[] = {CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE,
                                          CKA_KEY_GEN_MECHANISM};
constexpr CK_ATTRIBUTE_TYPE kOfCertificates[] = {CKA_LABEL,   CKA_ID,      CKA_CERTIFICATE_TYPE,
                                                 CKA_SUBJECT, CKA_ISSUER,  CKA_SERIAL_NUMBER,
                                                 CKA_VALUE,   CKA_TRUSTED, CKA_CERTIFICATE_CATEGORY};

CK_OBJECT_CLASS ClassOf(const DeviceObject& object) {
  return object.attributes.Ulong(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION);
}
bool IsSecretOrPrivate(const DeviceObject& object) {
  return ClassOf(object) == CKO_SECRET_KEY || ClassOf(object) == CKO_PRIVATE_KEY;
}

// The attributes of a key of ours that is what the device's key is.
spec::Attributes AttributesOf(const spec::Attributes& shown, CK_OBJECT_CLASS object_class, CK_KEY_TYPE type,
                              spec::Profile profile) {
  spec::TemplateContext context;
  context.verb = spec::Verb::kCreate;
  context.object_class = object_class;
  context.key_type = type;
  context.profile = profile;
  spec::Attributes given;
  for (const spec::Attribute& attribute : shown) {
    const bool history = std::find(std::begin(kHistory), std::end(kHistory), attribute.type) != std::end(kHistory);
    const bool known = spec::FindAttribute(attribute.type, object_class, type) != nullptr;
    if (known && !history && !attribute.value.empty()) given.Set(attribute.type, attribute.value);
  }
  given.SetUlong(CKA_CLASS, object_class);
  given.SetUlong(CKA_KEY_TYPE, type);
  given.SetBool(CKA_TOKEN, true);
  if (object_class != CKO_PUBLIC_KEY) given.SetBool(CKA_PRIVATE, true);
  spec::Attributes attributes = spec::Complete(context, given.ToTemplate());
  for (const CK_ATTRIBUTE_TYPE fact : kHistory) {
    if (shown.Has(fact) && spec::FindAttribute(fact, object_class, type) != nullptr)
      attributes.Set(fact, shown.View(fact));
  }
  return attributes;
}

Fallible<spec::Attributes> ReadKey(Backend& backend, const DeviceObject& object) {
  std::vector<CK_ATTRIBUTE_TYPE> types(std::begin(kOfKeys), std::end(kOfKeys));
  types.insert(types.end(), std::begin(kHistory), std::end(kHistory));
  return backend.ReadObject(object, types);
}

// The public object that goes with a private key: the one of its CKA_ID and type.
const DeviceObject* PublicHalf(const std::vector<DeviceObject>& all, const DeviceObject& key) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const DeviceObject& other) {
    return ClassOf(other) == CKO_PUBLIC_KEY && Equal(other.attributes.View(CKA_ID), key.attributes.View(CKA_ID)) &&
           other.attributes.Ulong(CKA_KEY_TYPE) == key.attributes.Ulong(CKA_KEY_TYPE);
  });
  return found == all.end() ? nullptr : &*found;
}

// Why a device's key cannot be a key of the token, apart from what its attributes say; empty when it can.
std::string WhyNot(const Adoptee& key, std::size_t with_its_id, std::string_view owner) {
  if (key.label.starts_with(owner) || key.label.starts_with("cmkd wrapping key")) return "it is a key of cmkd itself";
  if (key.id.empty()) return "it has no CKA_ID, and would not be found again";
  if (with_its_id > 1) return "another key has its CKA_ID, and it would not be found again for certain";
  return {};
}

// Fills in the records, or says why they cannot be.
Status Prepare(Backend& backend, const store::TokenRecord& token, const std::vector<DeviceObject>& all, Timestamp now,
               Adoptee& key) {
  const CK_OBJECT_CLASS object_class = ClassOf(key.object);
  const auto type = key.object.attributes.Ulong(CKA_KEY_TYPE);
  if (!type || PublicAttributes(object_class, *type).empty()) {
    key.why_not = "keys of this type are not known here";
    return {};
  }
  const spec::Profile profile = ProfileOf(token);
  ASSIGN_OR_RETURN(const spec::Attributes shown, ReadKey(backend, key.object));
  spec::Attributes attributes = AttributesOf(shown, object_class, *type, profile);
  RemoveSecretParts(attributes);
  HideCheckValue(attributes);
  key.spec = SpecName(attributes);
  Status fits = spec::CheckSeparation(profile, attributes);
  if (const DeviceObject* half = object_class == CKO_PRIVATE_KEY ? PublicHalf(all, key.object) : nullptr) {
    ASSIGN_OR_RETURN(const spec::Attributes half_shown, ReadKey(backend, *half));
    spec::Attributes public_attributes = AttributesOf(half_shown, CKO_PUBLIC_KEY, *type, profile);
    key.spec = SpecName(public_attributes);
    if (fits.ok()) fits = spec::CheckPairSeparation(profile, public_attributes, attributes);
    spec::GiveRole(public_attributes, attributes);
    key.objects.objects.push_back(std::move(public_attributes));
  } else {
    spec::GiveRole(attributes);
  }
  if (!fits.ok()) {
    key.why_not = "a managed token takes no key with these usages together: " + fits.error().why;
    return {};
  }
  cmk::Material material;
  material.kind = cmk::Material::Kind::kResident;
  material.blob = key.id;
  key.objects.key = NewCmk(attributes, std::move(material), cmk::Origin::kAdopted, now);
  key.objects.key->spec = key.spec;
  key.objects.objects.push_back(std::move(attributes));
  return {};
}

}  // namespace

Fallible<std::vector<Adoptee>> FindAdoptees(const Daemon& daemon, const store::TokenRecord& token) {
  if (!token.mirrors.empty())
    return Fail(CKR_ACTION_PROHIBITED, "a key that lives in one HSM cannot be on a mirrored token");
  ASSIGN_OR_RETURN(Backend * backend, daemon.backends.Of(token));
  ASSIGN_OR_RETURN(const auto all, backend->ListObjects());
  ASSIGN_OR_RETURN(const ExpectedById ours, Gather(daemon.store, daemon.registry, token.hsm));
  std::map<Bytes, std::size_t> with_id;
  for (const DeviceObject& object : all) {
    if (IsSecretOrPrivate(object)) ++with_id[ToBytes(object.attributes.View(CKA_ID))];
  }
  const std::string owner = OwnerWords(daemon.store.id());
  std::vector<Adoptee> keys;
  for (const DeviceObject& object : all) {
    if (!IsSecretOrPrivate(object)) continue;
    Adoptee key;
    key.object = object;
    key.label = object.attributes.Text(CKA_LABEL);
    key.id = ToBytes(object.attributes.View(CKA_ID));
    const auto named = ours.find(key.id);
    key.is_ours = named != ours.end();
    // Our own keys in the device are nothing to tell of; what was adopted before is.
    if ((key.is_ours && named->second.wrapping_key) || key.label.starts_with("cmkd ")) continue;
    key.why_not = key.is_ours ? "it is " + named->second.what + " already" : WhyNot(key, with_id[key.id], owner);
    if (key.why_not.empty()) RETURN_IF_ERROR(Prepare(*backend, token, all, daemon.clock.Now(), key));
    keys.push_back(std::move(key));
  }
  return keys;
}

Fallible<std::vector<spec::Attributes>> FindCertificates(const Daemon& daemon, const store::TokenRecord& token) {
  ASSIGN_OR_RETURN(Backend * backend, daemon.backends.Of(token));
  ASSIGN_OR_RETURN(const auto all, backend->ListObjects());
  std::set<Bytes> known;
  {
    STORE_OR_RETURN(const auto read, daemon.store.BeginRead());
    STORE_OR_RETURN(const auto serials, read->FindObjects(token.id, {}));
    for (const cmk::ObjectSerial serial : serials) {
      STORE_OR_RETURN(auto record, read->GetObject(serial));
      const ObjectPtr object = DecodeObject(std::move(record));
      if (object->object_class == CKO_CERTIFICATE) known.insert(ToBytes(object->attributes.View(CKA_VALUE)));
    }
  }
  std::vector<spec::Attributes> certificates;
  for (const DeviceObject& object : all) {
    if (ClassOf(object) != CKO_CERTIFICATE) continue;
    ASSIGN_OR_RETURN(spec::Attributes shown, backend->ReadObject(object, kOfCertificates));
    if (!known.insert(ToBytes(shown.View(CKA_VALUE))).second || shown.View(CKA_VALUE).empty()) continue;
    spec::TemplateContext context;
    context.verb = spec::Verb::kCreate;
    context.object_class = CKO_CERTIFICATE;
    context.key_type = shown.Ulong(CKA_CERTIFICATE_TYPE).value_or(CKC_X_509);
    shown.SetUlong(CKA_CLASS, CKO_CERTIFICATE);
    shown.SetBool(CKA_TOKEN, true);
    certificates.push_back(spec::Complete(context, shown.ToTemplate()));
  }
  return certificates;
}

}  // namespace cmkd::daemon

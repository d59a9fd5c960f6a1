// Profile, mechanism and validation objects, made of the mechanism table and of what this program is.
#include "daemon/service/built_in_objects.h"

#include <algorithm>

#include "daemon/service/key_use.h"

namespace cmkd::daemon {
namespace {

// A handle names its object: the class, and the profile's or mechanism's number, or 0.
constexpr unsigned kClassShift = 32;
constexpr CK_OBJECT_HANDLE kNumberMask = 0xFFFFFFFF;

constexpr CK_OBJECT_HANDLE HandleOf(CK_OBJECT_CLASS object_class, CK_ULONG number) {
  return kBuiltInObjectBase | object_class << kClassShift | number;
}

// What the token of a session can do.
struct Offer {
  Records::TokenPtr token;
  const Backend* backend = nullptr;

  bool Has(const spec::MechanismRow& row) const { return IsOffered(token.get(), *backend, row); }
  bool Has(CK_MECHANISM_TYPE type) const {
    const spec::MechanismRow* row = spec::FindMechanism(type);
    return row != nullptr && Has(*row);
  }
};

std::optional<Offer> OfferOf(const Invocation& invocation) {
  const auto token = TokenOf(invocation);
  const auto backend = BackendOf(invocation);
  if (!token.ok() || !backend.ok()) return std::nullopt;
  return Offer{*token, *backend};
}

// Key pairs can be made, and sign.
bool IsAuthenticationToken(const Offer& offer) {
  return (offer.Has(CKM_RSA_PKCS_KEY_PAIR_GEN) && offer.Has(CKM_RSA_PKCS)) ||
         (offer.Has(CKM_EC_KEY_PAIR_GEN) && offer.Has(CKM_ECDSA));
}

struct Profile {
  CK_ULONG id;
  bool (*implemented)(const Offer&);
};
constexpr auto kAlways = [](const Offer&) { return true; };
constexpr Profile kProfiles[] = {
    {CKP_BASELINE_PROVIDER, kAlways},
    {CKP_EXTENDED_PROVIDER, kAlways},
    {CKP_AUTHENTICATION_TOKEN, IsAuthenticationToken},
    // Certificates and public keys are stored for everybody to see.
    {CKP_PUBLIC_CERTIFICATES_TOKEN, kAlways},
    {CKP_HKDF_TLS_TOKEN, [](const Offer& offer) { return offer.Has(CKM_HKDF_DATA); }},
};

// How the CKA_UNIQUE_ID of such an object begins.
std::string_view NameOf(CK_OBJECT_CLASS object_class) {
  switch (object_class) {
    case CKO_PROFILE: return "profile";
    case CKO_VALIDATION: return "validation";
    default: return "mechanism";
  }
}

spec::Attributes Described(CK_OBJECT_CLASS object_class, CK_ULONG number) {
  const std::string_view name = NameOf(object_class);
  char id[32];
  std::snprintf(id, sizeof id, "%.*s-%08lx", static_cast<int>(name.size()), name.data(), number);
  spec::Attributes attributes;
  attributes.SetUlong(CKA_CLASS, object_class);
  attributes.SetText(CKA_UNIQUE_ID, id);
  for (const CK_ATTRIBUTE_TYPE never : {CKA_MODIFIABLE, CKA_COPYABLE, CKA_DESTROYABLE})
    attributes.SetBool(never, false);
  return attributes;
}

ObjectPtr Made(const Invocation& invocation, CK_OBJECT_HANDLE handle, spec::Attributes attributes) {
  Object object;
  object.handle = handle;
  object.token = invocation.session->token;
  object.attributes = std::move(attributes);
  object.Describe();
  return std::make_shared<const Object>(std::move(object));
}

ObjectPtr MakeProfile(const Invocation& invocation, const Profile& profile) {
  spec::Attributes attributes = Described(CKO_PROFILE, profile.id);
  attributes.SetUlong(CKA_PROFILE_ID, profile.id);
  // The test case of the Baseline Provider finds its profile by this.
  attributes.SetBool(CKA_TOKEN, true);
  attributes.SetBool(CKA_PRIVATE, false);
  return Made(invocation, HandleOf(CKO_PROFILE, profile.id), std::move(attributes));
}

ObjectPtr MakeMechanism(const Invocation& invocation, const spec::MechanismRow& row) {
  spec::Attributes attributes = Described(CKO_MECHANISM, row.type);
  attributes.SetUlong(CKA_MECHANISM_TYPE, row.type);
  return Made(invocation, HandleOf(CKO_MECHANISM, row.type), std::move(attributes));
}

// Whoever asks for validations is told in so many words that there is none: software, no authority, no certificate, and
// a flag that no session and no key ever carries.
ObjectPtr MakeValidation(const Invocation& invocation) {
  spec::Attributes attributes = Described(CKO_VALIDATION, 0);
  attributes.SetUlong(CKA_VALIDATION_TYPE, CKV_TYPE_SOFTWARE);
  attributes.SetBytes(CKA_VALIDATION_VERSION, Bytes(sizeof(CK_VERSION), 0));
  attributes.SetUlong(CKA_VALIDATION_LEVEL, 0);
  attributes.SetText(CKA_VALIDATION_MODULE_ID, "cmkd: not validated by anybody");
  attributes.SetUlong(CKA_VALIDATION_FLAG, 0);
  attributes.SetUlong(CKA_VALIDATION_AUTHORITY_TYPE, CKV_AUTHORITY_TYPE_UNSPECIFIED);
  for (const CK_ATTRIBUTE_TYPE none :
       {CKA_VALIDATION_COUNTRY, CKA_VALIDATION_CERTIFICATE_IDENTIFIER, CKA_VALIDATION_CERTIFICATE_URI,
        CKA_VALIDATION_VENDOR_URI, CKA_VALIDATION_PROFILE})
    attributes.SetText(none, "");
  return Made(invocation, HandleOf(CKO_VALIDATION, 0), std::move(attributes));
}

// Searches are frequent: objects are made for those only whose template names nothing but what the class has.
bool CanMean(CK_OBJECT_CLASS own, std::span<const CK_ATTRIBUTE> wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [own](const CK_ATTRIBUTE& attribute) {
    if (attribute.type == CKA_UNIQUE_ID) return AsText(spec::ValueOf(attribute)).starts_with(NameOf(own));
    if (attribute.type != CKA_CLASS || attribute.ulValueLen != sizeof(CK_OBJECT_CLASS) || attribute.pValue == nullptr)
      return spec::FindAttribute(attribute.type, own, CK_UNAVAILABLE_INFORMATION) != nullptr;
    CK_OBJECT_CLASS object_class;
    std::memcpy(&object_class, attribute.pValue, sizeof object_class);
    return object_class == own;
  });
}

}  // namespace

ObjectPtr FindBuiltIn(const Invocation& invocation, CK_OBJECT_HANDLE handle) {
  const auto offer = OfferOf(invocation);
  if (!offer) return nullptr;
  if (handle == HandleOf(CKO_VALIDATION, 0)) return MakeValidation(invocation);
  const CK_ULONG number = handle & kNumberMask;
  for (const Profile& profile : kProfiles) {
    if (handle == HandleOf(CKO_PROFILE, profile.id) && profile.implemented(*offer))
      return MakeProfile(invocation, profile);
  }
  const spec::MechanismRow* row = spec::FindMechanism(number);
  const bool mechanism = handle == HandleOf(CKO_MECHANISM, number) && row != nullptr && offer->Has(*row);
  return mechanism ? MakeMechanism(invocation, *row) : nullptr;
}

std::vector<CK_OBJECT_HANDLE> FindBuiltIns(const Invocation& invocation, std::span<const CK_ATTRIBUTE> wanted) {
  std::vector<CK_OBJECT_HANDLE> found;
  const bool mechanisms = CanMean(CKO_MECHANISM, wanted), profiles = CanMean(CKO_PROFILE, wanted);
  const bool validations = CanMean(CKO_VALIDATION, wanted);
  if (wanted.empty() || (!mechanisms && !profiles && !validations)) return found;
  const auto offer = OfferOf(invocation);
  if (!offer) return found;
  const auto consider = [&](const ObjectPtr& object) {
    if (spec::FoundBy(object->attributes, wanted)) found.push_back(object->handle);
  };
  if (mechanisms) {
    for (const spec::MechanismRow& row : spec::Mechanisms()) {
      if (offer->Has(row)) consider(MakeMechanism(invocation, row));
    }
  }
  for (const Profile& profile : kProfiles) {
    if (profiles && profile.implemented(*offer)) consider(MakeProfile(invocation, profile));
  }
  if (validations) consider(MakeValidation(invocation));
  return found;
}

}  // namespace cmkd::daemon

// Profile and mechanism objects, made of the mechanism table.
#include "daemon/service/built_in_objects.h"

#include <algorithm>

#include "daemon/service/key_use.h"

namespace cmkd::daemon {
namespace {

// A handle names its object: the class, and the profile's or mechanism's number.
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
  std::string_view label;
  bool (*implemented)(const Offer&);
};
constexpr auto kAlways = [](const Offer&) { return true; };
constexpr Profile kProfiles[] = {
    {CKP_BASELINE_PROVIDER, "Baseline Provider", kAlways},
    {CKP_EXTENDED_PROVIDER, "Extended Provider", kAlways},
    {CKP_AUTHENTICATION_TOKEN, "Authentication Token", IsAuthenticationToken},
    // Certificates and public keys are stored for everybody to see.
    {CKP_PUBLIC_CERTIFICATES_TOKEN, "Public Certificates Token", kAlways},
    {CKP_HKDF_TLS_TOKEN, "HKDF TLS Token", [](const Offer& offer) { return offer.Has(CKM_HKDF_DATA); }},
};

spec::Attributes Described(CK_OBJECT_CLASS object_class, std::string_view name, CK_ULONG number) {
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
  spec::Attributes attributes = Described(CKO_PROFILE, "profile", profile.id);
  attributes.SetUlong(CKA_PROFILE_ID, profile.id);
  // The test case of the Baseline Provider finds its profile by this.
  attributes.SetBool(CKA_TOKEN, true);
  attributes.SetBool(CKA_PRIVATE, false);
  attributes.SetText(CKA_LABEL, profile.label);
  return Made(invocation, HandleOf(CKO_PROFILE, profile.id), std::move(attributes));
}

ObjectPtr MakeMechanism(const Invocation& invocation, const spec::MechanismRow& row) {
  spec::Attributes attributes = Described(CKO_MECHANISM, "mechanism", row.type);
  attributes.SetUlong(CKA_MECHANISM_TYPE, row.type);
  return Made(invocation, HandleOf(CKO_MECHANISM, row.type), std::move(attributes));
}

// Mechanisms are many and searches frequent: they are looked at only when the template can mean one.
bool CanMeanMechanism(std::span<const CK_ATTRIBUTE> wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [](const CK_ATTRIBUTE& attribute) {
    const bool has = spec::FindAttribute(attribute.type, CKO_MECHANISM, CK_UNAVAILABLE_INFORMATION) != nullptr;
    if (attribute.type != CKA_CLASS || attribute.ulValueLen != sizeof(CK_OBJECT_CLASS)) return has;
    CK_OBJECT_CLASS object_class;
    std::memcpy(&object_class, attribute.pValue, sizeof object_class);
    return object_class == CKO_MECHANISM;
  });
}

}  // namespace

ObjectPtr FindBuiltIn(const Invocation& invocation, CK_OBJECT_HANDLE handle) {
  const auto offer = OfferOf(invocation);
  if (!offer) return nullptr;
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
  const auto offer = OfferOf(invocation);
  if (wanted.empty() || !offer) return found;
  const auto consider = [&](const ObjectPtr& object) {
    if (spec::FoundBy(object->attributes, wanted)) found.push_back(object->handle);
  };
  if (CanMeanMechanism(wanted)) {
    for (const spec::MechanismRow& row : spec::Mechanisms()) {
      if (offer->Has(row)) consider(MakeMechanism(invocation, row));
    }
  }
  for (const Profile& profile : kProfiles) {
    if (profile.implemented(*offer)) consider(MakeProfile(invocation, profile));
  }
  return found;
}

}  // namespace cmkd::daemon

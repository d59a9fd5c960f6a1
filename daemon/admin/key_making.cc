// From an operator's words to a key: spec and usage become the template that an application would have given.
#include "daemon/admin/key_making.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "daemon/service/new_object.h"
#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/key_role.h"

namespace cmkd::daemon {

namespace {

// Customers' keys, and those of services, whose names say so. (Default keys are not asked for like this.)
Status ReadClass(const Json& arguments, KeyRequest& request) {
  ASSIGN_OR_RETURN(const std::string word, TextArgument(arguments, "class", "customer"));
  if (word != "customer" && word != "service")
    return Fail(CKR_ARGUMENTS_BAD, "a class is customer, service or default");
  const bool service = word == "service";
  ASSIGN_OR_RETURN(const auto owner, BoundedArgument(arguments, "owner", 0, UINT32_MAX - 1));
  if (service != owner.has_value())
    return Fail(CKR_ARGUMENTS_BAD, "a service's key has an owner, the user id of the service, and no other key has");
  if (service != request.name.starts_with("svc/"))
    return Fail(CKR_ARGUMENTS_BAD, "names of services' keys begin with svc/, and no others do");
  if (!service && IsReservedName(request.name))
    return Fail(CKR_ARGUMENTS_BAD, "names that begin with sys/ or kms- are reserved");
  if (!service) return {};
  request.key_class = cmk::KeyClass::kService;
  request.owner = static_cast<std::uint32_t>(*owner);
  return {};
}

}  // namespace

Fallible<KeyRequest> ReadKeyRequest(const Json& arguments) {
  KeyRequest request;
  ASSIGN_OR_RETURN(request.name, TextArgument(arguments, "name", ""));
  if (request.name.size() > 255) return Fail(CKR_ARGUMENTS_BAD, "a name has at most 255 bytes");
  RETURN_IF_ERROR(ReadClass(arguments, request));
  ASSIGN_OR_RETURN(const std::string spec_name, TextArgument(arguments, "spec", "AES-256"));
  request.spec = FindKeySpec(spec_name);
  if (request.spec == nullptr) return Fail(CKR_ARGUMENTS_BAD, "there is no key spec " + spec_name);
  ASSIGN_OR_RETURN(const std::string usage,
                   TextArgument(arguments, "usage", std::string(DefaultUsage(*request.spec)).c_str()));
  request.usage = FindKeyUsage(usage.empty() ? DefaultUsage(*request.spec) : usage);
  if (request.usage == nullptr) return Fail(CKR_ARGUMENTS_BAD, "a usage is encrypt, sign, wrap or derive");
  ASSIGN_OR_RETURN(const std::string id, TextArgument(arguments, "id", ""));
  if (id.size() % 2 != 0 || id.size() > 128) return Fail(CKR_ARGUMENTS_BAD, "an id is up to 64 bytes in hexadecimal");
  for (std::size_t i = 0; i + 1 < id.size(); i += 2) {
    char* end = nullptr;
    const std::string byte = id.substr(i, 2);
    request.id.push_back(static_cast<std::uint8_t>(std::strtoul(byte.c_str(), &end, 16)));
    if (*end != '\0') return Fail(CKR_ARGUMENTS_BAD, "an id is hexadecimal");
  }
  ASSIGN_OR_RETURN(request.description, TextArgument(arguments, "description", ""));
  ASSIGN_OR_RETURN(const auto rotation_days, BoundedArgument(arguments, "rotation_days", 0, 100'000));
  request.rotation_period = Days(rotation_days.value_or(0));
  ASSIGN_OR_RETURN(const auto activation, BoundedArgument(arguments, "activation", 1, std::int64_t{1} << 40));
  if (activation) request.activation = Timestamp{*activation};
  ASSIGN_OR_RETURN(const auto expiry, BoundedArgument(arguments, "expiry", 1, std::int64_t{1} << 40));
  if (expiry) request.expiry = Timestamp{*expiry};
  ASSIGN_OR_RETURN(const auto limit, BoundedArgument(arguments, "usage_limit", 0, INT64_MAX));
  request.usage_limit = static_cast<std::uint64_t>(limit.value_or(0));
  ASSIGN_OR_RETURN(request.deletion_protected, FlagArgument(arguments, "deletion_protected", false));
  ASSIGN_OR_RETURN(const std::string origin, TextArgument(arguments, "origin", "local"));
  if (origin != "local" && origin != "external") return Fail(CKR_ARGUMENTS_BAD, "an origin is local or external");
  request.external = origin == "external";
  const bool cipher = request.spec->key_type == CKK_AES || request.spec->key_type == CKK_SM4;
  if (request.external && !cipher) return Fail(CKR_ARGUMENTS_BAD, "only AES and SM4 keys take imported material");
  ASSIGN_OR_RETURN(request.fixed_version, FlagArgument(arguments, "fixed_version", false));
  return request;
}

Status CheckKeyRequest(const KeyRequest& request, const store::TokenRecord& token, Timestamp now) {
  const auto allowed = cmk::CheckRotationPeriod(request.rotation_period, Custodian::BoundsOf(token));
  if (!allowed.ok()) return Translate(allowed.error(), Moment::kManage);
  if ((!IsSecret(*request.spec) || request.external) && request.rotation_period > Duration{})
    return Translate(cmk::Refusal::kNotRotatable, Moment::kManage);
  if (request.expiry && *request.expiry <= std::max(now, request.activation.value_or(now)))
    return Translate(cmk::Refusal::kDateOutOfBounds, Moment::kManage);
  return {};
}

namespace {

// The attributes of one object of the new key, as an application's template would have given them.
spec::Attributes KeyAttributes(const KeyRequest& request, CK_OBJECT_CLASS object_class, spec::Profile profile) {
  std::vector<CK_ATTRIBUTE> attributes;
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL is_private = object_class == CKO_PUBLIC_KEY ? CK_FALSE : CK_TRUE;
  CK_ULONG size = request.spec->size;
  Bytes id = request.id;
  std::string label = request.name;
  const auto add = [&](CK_ATTRIBUTE_TYPE type, void* value, std::size_t length) {
    attributes.push_back({type, value, length});
  };
  add(CKA_TOKEN, &yes, sizeof yes);
  // Who uses a service's key does not rename it.
  CK_BBOOL no = CK_FALSE;
  if (request.key_class == cmk::KeyClass::kService) add(CKA_MODIFIABLE, &no, sizeof no);
  add(CKA_PRIVATE, &is_private, sizeof is_private);
  add(CKA_LABEL, label.data(), label.size());
  if (!id.empty()) add(CKA_ID, id.data(), id.size());
  const bool secret = object_class == CKO_SECRET_KEY;
  if (secret || (object_class == CKO_PRIVATE_KEY) ==
                    (request.usage->protects == CKA_SIGN || request.usage->protects == CKA_DERIVE)) {
    add(request.usage->protects, &yes, sizeof yes);
  }
  if (request.usage->processes != request.usage->protects &&
      (secret || (object_class == CKO_PUBLIC_KEY) == (request.usage->protects == CKA_SIGN))) {
    add(request.usage->processes, &yes, sizeof yes);
  }
  CK_BYTE exponent[] = {1, 0, 1};
  const spec::Curve* curve = spec::FindCurveByName(request.spec->curve);
  std::string parameters = curve == nullptr ? "" : std::string(curve->oid);
  if (secret) add(CKA_VALUE_LEN, &size, sizeof size);
  if (object_class == CKO_PUBLIC_KEY && request.spec->key_type == CKK_RSA) {
    add(CKA_MODULUS_BITS, &size, sizeof size);
    add(CKA_PUBLIC_EXPONENT, exponent, sizeof exponent);
  }
  if (object_class == CKO_PUBLIC_KEY && curve != nullptr) add(CKA_EC_PARAMS, parameters.data(), parameters.size());
  spec::TemplateContext context;
  context.verb = spec::Verb::kGenerate;
  context.object_class = object_class;
  context.key_type = request.spec->key_type;
  context.profile = profile;
  return spec::Complete(context, attributes, request.spec->mechanism);
}

// What the operator asked for beside the material.
void Dress(cmk::Cmk& key, const KeyRequest& request, Timestamp now) {
  key.description = request.description;
  key.key_class = request.key_class;
  key.owner = request.owner;
  key.rotation_period = request.rotation_period;
  key.dates.activation = request.activation;
  key.dates.expiry = request.expiry;
  key.state = cmk::BirthState(!request.external, request.activation, now);
  if (request.external) {
    key.rotation_period = {};
    key.dates.next_rotation.reset();
    key.current = {};
    key.versions.front().state = cmk::VersionState::kPendingImport;
  }
  key.usage_limit = request.usage_limit;
  key.deletion_protected = request.deletion_protected;
  if (request.rotation_period > Duration{}) key.dates.next_rotation = now + request.rotation_period;
}

}  // namespace

Fallible<NewObjects> MakeKey(Backend& backend, const WrappingKey& under, const KeyRequest& request,
                             spec::Profile profile, Timestamp now) {
  CK_MECHANISM mechanism{request.spec->mechanism, nullptr, 0};
  if (backend.FindMechanism(mechanism.mechanism) == nullptr)
    return Fail(CKR_MECHANISM_INVALID, "the token's HSM has no keys of this kind", spec::kMechanismNotAllowed);
  NewObjects objects;
  if (IsSecret(*request.spec)) {
    spec::Attributes attributes = KeyAttributes(request, CKO_SECRET_KEY, profile);
    if (!request.fixed_version) AllowRotatingMechanisms(attributes);
    spec::GiveRole(attributes);
    if (request.external) {
      attributes.SetBool(CKA_LOCAL, false);
      objects.key = NewCmk(attributes, {}, cmk::Origin::kUnwrapped, now);
      // Versions of imported material are never found by trial: each is what its owner says it is.
      objects.key->rotatable = false;
      Dress(*objects.key, request, now);
      objects.objects.push_back(std::move(attributes));
      return objects;
    }
    ASSIGN_OR_RETURN(Made made, backend.GenerateKey(mechanism, request.spec->key_type, request.spec->size, under));
    RemoveSecretParts(made.computed);
    attributes.Merge(made.computed);
    HideCheckValue(attributes);
    objects.key = NewCmk(attributes, std::move(made.material), cmk::Origin::kLocal, now);
    Dress(*objects.key, request, now);
    objects.objects.push_back(std::move(attributes));
    return objects;
  }
  spec::Attributes public_attributes = KeyAttributes(request, CKO_PUBLIC_KEY, profile);
  spec::Attributes private_attributes = KeyAttributes(request, CKO_PRIVATE_KEY, profile);
  spec::GiveRole(public_attributes, private_attributes);
  ASSIGN_OR_RETURN(MadePair made, backend.GenerateKeyPair(mechanism, request.spec->key_type, public_attributes, under));
  public_attributes.Merge(made.public_computed);
  private_attributes.Merge(made.private_computed);
  RemoveSecretParts(private_attributes);
  objects.key = NewCmk(private_attributes, std::move(made.material), cmk::Origin::kLocal, now);
  Dress(*objects.key, request, now);
  objects.objects.push_back(std::move(public_attributes));
  objects.objects.push_back(std::move(private_attributes));
  return objects;
}

}  // namespace cmkd::daemon

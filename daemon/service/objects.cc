// Object management (PKCS#11 section 5.7).
#include <algorithm>

#include "daemon/crypto/ec_point.h"
#include "daemon/crypto/weak_rsa.h"
#include "daemon/hsm/public_key_info.h"
#include "daemon/service/built_in_objects.h"
#include "daemon/service/handlers.h"
#include "daemon/service/key_role.h"
#include "daemon/service/key_use.h"
#include "daemon/service/lifecycle_attributes.h"
#include "daemon/service/new_object.h"
#include "daemon/service/resume.h"
#include "pkcs11/spec/key_facts.h"
#include "pkcs11/spec/template_codec.h"

namespace cmkd::daemon {

using spec::CallId;

namespace {

spec::TemplateContext ContextOf(const Invocation& invocation, const store::TokenRecord& token, spec::Verb verb) {
  spec::TemplateContext context;
  context.verb = verb;
  context.so = LoggedIn(invocation, token) == CKU_SO;
  context.profile = ProfileOf(token);
  return context;
}

bool IsSecretClass(CK_OBJECT_CLASS object_class) {
  return spec::IsSecretKeyClass(object_class) || object_class == CKO_PRIVATE_KEY;
}

// A public key's CKA_PUBLIC_KEY_INFO is derived from the key (3.2, "Public key objects"); what is claimed must be it.
Status AddPublicKeyInfo(std::span<const CK_ATTRIBUTE> given, const spec::ObjectKind& kind,
                        spec::Attributes& attributes) {
  if (kind.object_class != CKO_PUBLIC_KEY) return {};
  spec::Attributes computed;
  const Bytes info = PublicKeyInfo(kind.key_type, attributes);
  if (info.empty()) return {};
  computed.Set(CKA_PUBLIC_KEY_INFO, info);
  attributes.Set(CKA_PUBLIC_KEY_INFO, info);
  return spec::CheckAgainstMaterial(given, kind, computed);
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::C_CreateObject>& call) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  ASSIGN_OR_RETURN(const spec::ObjectKind kind, spec::DescribeTemplate(call.attributes.view()));
  spec::TemplateContext context = ContextOf(invocation, *token, spec::Verb::kCreate);
  context.object_class = kind.object_class;
  context.key_type = kind.key_type;
  ASSIGN_OR_RETURN(spec::Attributes attributes, spec::NewAttributes(context, call.attributes.view()));
  RETURN_IF_ERROR(CheckNewObject(invocation, *token, attributes));
  if (const ByteView modulus = attributes.View(CKA_MODULUS); !modulus.empty()) {
    const std::string_view weakness = WeaknessOfModulus(modulus);
    if (!weakness.empty()) return Fail(CKR_ATTRIBUTE_VALUE_INVALID, std::string(weakness));
  }
  if (const spec::Curve* curve = spec::FindCurve(attributes.View(CKA_EC_PARAMS));
      curve != nullptr && kind.object_class == CKO_PUBLIC_KEY && kind.key_type == CKK_EC &&
      !IsOnCurve(curve->name, spec::PointOf(attributes.View(CKA_EC_POINT), *curve))) {
    return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "CKA_EC_POINT is no point of the curve");
  }
  if (!IsSecretClass(kind.object_class)) {
    RETURN_IF_ERROR(AddPublicKeyInfo(call.attributes.view(), kind, attributes));
    ASSIGN_OR_RETURN(*call.object.value, Keep(invocation, std::move(attributes)));
    return {};
  }
  if (context.profile == spec::Profile::kManaged && attributes.Bool(CKA_TOKEN)) {
    return Fail(CKR_TEMPLATE_INCONSISTENT, "a managed token takes no key in the clear: import it wrapped",
                spec::kDenied);
  }
  ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, attributes));
  ASSIGN_OR_RETURN(Made made, backend->Import(attributes, under));
  if (Status fits = spec::CheckAgainstMaterial(call.attributes.view(), made.computed); !fits.ok()) {
    Discard(*backend, made);
    return fits;
  }
  ASSIGN_OR_RETURN(*call.object.value,
                   KeepKey(invocation, std::move(attributes), std::move(made), cmk::Origin::kImportedClear));
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_CopyObject>& call) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  ASSIGN_OR_RETURN(ObjectPtr source, FindVisible(invocation, call.object.value, CKR_OBJECT_HANDLE_INVALID));
  if (source->cmk && source->has_material() && token->profile == cmk::TokenProfile::kManaged) {
    return Fail(CKR_ACTION_PROHIBITED, "a CMK is not copied", spec::kDenied);
  }
  if (source->object_class == CKO_OTP_KEY)
    return Fail(CKR_ACTION_PROHIBITED, "a copy of a HOTP key would make its passwords again", spec::kDenied);
  spec::TemplateContext context = ContextOf(invocation, *token, spec::Verb::kCopy);
  context.object_class = source->object_class;
  context.key_type = source->key_type;
  context.current = &source->attributes;
  RETURN_IF_ERROR(spec::CheckTemplate(context, call.attributes.view()));
  if (spec::RoleOf(source->attributes) == spec::KeyRole::kUndecided) {
    RETURN_IF_ERROR(CheckCopy(invocation, *source));
    ASSIGN_OR_RETURN(source, FindVisible(invocation, call.object.value, CKR_OBJECT_HANDLE_INVALID));
    context.current = &source->attributes;
  }
  spec::Attributes attributes = spec::Complete(context, call.attributes.view());
  RETURN_IF_ERROR(CheckNewObject(invocation, *token, attributes));
  if (!source->has_material()) {
    ASSIGN_OR_RETURN(*call.new_object.value, Keep(invocation, std::move(attributes)));
    return {};
  }
  // Before the look at the material, so that it is not wrapped again and lost while it is copied.
  ASSIGN_OR_RETURN(const Custodian::Under under, UnderFor(invocation, attributes));
  ASSIGN_OR_RETURN(const Candidate current,
                   CurrentCandidate(invocation, *source, cmk::Use::kDescribe, Moment::kManage));
  Made made;
  made.material = current.material.material;
  const bool changes_place = source->is_token() != attributes.Bool(CKA_TOKEN);
  if (made.material.kind == cmk::Material::Kind::kResident || changes_place) {
    // Each object has resident material of its own, or destroying one would take it from the other; and session objects
    // are wrapped under another key than token objects.
    ASSIGN_OR_RETURN(Backend * backend, BackendOf(invocation));
    ASSIGN_OR_RETURN(made.material, backend->Rewrap(current.name, current.material, under));
  }
  ASSIGN_OR_RETURN(*call.new_object.value,
                   KeepKey(invocation, std::move(attributes), std::move(made), cmk::Origin::kLocal));
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_DestroyObject>& call) {
  ASSIGN_OR_RETURN(const ObjectPtr object, FindVisible(invocation, call.object.value, CKR_OBJECT_HANDLE_INVALID));
  RETURN_IF_ERROR(MayWrite(invocation, object->is_token(), object->is_private()));
  RETURN_IF_ERROR(spec::CheckDestroy(object->attributes));
  RecordKey(invocation, *object, 0);
  if (object->is_token()) {
    invocation.changed = true;
    return invocation.daemon.custodian.Destroy(*object);
  }
  invocation.application->RemoveObject(object->handle);
  Release(invocation.daemon, {object});
  invocation.trailers.push_back({wire::TrailerKind::kForgetObject, 0, object->handle, {}});
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_GetObjectSize>& call) {
  ASSIGN_OR_RETURN(const ObjectPtr object, FindVisible(invocation, call.object.value, CKR_OBJECT_HANDLE_INVALID));
  *call.size.value = PackObject(*object).size();
  return {};
}

namespace {

// One attribute by the rules of C_GetAttributeValue: length only, value, or why not.
CK_RV FillAttribute(CK_ATTRIBUTE& wanted, ByteView value) {
  if (wanted.pValue == nullptr) {
    wanted.ulValueLen = value.size();
    return CKR_OK;
  }
  if (wanted.ulValueLen < value.size()) {
    wanted.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_BUFFER_TOO_SMALL;
  }
  if (!value.empty()) std::memcpy(wanted.pValue, value.data(), value.size());
  wanted.ulValueLen = value.size();
  return CKR_OK;
}

// CKA_WRAP_TEMPLATE and its kin: an array of attributes, each by the same rules (PKCS#11, "C_GetAttributeValue"). A
// template within the template shows its length only.
CK_RV FillTemplate(CK_ATTRIBUTE& wanted, ByteView flat) {
  const auto decoded = spec::DecodeTemplate(flat);
  if (!decoded.ok()) return CKR_ATTRIBUTE_TYPE_INVALID;
  const std::span<const CK_ATTRIBUTE> values = decoded->attributes();
  if (wanted.pValue == nullptr) {
    wanted.ulValueLen = values.size_bytes();
    return CKR_OK;
  }
  if (wanted.ulValueLen < values.size_bytes()) {
    wanted.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_BUFFER_TOO_SMALL;
  }
  CK_RV answer = CKR_OK;
  auto* inner = static_cast<CK_ATTRIBUTE*>(wanted.pValue);
  for (std::size_t i = 0; i < values.size(); ++i) {
    inner[i].type = values[i].type;
    const bool nested = spec::IsTemplateAttribute(values[i].type);
    CK_RV rv = CKR_OK;
    if (nested && inner[i].pValue != nullptr) {
      inner[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
      rv = CKR_ATTRIBUTE_TYPE_INVALID;
    } else {
      rv = FillAttribute(inner[i], {static_cast<const std::uint8_t*>(values[i].pValue), values[i].ulValueLen});
    }
    if (answer == CKR_OK) answer = rv;
  }
  wanted.ulValueLen = values.size_bytes();
  return answer;
}

// The secret parts that the template asks for and that may be shown, read from the device.
Fallible<spec::Attributes> ReadWantedSecrets(const Invocation& invocation, const Object& object,
                                             std::span<const CK_ATTRIBUTE> wanted) {
  std::vector<CK_ATTRIBUTE_TYPE> types;
  for (const CK_ATTRIBUTE& attribute : wanted) {
    if (IsSecretPart(object, attribute.type) && spec::MayReveal(object.attributes, attribute.type))
      types.push_back(attribute.type);
  }
  if (types.empty() || !object.has_material()) return spec::Attributes{};
  return ReadSecretParts(invocation, object, types);
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::C_GetAttributeValue>& call) {
  ASSIGN_OR_RETURN(const ObjectPtr object, FindVisible(invocation, call.object.value, CKR_OBJECT_HANDLE_INVALID));
  RecordKey(invocation, *object, 0);
  ASSIGN_OR_RETURN(const spec::Attributes secret, ReadWantedSecrets(invocation, *object, call.attributes.view()));
  const spec::Attributes lifecycle = LifecycleAttributes(invocation, *object, call.attributes.view());
  // All that can be filled is filled; the answer names the first trouble (PKCS#11, "C_GetAttributeValue").
  CK_RV answer = CKR_OK;
  for (CK_ATTRIBUTE& wanted : call.attributes.view()) {
    CK_RV rv = CKR_ATTRIBUTE_TYPE_INVALID;
    const spec::AttributeRow* row = spec::FindAttribute(wanted.type);
    const bool nested = row != nullptr && row->kind == spec::AttributeKind::kTemplate;
    if (!spec::MayReveal(object->attributes, wanted.type)) {
      rv = CKR_ATTRIBUTE_SENSITIVE;
    } else if (const ShortBytes* value = object->attributes.Find(wanted.type); value != nullptr) {
      rv = nested && !value->empty() ? FillTemplate(wanted, *value) : FillAttribute(wanted, *value);
    } else if (secret.Has(wanted.type)) {
      rv = FillAttribute(wanted, secret.View(wanted.type));
    } else if (lifecycle.Has(wanted.type)) {
      rv = FillAttribute(wanted, lifecycle.View(wanted.type));
    }
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE)
      wanted.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    if (answer == CKR_OK) answer = rv;
  }
  if (answer != CKR_OK) return Fail(answer, "not every attribute could be given");
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_SetAttributeValue>& call) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  ASSIGN_OR_RETURN(const ObjectPtr object, FindVisible(invocation, call.object.value, CKR_OBJECT_HANDLE_INVALID));
  RecordKey(invocation, *object, 0);
  RETURN_IF_ERROR(MayWrite(invocation, object->is_token(), object->is_private()));
  spec::TemplateContext context = ContextOf(invocation, *token, spec::Verb::kSet);
  context.object_class = object->object_class;
  context.key_type = object->key_type;
  context.current = &object->attributes;
  ASSIGN_OR_RETURN(spec::Attributes attributes, spec::NewAttributes(context, call.attributes.view()));
  RETURN_IF_ERROR(spec::CheckSeparation(context.profile, attributes));
  // A key that may no longer leave the device is made anew there with that restriction.
  const bool restricts = object->attributes.Bool(CKA_EXTRACTABLE) && !attributes.Bool(CKA_EXTRACTABLE);
  if (object->is_token()) {
    invocation.changed = true;
    RETURN_IF_ERROR(invocation.daemon.custodian.Update(*object, attributes));
  } else {
    auto changed = std::make_shared<Object>(*object);
    changed->attributes = std::move(attributes);
    SendSealed(invocation, *changed);
    invocation.application->ReplaceObject(std::move(changed));
  }
  if (restricts && object->has_material()) {
    const auto backend = BackendOf(invocation);
    const auto current = CurrentCandidate(invocation, *object, cmk::Use::kDescribe, Moment::kManage);
    if (backend.ok() && current.ok()) (*backend)->Forget(current->name);
  }
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_FindObjectsInit>& call) {
  Session& session = *invocation.session;
  if (session.search != nullptr) return Fail(CKR_OPERATION_ACTIVE, "a search is already active");
  const bool user = UserLoggedIn(invocation);
  // A program that asks for a key by name wants that key; one that lists everything wants none in particular.
  const auto wanted = call.attributes.view();
  const bool names_one = std::any_of(wanted.begin(), wanted.end(), [](const CK_ATTRIBUTE& attribute) {
    return attribute.type == CKA_LABEL || attribute.type == CKA_ID || attribute.type == CKA_UNIQUE_ID;
  });
  auto search = std::make_unique<Search>();
  STORE_OR_RETURN(const auto read, invocation.daemon.store.BeginRead());
  STORE_OR_RETURN(const auto serials, read->FindObjects(session.token, TermsOf(call.attributes.view())));
  for (const cmk::ObjectSerial serial : serials) {
    const auto object = invocation.daemon.records.GetObject(serial.value);
    if (!object.ok() || !spec::FoundBy((*object)->attributes, call.attributes.view())) continue;
    if (IsVisible(invocation, **object, user)) {
      search->found.push_back(serial.value);
    } else if (names_one && IsHiddenByDeletion(invocation, **object, user)) {
      NoteWanted(invocation, **object);
    }
  }
  for (const ObjectPtr& object : invocation.application->Objects(session.token)) {
    if (!IsVisible(invocation, *object, user)) continue;
    if (spec::FoundBy(object->attributes, call.attributes.view())) search->found.push_back(object->handle);
  }
  const std::vector<CK_OBJECT_HANDLE> built_in = FindBuiltIns(invocation, call.attributes.view());
  search->found.insert(search->found.end(), built_in.begin(), built_in.end());
  session.search = std::move(search);
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_FindObjects>& call) {
  Session& session = *invocation.session;
  if (session.search == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no search is active");
  Search& search = *session.search;
  const std::size_t count = std::min<std::size_t>(call.objects.max, search.found.size() - search.next);
  std::copy_n(search.found.begin() + static_cast<std::ptrdiff_t>(search.next), count, call.objects.list);
  search.next += count;
  *call.objects.count = count;
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_FindObjectsFinal>&) {
  if (invocation.session->search == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no search is active");
  invocation.session->search.reset();
  return {};
}

}  // namespace cmkd::daemon

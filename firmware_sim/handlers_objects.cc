// Object management functions (PKCS#11 3.2 section 5.7).
#include "firmware_sim/device_objects.h"
#include "firmware_sim/object_factory.h"
#include "pkcs11/spec/template_codec.h"

namespace cmkd::sim {
namespace {

using spec::Verb;

Fallible<ObjectPtr> GetObject(const Context& context, CK_OBJECT_HANDLE handle) {
  ObjectPtr object = context.device.FindObject(handle);
  if (object == nullptr) return Fail(CKR_OBJECT_HANDLE_INVALID, "no such object");
  return object;
}

bool IsKey(CK_OBJECT_CLASS object_class) {
  return object_class == CKO_SECRET_KEY || object_class == CKO_PRIVATE_KEY || object_class == CKO_PUBLIC_KEY;
}

// The rules for a change of an object that exists.
spec::TemplateContext ChangeOf(const Object& object, Verb verb) {
  spec::TemplateContext rules;
  rules.verb = verb;
  rules.object_class = object.object_class();
  rules.key_type = object.attributes()
                       .Ulong(object.object_class() == CKO_CERTIFICATE ? CKA_CERTIFICATE_TYPE : CKA_KEY_TYPE)
                       .value_or(CK_UNAVAILABLE_INFORMATION);
  rules.current = &object.attributes();
  return rules;
}

// An array of attributes: each inner one is filled by the same convention.
CK_RV PutTemplate(CK_ATTRIBUTE& wanted, ByteView flat) {
  const auto decoded = flat.empty() ? spec::DecodeTemplate(Bytes(4)) : spec::DecodeTemplate(flat);
  if (!decoded.ok()) return PutNothing(wanted, CKR_DEVICE_ERROR);
  const auto inner = decoded->attributes();
  const std::size_t bytes = inner.size() * sizeof(CK_ATTRIBUTE);
  if (wanted.pValue == nullptr) {
    wanted.ulValueLen = bytes;
    return CKR_OK;
  }
  if (wanted.ulValueLen < bytes) return PutNothing(wanted, CKR_BUFFER_TOO_SMALL);
  wanted.ulValueLen = bytes;
  auto* slots = static_cast<CK_ATTRIBUTE*>(wanted.pValue);
  CK_RV rv = CKR_OK;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    slots[i].type = inner[i].type;
    if (const CK_RV one = PutValue(slots[i], spec::ValueOf(inner[i])); one != CKR_OK) rv = one;
  }
  return rv;
}

CK_RV Show(const Object& object, CK_ATTRIBUTE& wanted) {
  auto value = object.Reveal(wanted.type);
  if (!value.ok()) return PutNothing(wanted, value.error().rv);
  const CK_RV rv = spec::IsTemplateAttribute(wanted.type) ? PutTemplate(wanted, *value) : PutValue(wanted, *value);
  Wipe(*value);
  return rv;
}

}  // namespace

Status Handle(Context& context, spec::Call<CallId::C_CreateObject>& call) {
  const Template given = call.attributes.view();
  ASSIGN_OR_RETURN(const spec::ObjectKind kind, spec::DescribeTemplate(given));
  spec::TemplateContext rules;
  rules.verb = Verb::kCreate;
  rules.object_class = kind.object_class;
  rules.key_type = kind.key_type;
  ASSIGN_OR_RETURN(spec::Attributes attributes, DescribeObject(context, rules, given));
  KeyPtr key;
  if (IsKey(kind.object_class)) {
    // The whole template: Complete() leaves out what must fit the material.
    ASSIGN_OR_RETURN(const spec::Attributes all, spec::Attributes::From(given));
    ASSIGN_OR_RETURN(key, KeyFromTemplate(kind.object_class, kind.key_type, all));
  }
  ASSIGN_OR_RETURN(*call.object.value, MakeObject(context, std::move(attributes), std::move(key), given));
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_CopyObject>& call) {
  ASSIGN_OR_RETURN(const ObjectPtr object, GetObject(context, call.object.value));
  const Template given = call.attributes.view();
  ASSIGN_OR_RETURN(spec::Attributes attributes, DescribeObject(context, ChangeOf(*object, Verb::kCopy), given));
  ASSIGN_OR_RETURN(*call.new_object.value, MakeObject(context, std::move(attributes), object->key(), given));
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_DestroyObject>& call) {
  ASSIGN_OR_RETURN(const ObjectPtr object, GetObject(context, call.object.value));
  RETURN_IF_ERROR(CheckMayChange(context, *object));
  RETURN_IF_ERROR(spec::CheckDestroy(object->attributes()));
  return context.device.DestroyObject(call.object.value);
}

Status Handle(Context& context, spec::Call<CallId::C_GetObjectSize>& call) {
  ASSIGN_OR_RETURN(const ObjectPtr object, GetObject(context, call.object.value));
  *call.size.value = object->Encode().size();
  return {};
}

// Every attribute is answered, whatever befalls the others (PKCS#11 3.2, C_GetAttributeValue).
Status Handle(Context& context, spec::Call<CallId::C_GetAttributeValue>& call) {
  if (IsDeviceObject(call.object.value)) return ShowDeviceObject(context, call.object.value, call.attributes.view());
  ASSIGN_OR_RETURN(const ObjectPtr object, GetObject(context, call.object.value));
  CK_RV rv = CKR_OK;
  for (CK_ATTRIBUTE& wanted : call.attributes.view()) {
    if (const CK_RV one = Show(*object, wanted); one != CKR_OK) rv = one;
  }
  if (rv != CKR_OK) return Fail(rv, "not every attribute could be given");
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_SetAttributeValue>& call) {
  ASSIGN_OR_RETURN(const ObjectPtr object, GetObject(context, call.object.value));
  RETURN_IF_ERROR(CheckMayChange(context, *object));
  const Template given = call.attributes.view();
  spec::TemplateContext rules = ChangeOf(*object, Verb::kSet);
  rules.so = context.device.May(Service::kTrust);
  RETURN_IF_ERROR(spec::CheckTemplate(rules, given));
  auto changed = std::make_shared<const Object>(spec::Complete(rules, given), object->key(), object->owner(),
                                                object->name(), object->usage());
  RETURN_IF_ERROR(CheckMaterial(*changed, given));
  return context.device.ReplaceObject(call.object.value, object, std::move(changed));
}

Status Handle(Context& context, spec::Call<CallId::C_FindObjectsInit>& call) {
  auto& slot = context.session->operation(OperationKind::kFind);
  if (slot != nullptr) return Fail(CKR_OPERATION_ACTIVE, "a search is going on");
  const Template wanted = call.attributes.view();
  const bool user = context.device.May(Service::kPrivateWork);
  auto operation = std::make_unique<Operation>();
  operation->found = context.device.objects().Select(
      [&](const Object& object) { return (user || !object.is_private()) && object.FoundBy(wanted); });
  FindDeviceObjects(wanted, operation->found);
  slot = std::move(operation);
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_FindObjects>& call) {
  Operation* operation = context.session->operation(OperationKind::kFind).get();
  if (operation == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no search is going on");
  CK_ULONG given = 0;
  while (given < call.objects.max && operation->found_given < operation->found.size()) {
    const CK_OBJECT_HANDLE handle = operation->found[operation->found_given++];
    // Gone since the search began.
    if (!IsDeviceObject(handle) && context.device.FindObject(handle) == nullptr) continue;
    call.objects.list[given++] = handle;
  }
  *call.objects.count = given;
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_FindObjectsFinal>&) {
  auto& slot = context.session->operation(OperationKind::kFind);
  if (slot == nullptr) return Fail(CKR_OPERATION_NOT_INITIALIZED, "no search is going on");
  slot.reset();
  return {};
}

}  // namespace cmkd::sim

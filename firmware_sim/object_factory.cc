// See object_factory.h.
#include "firmware_sim/object_factory.h"

#include <algorithm>
#include <utility>

#include "pkcs11/spec/vendor.h"

namespace cmkd::sim {
namespace {

Status CheckMayMake(const Context& context, const spec::Attributes& attributes) {
  if (attributes.Bool(CKA_TOKEN) && !context.session->read_write()) {
    return Fail(CKR_SESSION_READ_ONLY, "a token object needs a read/write session");
  }
  if (attributes.Bool(CKA_PRIVATE) && !context.device.May(Service::kPrivateWork)) {
    return Fail(CKR_USER_NOT_LOGGED_IN, "a private object needs the user");
  }
  return {};
}

bool IsLimit(const CK_ATTRIBUTE& attribute) {
  return attribute.type >= CKA_CMKD_LIMIT_USES && attribute.type <= CKA_CMKD_USES_PER_LOGIN;
}

// What limits a key is this device's own: the standard's rules see the rest of the template.
struct Limited {
  std::vector<CK_ATTRIBUTE> rest;
  std::vector<std::pair<CK_ATTRIBUTE_TYPE, CK_ULONG>> limits;
};
Fallible<Limited> TakeLimits(const spec::TemplateContext& rules, Template given) {
  const bool hidden = rules.object_class == CKO_SECRET_KEY || rules.object_class == CKO_PRIVATE_KEY;
  Limited taken;
  for (const CK_ATTRIBUTE& attribute : given) {
    if (!IsLimit(attribute)) {
      taken.rest.push_back(attribute);
      continue;
    }
    if (rules.verb == spec::Verb::kCopy) return Fail(CKR_ATTRIBUTE_READ_ONLY, "limits are set when a key is made");
    if (!hidden) return Fail(CKR_ATTRIBUTE_TYPE_INVALID, "only secret and private keys have limits");
    CK_ULONG value = 0;
    if (attribute.pValue == nullptr || attribute.ulValueLen != sizeof value)
      return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "a limit is a CK_ULONG");
    std::memcpy(&value, attribute.pValue, sizeof value);
    if (value == 0) return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "a limit of 0");
    taken.limits.emplace_back(attribute.type, value);
  }
  return taken;
}

// A copy of the key, or its value outside, would have counters of its own, or none.
Status Limit(spec::Attributes& attributes, const Limited& taken, Template given) {
  for (const CK_ATTRIBUTE& attribute : given) {
    const bool leaves = attribute.type == CKA_EXTRACTABLE || attribute.type == CKA_COPYABLE;
    if (leaves && attributes.Bool(attribute.type))
      return Fail(CKR_TEMPLATE_INCONSISTENT, "a key with limits is neither extractable nor copied");
  }
  attributes.SetBool(CKA_EXTRACTABLE, false);
  attributes.SetBool(CKA_COPYABLE, false);
  for (const auto& [type, value] : taken.limits) attributes.SetUlong(type, value);
  return {};
}

}  // namespace

Fallible<spec::Attributes> DescribeObject(const Context& context, spec::TemplateContext rules, Template given,
                                          CK_MECHANISM_TYPE key_gen_mechanism) {
  if (std::any_of(given.begin(), given.end(), IsLimit)) {
    ASSIGN_OR_RETURN(const Limited taken, TakeLimits(rules, given));
    ASSIGN_OR_RETURN(spec::Attributes attributes, DescribeObject(context, rules, taken.rest, key_gen_mechanism));
    RETURN_IF_ERROR(Limit(attributes, taken, taken.rest));
    return attributes;
  }
  if (rules.object_class == CKO_OTP_KEY)
    return Fail(CKR_ATTRIBUTE_VALUE_INVALID, "the device has no counters for one-time passwords");
  rules.so = context.device.May(Service::kTrust);
  ASSIGN_OR_RETURN(spec::Attributes attributes, spec::NewAttributes(rules, given, key_gen_mechanism));
  RETURN_IF_ERROR(CheckMayMake(context, attributes));
  return attributes;
}

Fallible<CK_OBJECT_HANDLE> MakeObject(const Context& context, spec::Attributes attributes, KeyPtr key, Template given) {
  const bool token = attributes.Bool(CKA_TOKEN);
  ASSIGN_OR_RETURN(std::string name, context.device.NewObjectName(token));
  const CK_SESSION_HANDLE owner = token ? 0 : context.session->handle();
  auto object = std::make_shared<const Object>(std::move(attributes), std::move(key), owner, std::move(name));
  RETURN_IF_ERROR(CheckMaterial(*object, given));
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE handle, context.device.AddObject(std::move(object)));
  if (!token) context.session->owns_objects = true;
  return handle;
}

Status CheckMayChange(const Context& context, const Object& object) {
  if (object.is_token() && !context.session->read_write()) {
    return Fail(CKR_SESSION_READ_ONLY, "a token object needs a read/write session");
  }
  return {};
}

}  // namespace cmkd::sim

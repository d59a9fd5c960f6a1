// See object_factory.h.
#include "firmware_sim/object_factory.h"

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

}  // namespace

Fallible<spec::Attributes> DescribeObject(const Context& context, spec::TemplateContext rules, Template given,
                                          CK_MECHANISM_TYPE key_gen_mechanism) {
  rules.so = context.device.May(Service::kTrust);
  RETURN_IF_ERROR(spec::CheckTemplate(rules, given));
  spec::Attributes attributes = spec::Complete(rules, given, key_gen_mechanism);
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

// See key_template.h.
#include "daemon/service/key_template.h"

namespace cmkd::daemon {

spec::TemplateContext ContextFor(const Invocation& invocation, const store::TokenRecord& token, spec::Verb verb,
                                 CK_OBJECT_CLASS object_class, CK_ULONG key_type) {
  spec::TemplateContext context;
  context.verb = verb;
  context.object_class = object_class;
  context.key_type = key_type;
  context.so = LoggedIn(invocation, token) == CKU_SO;
  context.profile = ProfileOf(token);
  return context;
}

Fallible<KeyToBe> DescribeKey(const Invocation& invocation, spec::Verb verb, std::span<const CK_ATTRIBUTE> whole,
                              const Inheritance& inheritance) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  ASSIGN_OR_RETURN(spec::ObjectKind kind, spec::DescribeTemplate(whole));
  if (verb == spec::Verb::kDerive) {
    if (kind.object_class != CKO_SECRET_KEY && kind.object_class != CK_UNAVAILABLE_INFORMATION)
      return Fail(CKR_TEMPLATE_INCONSISTENT, "only secret keys are made so");
    kind.object_class = CKO_SECRET_KEY;
    if (kind.key_type == CK_UNAVAILABLE_INFORMATION) kind.key_type = CKK_GENERIC_SECRET;
  }
  spec::TemplateContext context = ContextFor(invocation, *token, verb, kind.object_class, kind.key_type);
  context.current = inheritance.from;
  context.inherits_secrecy = inheritance.always;
  KeyToBe key{kind.object_class, static_cast<CK_KEY_TYPE>(kind.key_type), {}};
  ASSIGN_OR_RETURN(key.attributes, spec::NewAttributes(context, whole));
  RETURN_IF_ERROR(CheckNewObject(invocation, *token, key.attributes));
  return key;
}

}  // namespace cmkd::daemon

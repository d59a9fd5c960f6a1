// Flat templates, as they stand in a wrap template, and templates as handlers judge them. Input: u8 verb, class and
// profile, then the flat template.
#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/template_codec.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cmkd;
  if (size == 0) return 0;
  const ByteView flat(data + 1, size - 1);
  auto decoded = spec::DecodeTemplate(flat);
  if (!decoded.ok()) {
    FUZZ_CHECK(decoded.error().rv == CKR_ATTRIBUTE_VALUE_INVALID);
    FUZZ_CHECK(!spec::MatchesFlatTemplate(flat, {}) || flat.empty());
    return 0;
  }
  const auto again = spec::EncodeTemplate(decoded->attributes());
  FUZZ_CHECK(again.ok() && *again == ToBytes(flat));

  static constexpr CK_OBJECT_CLASS kClasses[] = {CKO_SECRET_KEY, CKO_PUBLIC_KEY, CKO_PRIVATE_KEY, CKO_DATA,
                                                 CKO_CERTIFICATE};
  spec::TemplateContext context;
  context.verb = static_cast<spec::Verb>(data[0] % 6);
  context.object_class = kClasses[data[0] / 6 % std::size(kClasses)];
  context.profile = (data[0] & 0x80) != 0 ? spec::Profile::kManaged : spec::Profile::kGeneral;
  const auto kind = spec::DescribeTemplate(decoded->attributes());
  context.key_type = kind.ok() ? kind->key_type : CKK_AES;
  // For copy, set and derive there is an object already: the one that the template itself would make.
  spec::TemplateContext create = context;
  create.verb = spec::Verb::kCreate;
  const spec::Attributes current = spec::Complete(create, decoded->attributes());
  context.current = &current;
  const Status checked = spec::CheckTemplate(context, decoded->attributes());
  const spec::Attributes whole = spec::Complete(context, decoded->attributes());
  if (!checked.ok()) {
    FUZZ_CHECK(checked.error().rv != CKR_GENERAL_ERROR);
    return 0;
  }
  // What the token alone says is never taken from a template.
  if (context.verb == spec::Verb::kCreate || context.verb == spec::Verb::kUnwrap) {
    FUZZ_CHECK(!whole.Bool(CKA_LOCAL));
    FUZZ_CHECK(!whole.Bool(CKA_NEVER_EXTRACTABLE));
  }
  if (!context.so) FUZZ_CHECK(!whole.Bool(CKA_TRUSTED) || current.Bool(CKA_TRUSTED));
  if (context.verb == spec::Verb::kSet || context.verb == spec::Verb::kCopy) {
    FUZZ_CHECK(!current.Bool(CKA_SENSITIVE) || whole.Bool(CKA_SENSITIVE));
    FUZZ_CHECK(current.Bool(CKA_EXTRACTABLE) || !whole.Bool(CKA_EXTRACTABLE));
  }
  (void)spec::CheckSeparation(context.profile, whole);
  (void)spec::FoundBy(whole, decoded->attributes());
  (void)spec::MatchesFlatTemplate(flat, whole);
  (void)spec::MergeForced(flat, decoded->attributes());
  return 0;
}

// NewAttributes: the rules once for each template, not once for each object. A program makes its data keys by one
// template, and what the rules say of it depends on nothing but their arguments.
#include <array>
#include <cstring>
#include <memory>

#include "pkcs11/spec/attribute_rules.h"

namespace cmkd::spec {
namespace {

using Template = std::span<const CK_ATTRIBUTE>;

// The arguments as bytes, where they may be remembered: no object beside the template has a say, and no secret and no
// pointer is in it.
class Question {
 public:
  Question(const TemplateContext& context, Template given, CK_MECHANISM_TYPE mechanism) {
    if (context.verb != Verb::kGenerate && context.verb != Verb::kUnwrap) return;
    if (context.current != nullptr || !context.partner.empty()) return;
    fits_ = Add(context.verb) && Add(context.object_class) && Add(context.key_type) && Add(context.so) &&
            Add(context.profile) && Add(context.inherits_secrecy) && Add(mechanism);
    for (const CK_ATTRIBUTE& attribute : given) {
      const bool plain = !IsTemplateAttribute(attribute.type) && attribute.type != CKA_VALUE &&
                         (attribute.pValue != nullptr || attribute.ulValueLen == 0);
      fits_ = fits_ && plain && Add(attribute.type) && Add(attribute.ulValueLen) && AddBytes(ValueOf(attribute));
    }
  }
  bool fits() const { return fits_; }
  ByteView view() const { return {bytes_, used_}; }

 private:
  template <class T>
  bool Add(const T& value) {
    return AddBytes({reinterpret_cast<const std::uint8_t*>(&value), sizeof value});
  }
  bool AddBytes(ByteView bytes) {
    if (bytes.size() > sizeof bytes_ - used_) return false;
    std::copy(bytes.begin(), bytes.end(), bytes_ + used_);
    used_ += bytes.size();
    return true;
  }

  std::uint8_t bytes_[512];
  std::size_t used_ = 0;
  bool fits_ = false;
};

struct Remembered {
  Bytes question;
  Attributes answer;
};

// Two: the daemon asks about an application's template, and the device in the same thread about the daemon's.
thread_local std::array<std::unique_ptr<Remembered>, 2> remembered;
thread_local std::size_t oldest = 0;

const Attributes* Recall(const Question& question) {
  for (const auto& one : remembered) {
    if (one != nullptr && Equal(one->question, question.view())) return &one->answer;
  }
  return nullptr;
}

void Remember(const Question& question, const Attributes& answer) {
  remembered[oldest] = std::make_unique<Remembered>(Remembered{ToBytes(question.view()), answer});
  oldest = (oldest + 1) % remembered.size();
}

}  // namespace

Fallible<Attributes> NewAttributes(const TemplateContext& context, Template given,
                                   CK_MECHANISM_TYPE key_gen_mechanism) {
  const Question question(context, given, key_gen_mechanism);
  if (question.fits()) {
    if (const Attributes* known = Recall(question)) return *known;
  }
  RETURN_IF_ERROR(CheckTemplate(context, given));
  Attributes answer = Complete(context, given, key_gen_mechanism);
  if (question.fits()) Remember(question, answer);
  return answer;
}

}  // namespace cmkd::spec

// Encoder and parser of flat templates. Both count what they have taken, so that depth, number and size stay bounded
// whatever the input says.
#include "pkcs11/spec/template_codec.h"

#include <cstring>

namespace cmkd::spec {
namespace {

constexpr std::size_t kCountBytes = 4;
constexpr std::size_t kHeaderBytes = 16;  // type and length of one attribute

Failure<Error> Malformed(const char* why) { return Fail(CKR_ATTRIBUTE_VALUE_INVALID, std::string("template: ") + why); }

void AppendNumber(Bytes& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

std::uint64_t NumberAt(ByteView bytes, std::size_t offset, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value |= std::uint64_t{bytes[offset + i]} << (8 * i);
  return value;
}

void PutNumber(Bytes& out, std::size_t offset, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

Status AppendTemplate(Bytes& out, std::span<const CK_ATTRIBUTE> attributes, std::size_t depth);

Status AppendNested(Bytes& out, const CK_ATTRIBUTE& attribute, std::size_t depth) {
  if (attribute.ulValueLen % sizeof(CK_ATTRIBUTE) != 0)
    return Malformed("nested length is no multiple of CK_ATTRIBUTE");
  const std::size_t count = attribute.ulValueLen / sizeof(CK_ATTRIBUTE);
  return AppendTemplate(out, {static_cast<const CK_ATTRIBUTE*>(attribute.pValue), count}, depth + 1);
}

Status AppendAttribute(Bytes& out, const CK_ATTRIBUTE& attribute, std::size_t depth) {
  if (attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION) return Malformed("a value without a length");
  if (attribute.pValue == nullptr && attribute.ulValueLen != 0) return Malformed("NULL with a length");
  AppendNumber(out, attribute.type, 8);
  const std::size_t length_at = out.size();
  AppendNumber(out, attribute.ulValueLen, 8);
  if (IsTemplateAttribute(attribute.type)) {
    RETURN_IF_ERROR(AppendNested(out, attribute, depth));
  } else {
    if (attribute.ulValueLen > kTemplateBytesMax) return Malformed("too long");
    const auto* value = static_cast<const std::uint8_t*>(attribute.pValue);
    out.insert(out.end(), value, value + attribute.ulValueLen);
  }
  PutNumber(out, length_at, out.size() - length_at - 8, 8);
  return {};
}

Status AppendTemplate(Bytes& out, std::span<const CK_ATTRIBUTE> attributes, std::size_t depth) {
  if (depth > kTemplateDepthMax) return Malformed("nested too deep");
  if (attributes.size() > kTemplateCountMax) return Malformed("too many attributes");
  AppendNumber(out, attributes.size(), kCountBytes);
  for (const CK_ATTRIBUTE& attribute : attributes) {
    RETURN_IF_ERROR(AppendAttribute(out, attribute, depth));
    if (out.size() > kTemplateBytesMax) return Malformed("too long");
  }
  return {};
}

}  // namespace

bool IsTemplateAttribute(CK_ATTRIBUTE_TYPE type) {
  return type == CKA_WRAP_TEMPLATE || type == CKA_UNWRAP_TEMPLATE || type == CKA_DERIVE_TEMPLATE ||
         type == CKA_ENCAPSULATE_TEMPLATE || type == CKA_DECAPSULATE_TEMPLATE;
}

Fallible<Bytes> EncodeTemplate(std::span<const CK_ATTRIBUTE> attributes) {
  Bytes out;
  RETURN_IF_ERROR(AppendTemplate(out, attributes, 1));
  return out;
}

// Reads forward over the copy that a DecodedTemplate owns and fills its lists. A list is taken before the lists inside
// it are known, so it is filled by index; deque elements stay where they are.
class TemplateParser {
 public:
  explicit TemplateParser(DecodedTemplate& out) : out_(out) {}

  Status ParseAll() {
    ASSIGN_OR_RETURN(const std::size_t end, Parse(0, out_.values_.size(), 1));
    if (end != out_.values_.size()) return Malformed("bytes after its end");
    return {};
  }

 private:
  // Parses the template at `offset` within [offset, limit); its list is lists_[index on entry]. Returns where it ends.
  Fallible<std::size_t> Parse(std::size_t offset, std::size_t limit, std::size_t depth) {
    if (depth > kTemplateDepthMax) return Malformed("nested too deep");
    if (limit - offset < kCountBytes) return Malformed("cut short");
    const std::uint64_t count = NumberAt(out_.values_, offset, kCountBytes);
    if (count > kTemplateCountMax) return Malformed("too many attributes");
    offset += kCountBytes;
    std::vector<CK_ATTRIBUTE>& list = out_.lists_.emplace_back();
    list.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      if (limit - offset < kHeaderBytes) return Malformed("cut short");
      const std::uint64_t type = NumberAt(out_.values_, offset, 8);
      const std::uint64_t length = NumberAt(out_.values_, offset + 8, 8);
      offset += kHeaderBytes;
      if (length > limit - offset) return Malformed("a value longer than the template");
      ASSIGN_OR_RETURN(const CK_ATTRIBUTE attribute, ParseValue(type, offset, length, depth));
      list.push_back(attribute);
      offset += length;
    }
    return offset;
  }

  Fallible<CK_ATTRIBUTE> ParseValue(CK_ATTRIBUTE_TYPE type, std::size_t offset, std::size_t length, std::size_t depth) {
    if (!IsTemplateAttribute(type)) return CK_ATTRIBUTE{type, out_.values_.data() + offset, length};
    const std::size_t index = out_.lists_.size();
    ASSIGN_OR_RETURN(const std::size_t end, Parse(offset, offset + length, depth + 1));
    if (end != offset + length) return Malformed("bytes after the end of a nested template");
    std::vector<CK_ATTRIBUTE>& nested = out_.lists_[index];
    return CK_ATTRIBUTE{type, nested.data(), nested.size() * sizeof(CK_ATTRIBUTE)};
  }

  DecodedTemplate& out_;
};

Fallible<DecodedTemplate> DecodeTemplate(ByteView encoded) {
  if (encoded.size() > kTemplateBytesMax) return Malformed("too long");
  DecodedTemplate decoded(encoded);
  RETURN_IF_ERROR(TemplateParser(decoded).ParseAll());
  return decoded;
}

}  // namespace cmkd::spec

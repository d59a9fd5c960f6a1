// Templates as flat bytes, for the wire and for the store. A list of CK_ATTRIBUTE, of which some hold templates
// themselves (CKA_WRAP_TEMPLATE and its kin), becomes one byte string without pointers and back.
//
//   template  := count:u32  attribute*           (all numbers little endian)
//   attribute := type:u64  length:u64  length bytes
//
// The bytes of a nested template are a template again. What comes in is hostile until it has been parsed to the end.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <vector>

#include "common/bytes.h"
#include "pkcs11/spec/error.h"

namespace cmkd::spec {

inline constexpr std::size_t kTemplateDepthMax = 4;         // a template that holds no other has depth 1
inline constexpr std::size_t kTemplateCountMax = 64;        // attributes in one template, at each depth
inline constexpr std::size_t kTemplateBytesMax = 2u << 20;  // the whole encoding

// Whether the value of this attribute is an array of CK_ATTRIBUTE. By name and not by CKF_ARRAY_ATTRIBUTE, which
// CKA_ALLOWED_MECHANISMS carries too.
bool IsTemplateAttribute(CK_ATTRIBUTE_TYPE type);

// Encodes a template in the form C gives it: pValue of a nested template points to CK_ATTRIBUTEs.
// Errors: CKR_ATTRIBUTE_VALUE_INVALID for a NULL pointer with a length, a nested length that is no multiple of
// sizeof(CK_ATTRIBUTE), CK_UNAVAILABLE_INFORMATION as a length, or anything over the limits above.
Fallible<Bytes> EncodeTemplate(std::span<const CK_ATTRIBUTE> attributes);

// A template that owns what its pointers lead to; the bytes are wiped when it goes. Moving it keeps the pointers good.
class DecodedTemplate {
 public:
  DecodedTemplate(DecodedTemplate&&) noexcept = default;
  DecodedTemplate& operator=(DecodedTemplate&&) = delete;
  DecodedTemplate(const DecodedTemplate&) = delete;
  DecodedTemplate& operator=(const DecodedTemplate&) = delete;
  ~DecodedTemplate() { Wipe(values_); }

  std::span<const CK_ATTRIBUTE> attributes() const { return lists_.front(); }
  // The same for functions that take a CK_ATTRIBUTE_PTR and a count.
  CK_ATTRIBUTE* data() { return lists_.front().data(); }
  CK_ULONG size() const { return lists_.front().size(); }

 private:
  friend Fallible<DecodedTemplate> DecodeTemplate(ByteView encoded);
  friend class TemplateParser;
  explicit DecodedTemplate(ByteView encoded) : values_(ToBytes(encoded)) {}

  Bytes values_;                                 // one copy of the encoding; the pointers lead into it
  std::deque<std::vector<CK_ATTRIBUTE>> lists_;  // the outermost list first; a deque never moves what it holds
};

// Errors: CKR_ATTRIBUTE_VALUE_INVALID when the bytes are not exactly one template within the limits.
Fallible<DecodedTemplate> DecodeTemplate(ByteView encoded);

}  // namespace cmkd::spec

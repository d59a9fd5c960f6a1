// Whether the bytes of one attribute are a value of its kind. What a value means beside others is attribute_rules.h.
#pragma once

#include "pkcs11/spec/attribute_rules.h"
#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/attributes.h"
#include "pkcs11/spec/error.h"

namespace cmkd::spec {

inline constexpr std::size_t kMechanismListMax = 256;  // entries of CKA_ALLOWED_MECHANISMS
inline constexpr std::size_t kNumberBytesMax = 4096;   // of a big integer

// Errors: CKR_ATTRIBUTE_VALUE_INVALID for a wrong size, a boolean that is neither 0 nor 1, a date that is none, a NULL
// pointer with a length; CKR_ATTRIBUTE_TYPE_INVALID for unknown attributes inside a nested template. Any thread.
Status CheckValue(const AttributeRow& row, const CK_ATTRIBUTE& attribute);

// What Complete() gives, but of the defaults only those that say who may see a new object: enough to find attributes
// that contradict each other, for every other default is what an absent attribute counts as.
Attributes WithoutDefaults(const TemplateContext& context, std::span<const CK_ATTRIBUTE> attributes);

}  // namespace cmkd::spec

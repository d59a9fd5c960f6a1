// What cases read of the objects that they have made.
#pragma once

#include <optional>

#include "conformance/trial.h"

namespace cmkd::conformance {

inline std::optional<Bytes> Read(Trial& t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  Bytes value(4096);
  CK_ATTRIBUTE one{type, value.data(), value.size()};
  if (!WANT(t, CKR_OK, t.p11->C_GetAttributeValue(t.session, object, &one, 1))) return std::nullopt;
  value.resize(one.ulValueLen);
  return value;
}
inline bool IsTrue(Trial& t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  return Read(t, object, type) == Bytes{CK_TRUE};
}
inline CK_ULONG Number(Trial& t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  CK_ULONG value = CK_UNAVAILABLE_INFORMATION;
  CK_ATTRIBUTE one{type, &value, sizeof value};
  WANT(t, CKR_OK, t.p11->C_GetAttributeValue(t.session, object, &one, 1));
  return value;
}

}  // namespace cmkd::conformance

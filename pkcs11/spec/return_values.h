// Names of CK_RV values and what each says to the person who reads it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::spec {

struct ReturnValueRow {
  CK_RV rv;
  std::string_view name;      // the standard's, with CKR_
  std::string_view sentence;  // what it means when this product gives it
};

// All values of PKCS#11 3.2, sorted by number.
std::span<const ReturnValueRow> ReturnValues();

// The row of a value or of a name ("CKR_OK"), or nullptr.
const ReturnValueRow* FindReturnValue(CK_RV rv);
const ReturnValueRow* FindReturnValue(std::string_view name);

// The name, or "CK_RV 0x…" for a value that the standard does not have.
std::string ReturnValueName(CK_RV rv);

}  // namespace cmkd::spec

// What a module says about itself, asked once before the cases are planned.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "conformance/module.h"
#include "pkcs11/spec/mechanism_table.h"

namespace cmkd::conformance {

// One mechanism of the token.
struct Offer {
  CK_MECHANISM_TYPE type;
  CK_MECHANISM_INFO info;
  CK_RV info_rv;                  // of C_GetMechanismInfo
  const spec::MechanismRow* row;  // nullptr for one that the table does not have

  bool Does(CK_FLAGS operations) const { return info_rv == CKR_OK && (info.flags & operations) == operations; }
};

struct Survey {
  CK_VERSION list_version{};
  CK_INFO info{};
  CK_TOKEN_INFO token{};
  std::vector<Offer> mechanisms;

  const Offer* Find(CK_MECHANISM_TYPE type) const;
  bool Offers(CK_MECHANISM_TYPE type, CK_FLAGS operations) const;
};

// The standard's name, or the number.
std::string MechanismName(CK_MECHANISM_TYPE type);

// The slot with that token, which must be there and initialised.
Result<CK_SLOT_ID, std::string> FindSlot(const Module& module, const std::string& label);

// Initialises the module, asks, and finalises it again. Errors: what stands in the way of any test.
Result<Survey, std::string> TakeSurvey(const Module& module, const Settings& settings);

// The same in a process of its own, so that the caller never has the module in it.
Result<Survey, std::string> SurveyInChild(const Settings& settings);

}  // namespace cmkd::conformance

// Verdicts: the first thing that goes wrong is the one that is told.
#include "conformance/trial.h"

#include "pkcs11/spec/return_values.h"

namespace cmkd::conformance {
namespace {

// "C_Sign" of "t.p11->C_Sign(…)"; for other expressions their text.
std::string_view CallName(std::string_view text) {
  if (text.find(".Login(") != std::string_view::npos) return "C_Login";
  const std::size_t begin = text.rfind("C_", text.find('('));
  if (begin == std::string_view::npos) return text;
  return text.substr(begin, text.find('(', begin) - begin);
}

std::string Names(std::initializer_list<CK_RV> values) {
  std::string text;
  for (const CK_RV value : values) text += (text.empty() ? "" : " or ") + spec::ReturnValueName(value);
  return text;
}

}  // namespace

bool Trial::Expect(CK_RV got, std::initializer_list<CK_RV> wanted, std::string_view call) {
  for (const CK_RV value : wanted) {
    if (got == value) return true;
  }
  if (outcome_ != Outcome::kPassed) return false;
  if (got == CKR_FUNCTION_NOT_SUPPORTED) {
    NotOffered(std::string(CallName(call)) + " is not supported");
    return false;
  }
  outcome_ = Outcome::kFailed;
  message_ = std::string(CallName(call)) + " gives " + spec::ReturnValueName(got) + ", expected " + Names(wanted);
  return false;
}

bool Trial::ExpectRefusal(CK_RV got, std::string_view call) {
  if (got != CKR_OK && got != CKR_FUNCTION_NOT_SUPPORTED) return true;
  if (got == CKR_FUNCTION_NOT_SUPPORTED) return Expect(got, {}, call);
  return Check(false, std::string(CallName(call)) + " should refuse this");
}

bool Trial::Check(bool fact, std::string_view sentence) {
  if (fact || outcome_ != Outcome::kPassed) return fact;
  outcome_ = Outcome::kFailed;
  message_ = sentence;
  return false;
}

void Trial::NotOffered(std::string_view why) {
  if (outcome_ != Outcome::kPassed) return;
  outcome_ = Outcome::kNotOffered;
  message_ = why;
}

CK_SESSION_HANDLE Trial::OpenSession(CK_FLAGS flags) {
  CK_SESSION_HANDLE opened = 0;
  if (!WANT(*this, CKR_OK, p11->C_OpenSession(slot, CKF_SERIAL_SESSION | flags, nullptr, nullptr, &opened))) return 0;
  return opened;
}

CK_RV Trial::Login(CK_SESSION_HANDLE with, CK_USER_TYPE user, const std::string& pin) {
  return p11->C_Login(with, user, Ptr(pin), pin.size());
}

}  // namespace cmkd::conformance

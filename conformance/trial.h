// What one case works with: the module in the state that the case asked for, and the place for its verdict.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "conformance/domain.h"
#include "conformance/module.h"
#include "conformance/survey.h"

namespace cmkd::conformance {

class Keys;

enum class Outcome {
  kPassed,
  kFailed,
  kNotOffered,  // the module does not have what the case is about, which the standard allows
};

// What a case finds when it begins.
enum class Stage {
  kLoaded,       // loaded, not initialised
  kInitialised,  // initialised, no session
  kPublic,       // a read/write session, nobody logged in
  kUser,         // a read/write session, the user logged in
};

class Trial {
 public:
  Trial(const Module& module, const Settings& told, const Survey& found, Keys& ring)
      : p11(module), settings(told), survey(found), keys(ring) {}
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  const Module& p11;
  const Settings& settings;
  const Survey& survey;
  Keys& keys;
  CK_SLOT_ID slot = 0;
  CK_SESSION_HANDLE session = 0;  // of kPublic and kUser

  // Whether `got` is one of `wanted`. A call that is not offered ends the case as such; anything else unexpected fails
  // it, and the first failure is what is reported. `call` is the text of the call.
  bool Expect(CK_RV got, std::initializer_list<CK_RV> wanted, std::string_view call);
  // The same for anything but success.
  bool ExpectRefusal(CK_RV got, std::string_view call);
  // A fact beside return values. `sentence` says what should have been.
  bool Check(bool fact, std::string_view sentence);
  void NotOffered(std::string_view why);

  // Another session of the slot; 0, and a failed case, when there is none.
  CK_SESSION_HANDLE OpenSession(CK_FLAGS flags = CKF_RW_SESSION);
  CK_RV Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, const std::string& pin);

  Outcome outcome() const { return outcome_; }
  const std::string& message() const { return message_; }

 private:
  Outcome outcome_ = Outcome::kPassed;
  std::string message_;
};

// Never NULL: an empty input is not a missing one.
inline CK_BYTE* Ptr(ByteView bytes) {
  static CK_BYTE none;
  return bytes.empty() ? &none : const_cast<CK_BYTE*>(bytes.data());
}
inline CK_UTF8CHAR* Ptr(const std::string& text) {
  return reinterpret_cast<CK_UTF8CHAR*>(const_cast<char*>(text.data()));
}

}  // namespace cmkd::conformance

// WANT goes on after a wrong return value, NEED leaves the case; both take the call last, so that its commas may stand.
#define WANT(t, rv, ...) (t).Expect((__VA_ARGS__), {rv}, #__VA_ARGS__)
#define NEED(t, rv, ...) \
  if (!WANT(t, rv, __VA_ARGS__)) return
// One of several, in parentheses: WANT_ONE(t, (CKR_A, CKR_B), call).
#define CMKD_UNWRAP(...) __VA_ARGS__
#define WANT_ONE(t, rvs, ...) (t).Expect((__VA_ARGS__), {CMKD_UNWRAP rvs}, #__VA_ARGS__)
#define WANT_REFUSAL(t, ...) (t).ExpectRefusal((__VA_ARGS__), #__VA_ARGS__)

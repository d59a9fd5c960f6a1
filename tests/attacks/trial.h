// Trial: one attack on one token, step by step, and what came of it.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::attacks {

enum class Outcome : unsigned char {
  kHeld,           // a step was refused, or the attack ran to its end and what it was after stayed inside
  kBroken,         // the attacker has what was to be kept from him
  kNotApplicable,  // the token does not have what the attack needs, or the attack cannot be made through calls
};

class Trial {
 public:
  // A step that the attack needs and that is no attack by itself: true when it succeeded. When it did not, the attack
  // could not be tried on this token, and that is the outcome unless something worse is found.
  bool Ready(const std::string& step, CK_RV rv);
  // A step that a token should refuse, with one of the codes of `right`: true when it went through, and the attack goes
  // on.
  bool Through(const std::string& step, CK_RV rv, std::initializer_list<CK_RV> right);
  // The same where going through is itself the break; `loss` says what is lost.
  void MustRefuse(const std::string& step, CK_RV rv, std::initializer_list<CK_RV> right, const std::string& loss);

  void Broken(const std::string& loss);
  // All steps went through, and yet the attacker has nothing.
  void Held(const std::string& why);
  // A part of the attack that this token gives no hold for.
  void NotApplicable(const std::string& why);

  Outcome outcome() const;
  // One line: what refused the attack and with what code, or what was lost, or why it does not apply.
  std::string Summary() const;
  // What is wrong with the trial itself: a refusal with another code than the catalogue's, or no finding at all.
  std::string Complaint() const;

 private:
  static void AddOnce(std::vector<std::string>& list, const std::string& text);

  std::vector<std::string> losses_;
  std::vector<std::string> refusals_;
  std::vector<std::string> findings_;
  std::vector<std::string> unready_;
  std::vector<std::string> wrong_codes_;
};

}  // namespace cmkd::attacks

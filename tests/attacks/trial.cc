// What came of an attack.
#include "tests/attacks/trial.h"

#include <algorithm>

#include "pkcs11/spec/return_values.h"

namespace cmkd::attacks {
namespace {

std::string Joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : "; ") + part;
  return text;
}

std::string Answered(const std::string& step, CK_RV rv) { return step + " " + spec::ReturnValueName(rv); }

}  // namespace

void Trial::AddOnce(std::vector<std::string>& list, const std::string& text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
}

bool Trial::Ready(const std::string& step, CK_RV rv) {
  if (rv != CKR_OK) AddOnce(unready_, "set-up: " + Answered(step, rv));
  return rv == CKR_OK;
}

bool Trial::Through(const std::string& step, CK_RV rv, std::initializer_list<CK_RV> right) {
  if (rv == CKR_OK) return true;
  AddOnce(refusals_, Answered(step, rv));
  if (std::find(right.begin(), right.end(), rv) == right.end()) AddOnce(wrong_codes_, Answered(step, rv));
  return false;
}

void Trial::MustRefuse(const std::string& step, CK_RV rv, std::initializer_list<CK_RV> right, const std::string& loss) {
  if (Through(step, rv, right)) Broken(loss);
}

void Trial::Broken(const std::string& loss) { AddOnce(losses_, loss); }
void Trial::Held(const std::string& why) { AddOnce(findings_, why); }
void Trial::NotApplicable(const std::string& why) { AddOnce(unready_, why); }

Outcome Trial::outcome() const {
  if (!losses_.empty()) return Outcome::kBroken;
  return unready_.empty() ? Outcome::kHeld : Outcome::kNotApplicable;
}

std::string Trial::Summary() const {
  switch (outcome()) {
    case Outcome::kBroken: return Joined(losses_);
    case Outcome::kNotApplicable: return Joined(unready_);
    case Outcome::kHeld: break;
  }
  std::vector<std::string> all = refusals_;
  all.insert(all.end(), findings_.begin(), findings_.end());
  return Joined(all);
}

std::string Trial::Complaint() const {
  if (!wrong_codes_.empty()) return "refused with another code than the catalogue's: " + Joined(wrong_codes_);
  if (losses_.empty() && unready_.empty() && refusals_.empty() && findings_.empty()) return "the trial found nothing";
  return {};
}

}  // namespace cmkd::attacks

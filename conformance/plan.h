// The cases in the order in which they run. Each chapter of the standard adds its own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "conformance/survey.h"
#include "conformance/trial.h"

namespace cmkd::conformance {

struct Case {
  std::string chapter;    // "encryption"
  std::string function;   // "C_Encrypt"
  std::string mechanism;  // "CKM_AES_GCM", or empty
  std::string name;       // "length-query"
  Stage stage;
  std::function<void(Trial&)> body;

  // "C_Encrypt.length-query[CKM_AES_GCM]": names the case in reports and in lists of deviations, for good.
  std::string Id() const { return function + '.' + name + (mechanism.empty() ? "" : '[' + mechanism + ']'); }
};

class Plan {
 public:
  explicit Plan(const Survey& survey) : survey_(survey) {}

  // The cases added from now on belong to this chapter and begin at this stage.
  void Chapter(std::string chapter, Stage stage) {
    chapter_ = std::move(chapter);
    stage_ = stage;
  }
  void Add(std::string function, std::string name, std::function<void(Trial&)> body) {
    AddFor({}, std::move(function), std::move(name), std::move(body));
  }
  void AddFor(std::string mechanism, std::string function, std::string name, std::function<void(Trial&)> body) {
    cases_.push_back({chapter_, std::move(function), std::move(mechanism), std::move(name), stage_, std::move(body)});
  }

  const Survey& survey() const { return survey_; }
  const std::vector<Case>& cases() const { return cases_; }

 private:
  const Survey& survey_;
  std::string chapter_;
  Stage stage_ = Stage::kUser;
  std::vector<Case> cases_;
};

// The chapters, each in chapter_NAME.cc.
void AddGeneralPurpose(Plan& plan);
void AddSlotAndToken(Plan& plan);
void AddSession(Plan& plan);
void AddObject(Plan& plan);
void AddCipher(Plan& plan);
void AddDigest(Plan& plan);
void AddSignature(Plan& plan);
void AddOneTimePasswords(Plan& plan);
void AddDual(Plan& plan);
void AddMessage(Plan& plan);
void AddKeyManagement(Plan& plan);
void AddDerivation(Plan& plan);
void AddEncapsulation(Plan& plan);
void AddProcesses(Plan& plan);

// All of them, in the standard's order. The survey must outlive the plan.
Plan MakePlan(const Survey& survey);

}  // namespace cmkd::conformance

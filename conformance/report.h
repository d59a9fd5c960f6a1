// What came out, for people (text), for programs (JSON) and for the documents (Markdown).
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "common/result.h"
#include "conformance/deviations.h"
#include "conformance/runner.h"

namespace cmkd::conformance {

// One case as reports know it.
struct Verdict {
  std::string id, chapter, function, mechanism, name;
  Outcome outcome;
  std::string message;
  std::string deviation;  // why the module may fail here; empty when no list says so
};

struct Report {
  std::string module;   // what the user calls it: "cmkd", "SoftHSM 2.6.1"
  std::string library;  // what C_GetInfo says
  std::string version;  // of the function list
  std::vector<std::string> mechanisms;
  std::vector<Verdict> verdicts;
  std::vector<Deviation> unseen;  // deviations that no failed case showed

  bool passed() const;
};

Report MakeReport(const std::string& name, const Survey& survey, const std::vector<CaseResult>& results,
                  const std::vector<Deviation>& deviations);

// One line for a case that failed or, when all are wanted, for any.
void PrintCase(std::ostream& out, const CaseResult& result, const std::vector<Deviation>& deviations, bool all);
// Counts by chapter, unexpected failures, deviations that were not seen.
void PrintSummary(std::ostream& out, const Report& report);

std::string ToJson(const Report& report);
Result<Report, std::string> FromJson(const std::string& text);

// The compatibility matrix of several modules: functions, mechanisms, deviations with their reasons.
std::string ToMarkdown(const std::vector<Report>& reports);

}  // namespace cmkd::conformance

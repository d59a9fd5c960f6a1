// The report in memory and as text.
#include "conformance/report.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <ostream>

namespace cmkd::conformance {
namespace {

std::string Trimmed(const CK_UTF8CHAR* text, std::size_t size) {
  std::string trimmed(reinterpret_cast<const char*>(text), size);
  trimmed.erase(trimmed.find_last_not_of(std::string(" \0", 2)) + 1);
  return trimmed;
}

std::string Dotted(CK_VERSION version) { return std::to_string(version.major) + '.' + std::to_string(version.minor); }

const char* Word(Outcome outcome, bool known) {
  switch (outcome) {
    case Outcome::kPassed: return known ? "PASSED though listed" : "ok";
    case Outcome::kFailed: return known ? "known" : "FAIL";
    case Outcome::kNotOffered: return "not offered";
  }
  return "";
}

struct Counts {
  std::size_t passed = 0, known = 0, failed = 0, not_offered = 0;
};

void Count(Counts& counts, const Verdict& verdict) {
  if (verdict.outcome == Outcome::kPassed) ++counts.passed;
  if (verdict.outcome == Outcome::kNotOffered) ++counts.not_offered;
  if (verdict.outcome == Outcome::kFailed) ++(verdict.deviation.empty() ? counts.failed : counts.known);
}

void PrintCounts(std::ostream& out, const std::string& title, const Counts& counts) {
  out << title << std::string(title.size() < 24 ? 24 - title.size() : 1, ' ') << counts.passed << " passed, "
      << counts.failed << " failed, " << counts.known << " known deviations, " << counts.not_offered
      << " not offered\n";
}

}  // namespace

bool Report::passed() const {
  return std::none_of(verdicts.begin(), verdicts.end(), [](const Verdict& verdict) {
    return verdict.outcome == Outcome::kFailed && verdict.deviation.empty();
  });
}

Report MakeReport(const std::string& name, const Survey& survey, const std::vector<CaseResult>& results,
                  const std::vector<Deviation>& deviations) {
  Report report;
  report.module = name;
  report.library = Trimmed(survey.info.manufacturerID, sizeof survey.info.manufacturerID) + ", " +
                   Trimmed(survey.info.libraryDescription, sizeof survey.info.libraryDescription) + ' ' +
                   Dotted(survey.info.libraryVersion);
  report.version = Dotted(survey.list_version);
  for (const Offer& offer : survey.mechanisms) report.mechanisms.push_back(MechanismName(offer.type));
  std::vector<bool> shown(deviations.size());
  for (const CaseResult& result : results) {
    const Case& ran = *result.ran;
    const Deviation* known = FindDeviation(deviations, ran.Id());
    if (known != nullptr && result.outcome == Outcome::kFailed)
      shown[static_cast<std::size_t>(known - deviations.data())] = true;
    report.verdicts.push_back({ran.Id(), ran.chapter, ran.function, ran.mechanism, ran.name, result.outcome,
                               result.message, known == nullptr ? std::string() : known->reason});
  }
  for (std::size_t i = 0; i < deviations.size(); ++i) {
    if (!shown[i]) report.unseen.push_back(deviations[i]);
  }
  return report;
}

void PrintCase(std::ostream& out, const CaseResult& result, const std::vector<Deviation>& deviations, bool all) {
  const Deviation* known = FindDeviation(deviations, result.ran->Id());
  const bool unexpected = result.outcome == Outcome::kFailed && known == nullptr;
  if (!all && !unexpected) return;
  out << Word(result.outcome, known != nullptr) << "  " << result.ran->Id();
  if (!result.message.empty()) out << ": " << result.message;
  out << std::endl;
}

void PrintSummary(std::ostream& out, const Report& report) {
  std::vector<std::pair<std::string, Counts>> chapters;
  Counts all;
  for (const Verdict& verdict : report.verdicts) {
    if (chapters.empty() || chapters.back().first != verdict.chapter) chapters.push_back({verdict.chapter, {}});
    Count(chapters.back().second, verdict);
    Count(all, verdict);
  }
  out << report.module << ": " << report.library << ", PKCS#11 " << report.version << ", " << report.mechanisms.size()
      << " mechanisms\n";
  for (const auto& [chapter, counts] : chapters) PrintCounts(out, "  " + chapter, counts);
  for (const Deviation& deviation : report.unseen)
    out << "  listed, but not seen to fail: " << deviation.pattern << "  (" << deviation.reason << ")\n";
  PrintCounts(out, "all", all);
}

}  // namespace cmkd::conformance

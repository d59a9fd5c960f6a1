// The report as JSON, written and read back: the matrix is made from reports of several runs.
#include <nlohmann/json.hpp>

#include "conformance/report.h"

namespace cmkd::conformance {
namespace {

using nlohmann::json;

constexpr const char* kOutcomes[] = {"passed", "failed", "not offered"};

json VerdictJson(const Verdict& verdict) {
  json one = {{"case", verdict.id},
              {"chapter", verdict.chapter},
              {"function", verdict.function},
              {"name", verdict.name},
              {"outcome", kOutcomes[static_cast<int>(verdict.outcome)]}};
  if (!verdict.mechanism.empty()) one["mechanism"] = verdict.mechanism;
  if (!verdict.message.empty()) one["message"] = verdict.message;
  if (!verdict.deviation.empty()) one["deviation"] = verdict.deviation;
  return one;
}

Outcome OutcomeNamed(const std::string& name) {
  for (int i = 0; i < 3; ++i) {
    if (name == kOutcomes[i]) return static_cast<Outcome>(i);
  }
  return Outcome::kFailed;
}

}  // namespace

std::string ToJson(const Report& report) {
  json all = {{"module", report.module},
              {"library", report.library},
              {"pkcs11", report.version},
              {"mechanisms", report.mechanisms},
              {"passed", report.passed()},
              {"cases", json::array()},
              {"deviations_not_seen", json::array()}};
  for (const Verdict& verdict : report.verdicts) all["cases"].push_back(VerdictJson(verdict));
  for (const Deviation& unseen : report.unseen)
    all["deviations_not_seen"].push_back({{"case", unseen.pattern}, {"reason", unseen.reason}});
  return all.dump(1, ' ', false, json::error_handler_t::replace) + '\n';
}

Result<Report, std::string> FromJson(const std::string& text) {
  const json all = json::parse(text, nullptr, false);
  if (!all.is_object() || !all.contains("cases")) return Failure{std::string("this is no report")};
  Report report;
  report.module = all.value("module", "");
  report.library = all.value("library", "");
  report.version = all.value("pkcs11", "");
  report.mechanisms = all.value("mechanisms", std::vector<std::string>());
  for (const json& one : all["cases"]) {
    report.verdicts.push_back({one.value("case", ""), one.value("chapter", ""), one.value("function", ""),
                               one.value("mechanism", ""), one.value("name", ""),
                               OutcomeNamed(one.value("outcome", "")), one.value("message", ""),
                               one.value("deviation", "")});
  }
  return report;
}

}  // namespace cmkd::conformance

// The compatibility matrix: what a reader looks up. One row for each function and each mechanism, one column for each
// module.
#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "conformance/report.h"
#include "pkcs11/spec/call_table.h"

namespace cmkd::conformance {
namespace {

struct Cell {
  std::size_t passed = 0, known = 0, failed = 0, not_offered = 0;
  bool listed = false;  // a mechanism of the token

  void Add(const Verdict& verdict) {
    if (verdict.outcome == Outcome::kPassed) ++passed;
    if (verdict.outcome == Outcome::kNotOffered) ++not_offered;
    if (verdict.outcome == Outcome::kFailed) ++(verdict.deviation.empty() ? failed : known);
  }
  std::size_t ran() const { return passed + known + failed; }
  std::string Text() const {
    if (ran() == 0) return listed ? "listed" : "–";
    if (passed == ran()) return std::to_string(passed);
    return std::to_string(passed) + " of " + std::to_string(ran());
  }
};

using Row = std::map<std::size_t, Cell>;  // by module

void PrintHead(std::ostream& out, const std::string& first, const std::vector<Report>& reports) {
  out << "| " << first << " |";
  for (const Report& report : reports) out << ' ' << report.module << " |";
  out << "\n|---|";
  for (std::size_t i = 0; i < reports.size(); ++i) out << "---|";
  out << '\n';
}

void PrintRow(std::ostream& out, const std::string& name, const Row& row, std::size_t modules) {
  out << "| " << name << " |";
  for (std::size_t i = 0; i < modules; ++i) {
    const auto cell = row.find(i);
    out << ' ' << (cell == row.end() ? "–" : cell->second.Text()) << " |";
  }
  out << '\n';
}

void PrintModules(std::ostream& out, const std::vector<Report>& reports) {
  out << "| module | library | PKCS#11 | mechanisms | cases passed | known deviations | not offered |\n"
         "|---|---|---|---|---|---|---|\n";
  for (const Report& report : reports) {
    Cell all;
    for (const Verdict& verdict : report.verdicts) all.Add(verdict);
    out << "| " << report.module << " | " << report.library << " | " << report.version << " | "
        << report.mechanisms.size() << " | " << all.passed << " | " << all.known + all.failed << " | "
        << all.not_offered << " |\n";
  }
}

void PrintFunctions(std::ostream& out, const std::vector<Report>& reports) {
  std::map<std::string, Row> rows;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    for (const Verdict& verdict : reports[i].verdicts) {
      Cell& cell = rows[verdict.function][i];
      // What passes for a function that does nothing else says little.
      if (verdict.chapter != "every function" || verdict.outcome != Outcome::kPassed) cell.Add(verdict);
    }
  }
  PrintHead(out, "function", reports);
  for (std::size_t i = 0; i < spec::kStandardCallCount; ++i) {
    const std::string name(spec::kCalls[i].name);
    const auto row = rows.find(name);
    if (row != rows.end()) PrintRow(out, '`' + name + '`', row->second, reports.size());
  }
}

void PrintMechanisms(std::ostream& out, const std::vector<Report>& reports) {
  std::map<std::string, Row> rows;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    for (const Verdict& verdict : reports[i].verdicts) {
      if (verdict.mechanism.empty()) continue;
      Cell& cell = rows[verdict.mechanism][i];
      const bool only_asked = verdict.function == "C_GetMechanismInfo" && verdict.outcome == Outcome::kPassed;
      cell.listed |= only_asked;
      if (!only_asked) cell.Add(verdict);
    }
  }
  PrintHead(out, "mechanism", reports);
  for (const auto& [name, row] : rows) PrintRow(out, '`' + name + '`', row, reports.size());
}

void PrintDeviations(std::ostream& out, const Report& report) {
  std::map<std::string, std::set<std::string>> by_reason;
  for (const Verdict& verdict : report.verdicts) {
    if (verdict.outcome == Outcome::kFailed && !verdict.deviation.empty())
      by_reason[verdict.deviation].insert(verdict.function + '.' + verdict.name);
  }
  if (by_reason.empty()) return;
  out << "\n### " << report.module << "\n\n";
  for (const auto& [reason, cases] : by_reason) {
    out << "- " << reason << " (";
    std::size_t shown = 0;
    for (const std::string& one : cases) out << (shown++ == 0 ? "`" : ", `") << one << '`';
    out << ")\n";
  }
}

}  // namespace

std::string ToMarkdown(const std::vector<Report>& reports) {
  std::ostringstream out;
  out << "# Compatibility matrix\n\n"
         "How PKCS#11 modules answer the cases of `cmkd-conformance`, which holds any module to the standard's text. "
         "Made by\n"
         "`conformance/matrix.sh`; not written by hand. A number counts the cases that passed, *n of m* that some did "
         "not; each of\n"
         "those is listed below with its reason. A dash: the module does not offer it, which the standard allows; "
         "*listed*: it\n"
         "says that it does, and no case tries it.\n\n";
  PrintModules(out, reports);
  out << "\n## Functions\n\n";
  PrintFunctions(out, reports);
  out << "\n## Mechanisms\n\n";
  PrintMechanisms(out, reports);
  out << "\n## Known deviations\n";
  for (const Report& report : reports) PrintDeviations(out, report);
  return out.str();
}

}  // namespace cmkd::conformance

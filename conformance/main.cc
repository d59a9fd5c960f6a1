// cmkd-conformance: holds a PKCS#11 module to the standard. See kUsage.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include "conformance/profiles/profiles.h"
#include "conformance/report.h"

namespace cmkd::conformance {
namespace {

constexpr char kUsage[] =
    R"(usage: cmkd-conformance [OPTION...]             holds a PKCS#11 module to the standard
       cmkd-conformance matrix REPORT.json...    prints one Markdown page of several reports

  --module PATH        the module                              (default: $P11_MODULE)
  --token LABEL        its token; initialised, user PIN set    (default: $P11_TOKEN)
  --pin PIN            the user's PIN                          (default: $P11_PIN)
  --so-pin PIN         the security officer's PIN              (default: $P11_SO_PIN)
  --initialise TEXT    what pReserved of C_Initialize points to, for NSS's softoken   (default: $P11_INITIALISE)
  --name NAME          what reports call the module            (default: what the library calls itself)
  --deviations FILE    what the module is known to do otherwise: a case's name and the reason, one a line
  --profiles DIRECTORY runs the OASIS profile test cases of the directory (NAME.xml) instead; the token must be empty
  --only PATTERN       cases whose names fit, as C_Sign.*
  --json FILE          the report for programs
  --markdown FILE      the report as a page
  --list               prints the names of the cases and runs none
  --verbose            a line for every case

The status is 0 when every case passed that is not a known deviation, 1 when one did not, 2 when nothing could be run.
)";

struct Options {
  Settings settings;
  std::string name, deviations, profiles, only = "*", json, markdown;
  bool list = false, verbose = false, help = false;
};

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// Errors: what is wrong with the command line.
Result<Options, std::string> ReadOptions(const std::vector<std::string>& arguments) {
  Options options;
  options.settings = {FromEnvironment("P11_MODULE"), FromEnvironment("P11_TOKEN"), FromEnvironment("P11_PIN"),
                      FromEnvironment("P11_SO_PIN"), FromEnvironment("P11_INITIALISE")};
  const std::pair<const char*, std::string*> texts[] = {{"--module", &options.settings.module},
                                                        {"--token", &options.settings.token},
                                                        {"--pin", &options.settings.pin},
                                                        {"--so-pin", &options.settings.so_pin},
                                                        {"--initialise", &options.settings.initialise_with},
                                                        {"--name", &options.name},
                                                        {"--deviations", &options.deviations},
                                                        {"--profiles", &options.profiles},
                                                        {"--only", &options.only},
                                                        {"--json", &options.json},
                                                        {"--markdown", &options.markdown}};
  const std::pair<const char*, bool*> flags[] = {
      {"--list", &options.list}, {"--verbose", &options.verbose}, {"--help", &options.help}};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    bool known = false;
    for (const auto& [name, flag] : flags) {
      if (arguments[i] == name) known = *flag = true;
    }
    for (const auto& [name, text] : texts) {
      if (arguments[i] != name) continue;
      if (++i == arguments.size()) return Failure{std::string(name) + " needs a value"};
      *text = arguments[i];
      known = true;
      break;
    }
    if (!known) return Failure{"there is no option " + arguments[i]};
  }
  return options;
}

bool Write(const std::string& path, const std::string& text) {
  if (path.empty()) return true;
  std::ofstream file(path, std::ios::trunc);
  if (file << text << std::flush) return true;
  std::cerr << "cmkd-conformance: cannot write " << path << '\n';
  return false;
}

int Refuse(const std::string& why) {
  std::cerr << "cmkd-conformance: " << why << '\n';
  return 2;
}

int RunMatrix(const std::vector<std::string>& files) {
  std::vector<Report> reports;
  for (const std::string& path : files) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    auto report = FromJson(text.str());
    if (!report.ok()) return Refuse(path + ": " + report.error());
    reports.push_back(std::move(report).value());
  }
  std::cout << ToMarkdown(reports);
  return 0;
}

Plan Selected(const Plan& all, const std::string& pattern) {
  Plan selected(all.survey());
  for (const Case& one : all.cases()) {
    if (!Fits(pattern, one.Id())) continue;
    selected.Chapter(one.chapter, one.stage);
    selected.AddFor(one.mechanism, one.function, one.name, one.body);
  }
  return selected;
}

int RunCases(const Options& options) {
  std::vector<Deviation> deviations;
  if (!options.deviations.empty()) {
    auto read = ReadDeviations(options.deviations);
    if (!read.ok()) return Refuse(read.error());
    deviations = std::move(read).value();
  }
  const auto survey = SurveyInChild(options.settings);
  if (!survey.ok()) return Refuse(survey.error());
  Plan all = options.profiles.empty() ? MakePlan(*survey) : Plan(*survey);
  if (!options.profiles.empty()) {
    if (const auto added = AddProfiles(all, options.profiles); !added.ok()) return Refuse(added.error());
  }
  const Plan plan = Selected(all, options.only);
  if (options.list) {
    for (const Case& one : plan.cases()) std::cout << one.Id() << '\n';
    return 0;
  }
  const auto results = RunPlan(plan, options.settings, [&](const CaseResult& result) {
    PrintCase(std::cout, result, deviations, options.verbose);
  });
  Report report = MakeReport(options.name, *survey, results, deviations);
  if (report.module.empty()) report.module = report.library;
  PrintSummary(std::cout, report);
  if (!Write(options.json, ToJson(report)) || !Write(options.markdown, ToMarkdown({report}))) return 2;
  return report.passed() ? 0 : 1;
}

int Main(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments[0] == "matrix") return RunMatrix({arguments.begin() + 1, arguments.end()});
  const auto options = ReadOptions(arguments);
  if (!options.ok()) return Refuse(options.error());
  if (options->help) {
    std::cout << kUsage;
    return 0;
  }
  if (options->settings.module.empty() || options->settings.token.empty())
    return Refuse("a module and a token are needed; --help says how");
  return RunCases(*options);
}

}  // namespace
}  // namespace cmkd::conformance

int main(int argc, char** argv) { return cmkd::conformance::Main({argv + 1, argv + argc}); }

// Runs the catalogue of attacks on one token of one PKCS#11 module.
//
//   P11_MODULE=… P11_TOKEN=… P11_PIN=… P11_SO_PIN=… attacks [--referee] [--out FILE] [CASE...]
//
// Prints a line for each case: number, outcome (held, broken, n/a), what refused it or was lost. Exit status 1 when a
// case is broken, does not apply without leave, or was refused with another code than the catalogue has; with --referee
// (somebody else's module) only when a case could not be run at all.
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "tests/attacks/cases.h"
#include "tests/attacks/children.h"

namespace cmkd::attacks {
namespace {

const char* Name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kHeld: return "held";
    case Outcome::kBroken: return "broken";
    case Outcome::kNotApplicable: break;
  }
  return "n/a";
}

struct Options {
  bool referee = false;
  bool here = false;  // everything in this process
  std::string out;
  std::vector<std::string> only;
};

bool IsWanted(const Options& options, const Case& attack) {
  return options.only.empty() || std::find(options.only.begin(), options.only.end(), attack.id) != options.only.end();
}

// What makes the run fail: empty when the case is as it should be.
std::string Fault(const Options& options, const Case& attack, const Trial& trial) {
  if (options.referee) return {};
  if (trial.outcome() == Outcome::kBroken) return "broken";
  if (trial.outcome() == Outcome::kNotApplicable && attack.may_not_apply == nullptr) return "could not be tried";
  return trial.Complaint();
}

// One line of a result file: number, outcome, summary.
struct Line {
  std::string text;
  std::string fault;
};

Line RunHere(const Options& options, const Case& attack, Bench& bench) {
  Trial trial;
  if (trial.Ready("C_Login", bench.Begin())) attack.run(bench, trial);
  bench.End();
  return {std::string(attack.id) + '\t' + Name(trial.outcome()) + '\t' + trial.Summary(),
          Fault(options, attack, trial)};
}

// Runs the case in a process of its own; one that does not come back has lost more than a key.
Line RunApart(const Options& options, const Case& attack) {
  char name[] = "/tmp/attack.XXXXXX";
  const int file = ::mkstemp(name);
  if (file >= 0) ::close(file);
  std::vector<std::string> arguments = {"--here", "--out", name, attack.id};
  if (options.referee) arguments.push_back("--referee");
  const int status = RunSelf(arguments, {}, 60);
  Line line;
  std::ifstream in(name);
  std::getline(in, line.text);
  std::getline(in, line.fault);
  ::unlink(name);
  if (status > 1 || line.text.empty()) {
    const std::string how = status >= 128 ? "dies by signal " + std::to_string(status - 128) : "does not come back";
    line = {std::string(attack.id) + "\tbroken\tthe calling process " + how, options.referee ? "" : "broken"};
  }
  return line;
}

int Run(const Options& options) {
  Bench bench;
  if (!bench.trouble().empty()) {
    std::fprintf(stderr, "attacks: %s\n", bench.trouble().c_str());
    return 2;
  }
  std::ofstream out(options.out.empty() ? "/dev/null" : options.out);
  int faults = 0, ran = 0;
  for (const auto& cases :
       {WrappingCases(), AttributeCases(), DerivationCases(), OracleCases(), SessionCases(), WireCases()}) {
    for (const Case& attack : cases) {
      if (!IsWanted(options, attack)) continue;
      const bool apart = (attack.isolated || options.referee) && !options.here;
      const Line line = apart ? RunApart(options, attack) : RunHere(options, attack, bench);
      ++ran;
      out << line.text << '\n';
      if (options.here) out << line.fault << '\n';
      std::printf("%s\n", line.text.c_str());
      if (!line.fault.empty()) std::printf("     FAULT %s: %s [%s]\n", attack.id, line.fault.c_str(), attack.what);
      std::fflush(stdout);
      faults += line.fault.empty() ? 0 : 1;
    }
  }
  std::printf("%d cases, %d faults\n", ran, faults);
  return faults == 0 && ran != 0 ? 0 : 1;
}

void PrintCatalogue() {
  for (const auto& cases :
       {WrappingCases(), AttributeCases(), DerivationCases(), OracleCases(), SessionCases(), WireCases()}) {
    for (const Case& attack : cases) std::printf("%s\t%s\n", attack.id, attack.what);
  }
}

}  // namespace
}  // namespace cmkd::attacks

int main(int argc, char** argv) {
  cmkd::attacks::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--list") {
      cmkd::attacks::PrintCatalogue();
      return 0;
    }
    if (argument == "--part") {
      return cmkd::attacks::RunPart(std::vector<std::string>(argv + i + 1, argv + argc));
    }
    if (argument == "--here") {
      options.here = true;
    } else if (argument == "--referee") {
      options.referee = true;
    } else if (argument == "--out" && i + 1 < argc) {
      options.out = argv[++i];
    } else {
      options.only.push_back(argument);
    }
  }
  return cmkd::attacks::Run(options);
}

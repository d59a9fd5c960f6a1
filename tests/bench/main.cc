// cmkd-bench: measures any PKCS#11 module. One line for each case on standard output, tab-separated; compare.sh runs it
// for several modules in turns and makes the table.
#include <CLI/CLI.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <optional>

#include "tests/bench/floor.h"
#include "tests/bench/idle.h"
#include "tests/bench/measure.h"

namespace {

using namespace cmkd::bench;

// In a process of its own: a module must not have been loaded where children are forked.
int InChild(const std::function<void()>& work) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    try {
      work();
      ::_exit(0);
    } catch (const std::exception& e) {
      std::cerr << "cmkd-bench: " << e.what() << '\n';
      ::_exit(1);
    }
  }
  int status = 1;
  ::waitpid(pid, &status, 0);
  return status;
}

// Columns of a result, in the order of Print.
constexpr char kHeader[] =
    "contender\tcase\tthreads\tprocesses\tkeys\tversions\tidle\truns\tp50\tp90\tp99\tp999\tmax\tslow_share\t"
    "per_second\tmb_per_second";

void Print(const std::string& name, const Case& which, const Load& load, const CaseOptions& options, std::size_t idle,
           const Figures& f) {
  const double per_second = static_cast<double>(f.runs) / f.seconds;
  std::printf("%s\t%s\t%u\t%u\t%zu\t%zu\t%zu\t%lu\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.6f\t%.1f\t%.1f\n", name.c_str(),
              which.name, load.threads, load.processes, options.keys, options.versions, idle,
              static_cast<unsigned long>(f.runs), f.Quantile(0.5), f.Quantile(0.9), f.Quantile(0.99), f.Quantile(0.999),
              f.times.empty() ? 0 : f.times.back(), f.ShareBeyond(10 * f.Quantile(0.5)), per_second,
              per_second * static_cast<double>(which.bytes) / 1e6);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  TokenOptions token;
  CaseOptions options;
  Load load;
  std::string name = "module";
  std::vector<std::string> wanted;
  unsigned milliseconds = 200;
  std::size_t idle = 0;
  std::optional<unsigned> floor_us;
  bool only_prepare = false;
  bool header = false;
  bool list = false;
  CLI::App app(
      "Measures a PKCS#11 module. Columns: contender, case, threads, processes, keys, runs, then microseconds "
      "of one run: p50, p90, p99, p99.9, max; the share of runs that took over ten times p50; then runs per second of "
      "all together, and MB/s.");
  app.add_option("--module", token.module, "Path of the module");
  app.add_option("--token", token.label, "Label of the token (the first that is initialised)");
  app.add_option("--pin", token.pin, "The user's PIN; none: no login");
  app.add_option("--init-string", token.init_string, "NSS: parameters of C_Initialize");
  app.add_option("--name", name, "First column");
  app.add_option("--case", wanted, "Cases (all)");
  app.add_option("--threads", load.threads, "Threads of each process")->check(CLI::Range(1u, 1000u));
  app.add_option("--processes", load.processes, "Processes")->check(CLI::Range(1u, 1000u));
  app.add_option("--time", milliseconds, "Milliseconds for each case");
  app.add_option("--runs", load.runs_max, "At most so many runs of each case and thread");
  app.add_option("--keys", options.keys, "Keys to find one among; those that are missing are made");
  app.add_option("--versions", options.versions, "How many versions the key bench-rotated-VERSIONS has");
  app.add_option("--old", options.old_ciphertext, "File with what its first version sealed; made where it is missing")
      ->needs(app.get_option("--versions"));
  app.add_option("--idle", idle, "So many processes are connected and do nothing meanwhile");
  app.add_flag("--prepare", only_prepare, "Make the keys and the file of --old where they are missing, and end");
  app.add_option("--floor", floor_us,
                 "No module: two processes that hand each other a word, so many microseconds of computing between")
      ->check(CLI::Range(0u, 1000u));
  app.add_flag("--header", header, "Print the names of the columns and end");
  app.add_flag("--list", list, "Print cases, what they need and their titles, and end");
  CLI11_PARSE(app, argc, argv);
  load.time = std::chrono::milliseconds(milliseconds);
  if (header) {
    std::puts(kHeader);
    return 0;
  }
  if (list) {
    for (const Case& each : Cases()) std::printf("%s\t%s\t%s\n", each.name, each.needs, each.title);
    return 0;
  }
  if (floor_us) {
    const Case ping_pong{"ping-pong", "", 0, 0, "", nullptr};
    constexpr std::chrono::microseconds kSpin{50};
    Print(name, ping_pong, load, options, idle, PingPong(std::chrono::nanoseconds(*floor_us * 1000), kSpin, load));
    return 0;
  }
  const auto prepare = [&] {
    const Token opened(token);
    MakeKeys(opened);
    Fill(opened, options.keys);
    if (!options.old_ciphertext.empty()) KeepSealed(opened, RotatedLabel(options.versions), options.old_ciphertext);
  };
  if (InChild(prepare) != 0) return 1;
  if (only_prepare) return 0;
  int status = 0;
  std::optional<IdleClients> others;
  try {
    others.emplace(token, idle);
  } catch (const std::exception& e) {
    std::cerr << "cmkd-bench: " << name << ": " << e.what() << '\n';
    return 1;
  }
  for (const Case& each : Cases()) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), each.name) == wanted.end()) continue;
    try {
      std::string left_out;
      const auto figures = Measure(token, each, options, load, left_out);
      if (figures)
        Print(name, each, load, options, idle, *figures);
      else
        std::cerr << "cmkd-bench: " << name << ": " << each.name << " is left out: " << left_out << '\n';
    } catch (const std::exception& e) {
      std::cerr << "cmkd-bench: " << name << ": " << each.name << ": " << e.what() << '\n';
      status = 1;
    }
  }
  return status;
}

// The matrix of faults: every function that the daemon calls on a device × every return value of the standard × before
// and after its effect, and lost sessions, lost logins, wrong lengths, calls that hang and devices that go out, while a
// program of several threads is at work. Nothing that was acknowledged is lost, no answer is wrong or undefined, one
// fault is at most one error of a thread, the daemon lives, and everything works when the fault is over.
//
// Which functions those are is not written down here: the simulated device tells which it is called with.
//
//   CMKD_FAULT_CELLS   how many cells are run: a number (a sample, the same for the same seed) or "all"
//   CMKD_FAULT_SLICE   I/N: only each N-th of them, from the I-th (0…N-1)
//   CMKD_FAULT_SEED    which sample, and which of several calls fails (1)
//   CMKD_CALL_SECONDS  what the sandbox was given as --hsm-call-seconds: a call that hangs takes longer (10)
//   CMKD_FAULT_CELL    only cells whose name has this in it: "C_Sign: CKR_DEVICE_MEMORY after"
//
// Runs inside `cmkctl sandbox --hsm firmware_sim --faults FILE --hsm-call-seconds 10`.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "pkcs11/spec/return_values.h"
#include "tests/faults/program.h"

namespace cmkd::tests {
namespace {

using std::chrono::steady_clock;

// In what the daemon is engaged when it calls a function, and what makes it do so.
enum class Occasion { kWork, kReconnection, kRestart };
constexpr const char* kTriggers[] = {"", "on C_EncryptInit times 1 drop-sessions",
                                     "on C_EncryptInit times 1 power-cut"};

struct Cell {
  std::string name;  // "C_Sign: CKR_DEVICE_ERROR before"
  std::string function;
  std::string action;  // as a script has it
  Occasion occasion = Occasion::kWork;
  int calls = 1;  // of the function, in one round
};

std::uint64_t Mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}
std::uint64_t HashOf(const std::string& text, std::uint64_t seed) {
  std::uint64_t hash = Mix(seed);
  for (const char c : text) hash = Mix(hash ^ static_cast<std::uint8_t>(c));
  return hash;
}

// All that can happen to a call. Lengths are told by a few functions; a call that hangs is longer than the daemon
// waits.
std::vector<std::string> Actions() {
  std::vector<std::string> actions;
  for (const spec::ReturnValueRow& row : spec::ReturnValues()) {
    if (row.rv == CKR_OK) continue;
    for (const char* when : {" before", " after"}) actions.push_back("return " + std::string(row.name) + when);
  }
  for (const char* effect : {"drop-sessions", "logout", "power-cut"}) {
    for (const char* when : {" before", " after"}) actions.push_back(std::string(effect) + when);
  }
  for (const char* length : {"+1", "-1", "=0", "+100000"}) actions.push_back(std::string("length ") + length);
  actions.push_back("delay " + std::to_string(NumberFrom("CMKD_CALL_SECONDS", 10)) + ".5s");
  return actions;
}

class Matrix : public FaultProgram {
 protected:
  void SetUp() override {
    for (const char* name : {"CMKD_FAULTS", "CMKD_SANDBOX_DIR"}) ASSERT_NE(std::getenv(name), nullptr) << name;
    Script("");
    FaultProgram::SetUp();
  }

  // Replaced as a whole, so that the device never reads half of it.
  void Script(const std::string& text) {
    const std::string path = std::getenv("CMKD_FAULTS");
    std::ofstream(path + ".new", std::ios::trunc) << "# " << ++serial_ << "\nseed " << seed_ << '\n' << text << '\n';
    ASSERT_EQ(std::rename((path + ".new").c_str(), path.c_str()), 0);
    std::remove(CountsFile().c_str());
  }
  static std::string CountsFile() { return std::string(std::getenv("CMKD_SANDBOX_DIR")) + "/hsm/fault-counts"; }
  // How often each rule of the script has been met, and how often it did something; empty as long as none did.
  static std::vector<std::pair<int, int>> Counts() {
    std::ifstream file(CountsFile());
    std::string fingerprint, begun;
    std::vector<std::pair<int, int>> counts;
    if (!(file >> fingerprint >> begun)) return {};
    for (std::pair<int, int> count; file >> count.first >> count.second;) counts.push_back(count);
    return counts;
  }

  void Rounds() {
    Everybody([this](Client& client) { client.Round(&client == clients_.front().get()); });
  }
  // Which functions are called in one round on this occasion, and how often.
  std::map<std::string, int> Probe(Occasion occasion) {
    std::string script;
    std::vector<std::string> names;
    for (const spec::CallRow& row : spec::kCalls) {
      if (row.arity == 0) continue;
      script += "on " + std::string(row.name) + " length +0\n";
      names.emplace_back(row.name);
    }
    Script(script + kTriggers[static_cast<int>(occasion)]);
    Rounds();
    std::map<std::string, int> called;
    const auto counts = Counts();
    for (std::size_t i = 0; i < names.size() && i < counts.size(); ++i) {
      if (counts[i].first != 0) called[names[i]] = counts[i].first;
    }
    Script("");
    for (auto& client : clients_) client->TakeErrors();
    return called;
  }

  std::vector<Cell> AllCells() {
    std::vector<Cell> cells;
    std::set<std::string> known;
    for (const Occasion occasion : {Occasion::kWork, Occasion::kReconnection, Occasion::kRestart}) {
      for (const auto& [function, calls] : Probe(occasion)) {
        if (!known.insert(function).second) continue;
        for (const std::string& action : Actions())
          cells.push_back({function + ": " + action, function, action, occasion, calls});
      }
    }
    std::printf("%zu functions, %zu cells; seed %llu\n", known.size(), cells.size(),
                static_cast<unsigned long long>(seed_));
    functions_ = known;
    return cells;
  }

  // Those that this run is about. A sample has cells of every function.
  std::vector<Cell> Chosen(std::vector<Cell> cells) const {
    const char* only = std::getenv("CMKD_FAULT_CELL");
    if (only != nullptr) {
      std::erase_if(cells, [&](const Cell& cell) { return cell.name.find(only) == std::string::npos; });
      return cells;
    }
    const std::string wanted = std::getenv("CMKD_FAULT_CELLS") == nullptr ? "160" : std::getenv("CMKD_FAULT_CELLS");
    if (wanted != "all") {
      std::map<std::string, std::vector<Cell>> by_function;
      for (Cell& cell : cells) by_function[cell.function].push_back(std::move(cell));
      cells.clear();
      const std::size_t each =
          std::max<std::size_t>(1, std::stoul(wanted) / std::max<std::size_t>(1, by_function.size()));
      for (auto& [function, own] : by_function) {
        std::sort(own.begin(), own.end(),
                  [&](const Cell& a, const Cell& b) { return HashOf(a.name, seed_) < HashOf(b.name, seed_); });
        own.resize(std::min(each, own.size()));
        cells.insert(cells.end(), own.begin(), own.end());
      }
    }
    if (const char* slice = std::getenv("CMKD_FAULT_SLICE"); slice != nullptr) {
      std::size_t mine = 0, of = 1;
      EXPECT_EQ(std::sscanf(slice, "%zu/%zu", &mine, &of), 2);
      std::vector<Cell> kept;
      for (std::size_t i = mine; i < cells.size(); i += of) kept.push_back(cells[i]);
      return kept;
    }
    return cells;
  }

  // Whether the fault happened.
  bool Run(const Cell& cell) {
    const auto skip = static_cast<int>(HashOf(cell.name, seed_) % static_cast<std::uint64_t>(cell.calls));
    // Which calls there are depends on what is cached; the first ones are always there, at the latest for a new
    // standing with the device.
    struct Attempt {
      int skipped;
      Occasion occasion;
    };
    bool fired = false;
    for (const Attempt attempt :
         {Attempt{skip, cell.occasion}, Attempt{0, cell.occasion}, Attempt{0, Occasion::kReconnection}}) {
      occasion_ = attempt.occasion;
      Script("on " + cell.function + " skip " + std::to_string(attempt.skipped) + " times 1 " + cell.action + '\n' +
             kTriggers[static_cast<int>(occasion_)] + (cell.action.starts_with("delay") ? kTell : ""));
      Rounds();
      const auto counts = Counts();
      fired = !counts.empty() && counts.front().second != 0;
      if (fired) break;
    }
    return fired;
  }

  void Judge(const std::string& action) {
    // While a new standing with the device is made, an error of the device is one of the making, and the program is
    // told that the device is away until it works; and so it is when the device goes out of service.
    const bool goes_out = action.starts_with("power-cut") || action.find("FIPS_SELF_TEST_FAILED") != std::string::npos;
    const bool many = occasion_ != Occasion::kWork || goes_out;
    for (auto& client : clients_) {
      const std::vector<Told> errors = client->TakeErrors();
      const bool too_many = !many && errors.size() > 1;
      EXPECT_FALSE(too_many) << "one fault was more than one error of a thread";
      most_ = many ? most_ : std::max(most_, errors.size());
      errors_ += errors.size();
      for (const Told& told : errors) EXPECT_TRUE(IsDefined(told)) << Describe(told);
      if (too_many) {
        for (const Told& told : errors) std::printf("  %s\n", Describe(told).c_str());
      }
    }
    EXPECT_TRUE(DaemonLives()) << "the daemon is gone";
  }

  // A delay alone is not counted on disk; something else must happen for the counts to be written.
  static constexpr const char* kTell = "\non C_* length +0";

  const std::uint64_t seed_ = static_cast<std::uint64_t>(NumberFrom("CMKD_FAULT_SEED", 1));
  int serial_ = 0;
  Occasion occasion_ = Occasion::kWork;  // of the cell that ran last
  std::set<std::string> functions_;
  std::size_t errors_ = 0, most_ = 0;
};

TEST_F(Matrix, OneFaultIsAtMostOneDefinedErrorAndNothingIsLost) {
  const std::vector<Cell> cells = Chosen(AllCells());
  ASSERT_FALSE(cells.empty());
  EXPECT_GE(functions_.size(), 40u) << "the program reaches few functions of the device";
  std::vector<std::string> failed, unreached;
  const auto begun = steady_clock::now();
  for (const Cell& cell : cells) {
    const int before = ::testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
    if (!Run(cell)) unreached.push_back(cell.name);
    Judge(cell.action);
    if (::testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count() != before) {
      std::printf("FAILED CELL: CMKD_FAULT_SEED=%llu CMKD_FAULT_CELL='%s'\n", static_cast<unsigned long long>(seed_),
                  cell.name.c_str());
      std::fflush(stdout);
      failed.push_back(cell.name);
      if (failed.size() == 25) break;
    }
  }
  Script("");
  Rounds();
  for (auto& client : clients_) {
    EXPECT_TRUE(client->TakeErrors().empty()) << "the faults are over and it still fails";
    client->CheckKept();
  }
  EXPECT_TRUE(DaemonLives());
  EXPECT_EQ(Cmkctl("hsm reconcile"), 0) << "something is out of place";
  for (const std::string& name : unreached) std::printf("not reached: %s\n", name.c_str());
  EXPECT_LE(unreached.size(), cells.size() / 50) << "faults that did not happen";
  const auto took = std::chrono::duration_cast<std::chrono::seconds>(steady_clock::now() - begun).count();
  std::printf(
      "cells: %zu; failed: %zu; not reached: %zu; errors of the program: %zu, at most %zu of one thread for "
      "one fault; %lld s\n",
      cells.size(), failed.size(), unreached.size(), errors_, most_, static_cast<long long>(took));
}

}  // namespace
}  // namespace cmkd::tests

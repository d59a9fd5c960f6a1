// Scripts of faults: what the parser takes, where it says that a line is wrong, and that a plan is repeatable.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "firmware_sim/faults/plan.h"

namespace cmkd::sim::faults {
namespace {

using namespace std::chrono_literals;
using spec::CallId;

Script Parse(std::string_view text) {
  auto script = ParseScript(text);
  EXPECT_TRUE(script.ok()) << (script.ok() ? "" : script.error().what);
  return script.ok() ? *script : Script{};
}

TEST(FaultScript, TakesWhatItsHeaderShows) {
  const Script script = Parse(
      "# an outage\n"
      "seed 42\n"
      "\n"
      "on C_Encrypt,C_Sign* skip 100 times 3 return CKR_DEVICE_ERROR before  # twice\n"
      "on * chance 5% delay exponential 4ms\r\n"
      "on flash step 3 times 1 power-cut\n"
      "on entropy from 1.5s until 2m stuck\n"
      "on C_Decrypt length -1\n"
      "on C_Login every 2 drop-sessions after");
  EXPECT_EQ(script.seed, 42u);
  ASSERT_EQ(script.rules.size(), 6u);
  const Rule& first = script.rules[0];
  EXPECT_EQ(first.line, 4u);
  EXPECT_TRUE(first.calls.test(spec::Index(CallId::C_Encrypt)));
  EXPECT_TRUE(first.calls.test(spec::Index(CallId::C_SignFinal)));
  EXPECT_FALSE(first.calls.test(spec::Index(CallId::C_EncryptInit)));
  EXPECT_EQ(first.skip, 100u);
  EXPECT_EQ(first.times, 3u);
  EXPECT_EQ(first.rv, CKR_DEVICE_ERROR);
  EXPECT_EQ(script.rules[1].chance, 50'000u);
  EXPECT_EQ(script.rules[1].first, 4ms);
  EXPECT_TRUE(script.rules[1].calls.test(spec::Index(CallId::C_Initialize)));
  EXPECT_EQ(script.rules[2].point, Point::kFlash);
  EXPECT_EQ(script.rules[2].step, 3u);
  EXPECT_EQ(script.rules[3].from, 1500ms);
  EXPECT_EQ(script.rules[3].noise, Noise::kStuck);
  EXPECT_EQ(script.rules[4].length, -1);
  EXPECT_EQ(script.rules[5].when, When::kAfter);
}

TEST(FaultScript, TheExamplesOfTheDocumentAreRight) {
  std::ifstream document(std::string(CMKD_SOURCE_DIR) + "/docs/faults.md");
  ASSERT_TRUE(document);
  int examples = 0;
  for (std::string line; std::getline(document, line);) {
    const bool rule = line.starts_with("on ") || line.starts_with("seed ");
    if (!rule || line.starts_with("on WHERE") || line == "seed NUMBER") continue;
    const auto script = ParseScript(line);
    EXPECT_TRUE(script.ok()) << line << ": " << (script.ok() ? "" : script.error().what);
    ++examples;
  }
  EXPECT_GE(examples, 8);
}

struct Wrong {
  const char* text;
  std::uint32_t line;
  const char* says;
};

TEST(FaultScript, SaysWhichLineIsWrongAndWhy) {
  const Wrong kWrong[] = {
      {"when C_Sign tamper", 1, "begins with"},
      {"seed 1\non C_Sing tamper", 2, "\"C_Sing\" is no function"},
      {"on", 1, "is no function"},
      {"on C_Sign", 1, "neither a condition nor an action"},
      {"on C_Sign,,C_Verify tamper", 1, "is no function"},
      {"on C_Sign,flash tamper", 1, "\"flash\" is no function"},
      {"on C_Sign return", 1, "is no error"},
      {"on C_Sign return CKR_OK", 1, "is no error"},
      {"on C_Sign return CKR_NONSENSE", 1, "CKR_NONSENSE"},
      {"on C_Sign return CKR_DEVICE_ERROR sometimes", 1, "\"sometimes\" is too much"},
      {"on C_Sign skip -1 tamper", 1, "expected a number"},
      {"on C_Sign times 0 tamper", 1, "expected a number"},
      {"on C_Sign every 99999999999999999999 tamper", 1, "expected a number"},
      {"on C_Sign chance 0% tamper", 1, "expected a chance"},
      {"on C_Sign chance 101% tamper", 1, "expected a chance"},
      {"on C_Sign chance 5 tamper", 1, "expected a chance"},
      {"on C_Sign delay 5", 1, "expected a duration"},
      {"on C_Sign delay 61m", 1, "expected a duration"},
      {"on C_Sign delay uniform 2ms 1ms", 1, "longest delay"},
      {"on C_Sign delay .ms", 1, "expected a duration"},
      {"on C_Sign from 2s until 1s tamper", 1, "ends before"},
      {"on C_Sign length 5", 1, "expected a length"},
      {"on C_Sign length +99999999", 1, "expected a number"},
      {"on C_Sign step 2 tamper", 1, "neither a condition"},
      {"on flash tamper", 1, "cannot happen to the flash"},
      {"on flash step 0 power-cut", 1, "expected a number"},
      {"on flash power-cut after", 1, "too much"},
      {"on entropy return CKR_DEVICE_ERROR", 1, "cannot happen to the noise source"},
      {"on C_Sign stuck", 1, "cannot happen to a function"},
      {"seed", 1, "expected a number"},
      {"seed 1 2", 1, "too much"},
  };
  for (const Wrong& wrong : kWrong) {
    const auto script = ParseScript(wrong.text);
    ASSERT_FALSE(script.ok()) << wrong.text;
    EXPECT_EQ(script.error().line, wrong.line) << wrong.text;
    EXPECT_NE(script.error().what.find(wrong.says), std::string::npos) << wrong.text << ": " << script.error().what;
  }
}

TEST(FaultScript, HasBounds) {
  std::string rules;
  for (std::size_t i = 0; i < kRulesMax; ++i) rules += "on * tamper\n";
  EXPECT_TRUE(ParseScript(rules).ok());
  const auto one_more = ParseScript(rules + "on * tamper\n");
  ASSERT_FALSE(one_more.ok());
  EXPECT_EQ(one_more.error().line, kRulesMax + 1);
  EXPECT_FALSE(ParseScript(std::string(kScriptBytesMax + 1, ' ')).ok());
}

// Any text is taken or refused with a line that it has; what is taken keeps to the bounds. The words are those of the
// language, so that many lines are nearly right.
TEST(FaultScript, AnyTextIsTakenOrRefusedWithItsLine) {
  static constexpr const char* kWords[] = {
      "on",     "seed",  "C_Sign", "C_*",  "*",         "flash",  "entropy", "zeroize",
      "skip",   "times", "every",  "from", "until",     "chance", "step",    "1",
      "0",      "5%",    "3ms",    "1.5s", "return",    "delay",  "length",  "+1",
      "normal", "after", "before", "\n",   "power-cut", "stuck",  "tamper",  "CKR_DEVICE_ERROR",
      "#",      "\xff",  "uniform"};
  std::mt19937 random(7);
  std::size_t taken = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = "on ";
    for (std::size_t n = random() % 12; n > 0; --n) text += std::string(kWords[random() % std::size(kWords)]) + ' ';
    const auto script = ParseScript(text);
    if (!script.ok()) {
      const auto lines = static_cast<std::uint32_t>(std::count(text.begin(), text.end(), '\n') + 1);
      EXPECT_GE(script.error().line, 1u);
      EXPECT_LE(script.error().line, lines);
      EXPECT_FALSE(script.error().what.empty());
      continue;
    }
    ++taken;
    for (const Rule& rule : script->rules) {
      EXPECT_TRUE(rule.point != Point::kCall || rule.calls.any());
      EXPECT_LE(rule.first, kDurationMax);
      EXPECT_LT(rule.from, rule.until);
      EXPECT_GE(rule.every, 1u);
      EXPECT_EQ(rule.action == Action::kReturn, rule.rv != CKR_OK);
    }
  }
  EXPECT_GT(taken, 10u);
}

Event Call(CallId call, std::chrono::nanoseconds time = 0s) {
  Event event;
  event.call = call;
  event.time = time;
  return event;
}

// The numbers, from 1, of the events at which the only rule returns its code.
std::vector<int> Fired(const Script& script, int events) {
  Counts counts(script.rules.size());
  std::vector<int> fired;
  for (int i = 1; i <= events; ++i) {
    if (Decide(script, counts, Call(CallId::C_Sign)).refuse != CKR_OK) fired.push_back(i);
  }
  return fired;
}

TEST(FaultPlan, CountsAsTheScriptSays) {
  EXPECT_EQ(Fired(Parse("on C_Sign skip 2 times 3 return CKR_DEVICE_ERROR"), 10), (std::vector{3, 4, 5}));
  EXPECT_EQ(Fired(Parse("on C_Sign skip 1 every 3 times 3 return CKR_DEVICE_ERROR"), 20), (std::vector{2, 5, 8}));
  EXPECT_TRUE(Fired(Parse("on C_Verify return CKR_DEVICE_ERROR"), 10).empty());
}

TEST(FaultPlan, ChanceIsSeededAndNearWhatWasAsked) {
  const std::string rule = "on C_Sign chance 10% return CKR_DEVICE_ERROR";
  const std::vector<int> once = Fired(Parse("seed 5\n" + rule), 20'000);
  EXPECT_EQ(once, Fired(Parse("seed 5\n" + rule), 20'000));
  EXPECT_NE(once, Fired(Parse("seed 6\n" + rule), 20'000));
  EXPECT_NEAR(static_cast<double>(once.size()), 2000, 200);
}

TEST(FaultPlan, WhatOtherCallsDoDoesNotMoveARule) {
  const Script script = Parse("on C_Sign chance 50% return CKR_DEVICE_ERROR");
  Counts counts(1);
  std::vector<int> fired;
  for (int i = 1; i <= 100; ++i) {
    for (int other = 0; other < i % 5; ++other) (void)Decide(script, counts, Call(CallId::C_Verify));
    if (Decide(script, counts, Call(CallId::C_Sign)).refuse != CKR_OK) fired.push_back(i);
  }
  EXPECT_EQ(fired, Fired(script, 100));
}

TEST(FaultPlan, DelaysFollowTheirSpread) {
  const auto mean = [](const std::string& text) {
    const Script script = Parse("on C_Sign delay " + text);
    Counts counts(1);
    double sum = 0;
    for (int i = 0; i < 5000; ++i)
      sum += static_cast<double>(Decide(script, counts, Call(CallId::C_Sign)).delay.count());
    return sum / 5000 / 1e6;
  };
  EXPECT_EQ(mean("3ms"), 3);
  EXPECT_NEAR(mean("uniform 2ms 4ms"), 3, 0.1);
  EXPECT_NEAR(mean("normal 10ms 1ms"), 10, 0.1);
  EXPECT_NEAR(mean("exponential 5ms"), 5, 0.4);
}

TEST(FaultPlan, TimeAndPointsAreKept) {
  const Script script =
      Parse("on C_Sign from 1s until 2s tamper\non flash step 2 power-cut\non zeroize skip 1 power-cut");
  Counts counts(3);
  EXPECT_FALSE(Decide(script, counts, Call(CallId::C_Sign, 999ms)).before.tamper);
  EXPECT_TRUE(Decide(script, counts, Call(CallId::C_Sign, 1s)).before.tamper);
  EXPECT_FALSE(Decide(script, counts, Call(CallId::C_Sign, 2s)).before.tamper);
  Event event;
  event.point = Point::kFlash;
  EXPECT_FALSE(Decide(script, counts, event).before.power_cut);
  event.step = 2;
  EXPECT_TRUE(Decide(script, counts, event).before.power_cut);
  event.point = Point::kZeroize;
  EXPECT_FALSE(Decide(script, counts, event).before.power_cut);
  EXPECT_TRUE(Decide(script, counts, event).before.power_cut);
}

TEST(FaultPlan, LengthsNeverFallBelowNothing) {
  EXPECT_EQ((Length{-5, false}).Of(3), 0u);
  EXPECT_EQ((Length{5, false}).Of(3), 8u);
  EXPECT_EQ((Length{7, true}).Of(3), 7u);
  EXPECT_LE((Length{5, false}).Of(~CK_ULONG{0}), (1ULL << 40) + 5);
}

}  // namespace
}  // namespace cmkd::sim::faults

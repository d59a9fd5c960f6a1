// Scripts of faults for the simulated device. Input: a script. Whatever is taken keeps to its bounds and gives a plan
// that is repeatable; whatever is refused is refused with a line that the script has.
#include "firmware_sim/faults/plan.h"

#include "common/bytes.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cmkd::sim::faults;
  const std::string_view text = cmkd::AsText({data, size});
  const auto script = ParseScript(text);
  if (!script.ok()) {
    std::uint32_t lines = 1;
    for (const char c : text) lines += c == '\n' ? 1 : 0;
    FUZZ_CHECK(script.error().line <= lines);
    FUZZ_CHECK(!script.error().what.empty());
    for (const char c : script.error().what) FUZZ_CHECK(c >= 0x20 && c < 0x7f);
    return 0;
  }
  FUZZ_CHECK(script->rules.size() <= kRulesMax);
  for (const Rule& rule : script->rules) {
    FUZZ_CHECK(rule.point != Point::kCall || rule.calls.any());
    FUZZ_CHECK(rule.first <= kDurationMax && rule.second <= kDurationMax && rule.from < rule.until);
    FUZZ_CHECK(rule.every >= 1 && rule.chance >= 1 && rule.chance <= kAlways && rule.step >= 1);
    FUZZ_CHECK((rule.action == Action::kReturn) == (rule.rv != CKR_OK));
  }
  Counts once(script->rules.size());
  Counts again = once;
  for (int i = 0; i < 8; ++i) {
    Event event;
    event.point = static_cast<Point>(i % 4);
    event.call = cmkd::spec::kCalls[static_cast<std::size_t>(i)].id;
    event.time = std::chrono::milliseconds(i);
    const Decision first = Decide(*script, once, event);
    const Decision second = Decide(*script, again, event);
    FUZZ_CHECK(first.delay == second.delay && first.line == second.line && first.refuse == second.refuse);
    FUZZ_CHECK(first.delay.count() >= 0 && first.delay <= kDurationMax);
  }
  FUZZ_CHECK(once == again);
  return 0;
}

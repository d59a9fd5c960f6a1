// Other processes of the attacker: this program again, in another part.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace cmkd::attacks {

// Runs this program with these arguments and a few more environment variables; its exit status, 128 and the signal's
// number when it died by one, 124 when it had to be stopped after `seconds`. Its output goes nowhere.
int RunSelf(const std::vector<std::string>& arguments,
            const std::vector<std::pair<std::string, std::string>>& environment = {}, int seconds = 60);

// Forks, runs `body` in the child, and gives what it returned (0 to 119), as RunSelf does.
int InFork(const std::function<int()>& body, int seconds = 20);

// The parts: "guess HANDLE" (looks for objects without a login), "talk" (says what a program says to begin with),
// "login"; "fault" (signs while the device of this sandbox computes wrongly: 0 when no wrong signature came out,
// kGivesWrongSignatures when one did).
inline constexpr int kGivesWrongSignatures = 7;
int RunPart(const std::vector<std::string>& arguments);

}  // namespace cmkd::attacks

// cmkctl as one function, for main and for tests.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace cmkd::tools {

// Runs the command line `arguments` (without the program's name) and gives the exit status. Results go to `out`,
// problems to `err`; each in colour if it may be. Not for several threads at once: commands look at the environment,
// and a sandbox at signals and child processes.
int RunCmkctl(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err, bool out_colour = false,
              bool err_colour = false);

}  // namespace cmkd::tools

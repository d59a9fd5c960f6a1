// The operator's command line.
#include <unistd.h>

#include <iostream>

#include "tools/cmkctl/cmkctl.h"
#include "tools/cmkctl/screen.h"

int main(int argc, char** argv) {
  using cmkd::tools::WantsColour;
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return cmkd::tools::RunCmkctl(arguments, std::cout, std::cerr, WantsColour(STDOUT_FILENO),
                                WantsColour(STDERR_FILENO));
}

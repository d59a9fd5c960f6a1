// Where a command writes: results to one stream, problems to the other, as text for people or as JSON for programs.
#pragma once

#include <ostream>

#include "tools/cmkctl/document.h"
#include "tools/cmkctl/problem.h"
#include "tools/cmkctl/table.h"

namespace cmkd::tools {

struct Screen {
  std::ostream& out;
  std::ostream& err;
  bool json = false;
  bool colour = false;      // of `out`
  bool err_colour = false;  // of `err`

  // With --json the result itself; otherwise `text`.
  void Show(const Value& result, const std::string& text) const;
  // A remark on the error stream that is no problem; left out with --json.
  void Note(std::string_view sentence) const;
};

// Whether colours are wanted on a file descriptor: a terminal, TERM not "dumb", and NO_COLOR not set.
bool WantsColour(int fd);

// Prints the problem and gives its exit status. With --json: {"error": {...}} on the error stream.
int Report(const Screen& screen, const Problem& problem);

}  // namespace cmkd::tools

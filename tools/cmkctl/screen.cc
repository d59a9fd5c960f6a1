// Printing results and problems.
#include "tools/cmkctl/screen.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace cmkd::tools {

void Screen::Show(const Value& result, const std::string& text) const {
  if (json) {
    out << result.Print() << '\n';
  } else {
    if (result.Flag("dry_run")) out << "Nothing is done. Without --dry-run:\n";
    out << text;
  }
  out.flush();
}

void Screen::Note(std::string_view sentence) const {
  if (!json) err << "cmkctl: " << sentence << '\n' << std::flush;
}

bool WantsColour(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  if (no_color != nullptr && *no_color != '\0') return false;
  if (term != nullptr && std::string_view(term) == "dumb") return false;
  return ::isatty(fd) == 1;
}

int Report(const Screen& screen, const Problem& problem) {
  if (screen.json) {
    Object error;
    error.Set("code", problem.code).Set("message", problem.message);
    error.SetIfAny("rule", problem.rule).SetIfAny("remedy", problem.remedy);
    screen.err << Object().Set("error", error).ToValue().Print() << '\n';
  } else {
    screen.err << "cmkctl: " << Painted(Harmless(problem.code), Tone::kBad, screen.err_colour) << ": "
               << Harmless(problem.message) << '\n';
    Facts more;
    more.Add("rule", problem.rule);
    more.Add("remedy", problem.remedy);
    screen.err << more.Print(screen.err_colour, "  ");
  }
  screen.err.flush();
  return static_cast<int>(problem.status);
}

}  // namespace cmkd::tools

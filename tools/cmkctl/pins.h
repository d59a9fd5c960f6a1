// Where PINs come from: a file, the environment, or the terminal without echo. Never from the command line, which every
// user of the machine can read.
#pragma once

#include <optional>
#include <string>

#include "common/secret.h"
#include "tools/cmkctl/problem.h"
#include "tools/cmkctl/screen.h"

namespace cmkd::tools {

// The longest PIN that is read from anywhere.
inline constexpr std::size_t kPinBytesMax = 255;

struct PinSource {
  std::string file;         // its first line; empty: no file
  const char* environment;  // the variable's name
  const char* name;         // "user PIN", for the prompt and for problems
};

// The PIN from the first source that there is, in the order above. A new PIN that is typed is asked for twice. An empty
// PIN is a problem.
Outcome<SecretBytes> ReadNewPin(const PinSource& source, const Screen& screen);

// The PIN that the token has: the same sources, typed once.
Outcome<SecretBytes> ReadPin(const PinSource& source, const Screen& screen);

// One line typed on the process's terminal, not shown; nothing when it was broken off or there is no terminal. What a
// signal would leave behind is put right first, and then the signal takes its course.
std::optional<SecretBytes> AskOnTerminal(const std::string& prompt);

}  // namespace cmkd::tools

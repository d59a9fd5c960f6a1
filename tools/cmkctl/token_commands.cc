// cmkctl token create, list.
#include "tools/cmkctl/administrator.h"
#include "tools/cmkctl/commands.h"
#include "tools/cmkctl/pins.h"
#include "tools/cmkctl/token_setup.h"

namespace cmkd::tools {

namespace {

std::string TokenTable(const std::vector<Value>& tokens, bool colour) {
  Table table({{"LABEL"},
               {"SLOT", true},
               {"PROFILE"},
               {"HSM"},
               {"KEYS", true},
               {"OBJECTS", true},
               {"DELETION WINDOW", true},
               {"SERIAL"}});
  for (const Value& token : tokens) {
    const bool initialised = token.Flag("initialized");
    const std::string days = token.Text("deletion_window_days");
    table.Add({initialised ? Cell(token.Text("label"), Tone::kStrong) : Cell("(not initialised)", Tone::kFaint),
               token.Text("slot"), token.Text("profile"), token.Text("hsm"), token.Text("keys"), token.Text("objects"),
               days.empty() ? days : days + " d", token.Text("serial")});
  }
  return table.Print(colour);
}

// The token as it is now, or as it was when nothing newer can be had.
Value Refreshed(Administrator& daemon, const Value& token) {
  const Outcome<Value> list = daemon.Ask("token.list");
  if (!list) return token;
  for (const Value& row : list->Items("tokens")) {
    if (row.Text("id") == token.Text("id")) return row;
  }
  return token;
}

Outcome<Value> MakeToken(const Context& context, const TokenCreateOptions& options) {
  if (options.label.empty()) return UsageProblem("A token needs a label.");
  if (options.label.size() > kTokenLabelBytesMax) {
    return UsageProblem("A token's label is at most 32 bytes long (PKCS#11, CK_TOKEN_INFO).");
  }
  // Before anything is made: a PIN that cannot be read must not leave half a token.
  ASSIGN_OR_RETURN(SecretBytes so_pin, ReadNewPin({options.so_pin_file, "CMKD_SO_PIN", "SO PIN"}, context.screen));
  ASSIGN_OR_RETURN(SecretBytes pin, ReadNewPin({options.pin_file, "CMKD_PIN", "user PIN"}, context.screen));
  Object arguments;
  arguments.Set("label", options.label);
  arguments.SetIfAny("profile", options.profile).SetIfAny("hsm", options.hsm);
  Administrator daemon(context.socket);
  ASSIGN_OR_RETURN(const Value made, daemon.Ask("token.create", arguments));
  const Value token = made.At("token");
  const auto slot = static_cast<CK_SLOT_ID>(token.Number("slot"));
  if (Outcome<void> done = InitialiseToken(daemon, slot, options.label, so_pin, pin); !done) {
    Problem problem = done.error();
    problem.remedy = "The token is there but not initialised, on slot " + std::to_string(slot) +
                     ": any PKCS#11 program can do that, such as pkcs11-tool --init-token --slot " +
                     std::to_string(slot) + ".";
    return Failure{std::move(problem)};
  }
  return Object().Set("token", Refreshed(daemon, token)).ToValue();
}

}  // namespace

int TokenCreate(const Context& context, const TokenCreateOptions& options) {
  const Outcome<Value> made = MakeToken(context, options);
  if (!made) return Report(context.screen, made.error());
  const Value token = made->At("token");
  context.screen.Show(*made, "Token " + Harmless(options.label) + " is made and initialised, on slot " +
                                 token.Text("slot") +
                                 (token.Has("profile") ? " (" + token.Text("profile") + ").\n" : ".\n"));
  return static_cast<int>(ExitStatus::kDone);
}

int TokenList(const Context& context) {
  Administrator daemon(context.socket);
  const Outcome<Value> list = daemon.Ask("token.list");
  if (!list) return Report(context.screen, list.error());
  const std::vector<Value> tokens = list->Items("tokens");
  context.screen.Show(*list, tokens.empty() ? "There are no tokens; make one with: cmkctl token create --label LABEL\n"
                                            : TokenTable(tokens, context.screen.colour));
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace cmkd::tools

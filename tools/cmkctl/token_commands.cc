// cmkctl token create, list, new-epoch.
#include <chrono>
#include <thread>

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
  Administrator daemon(context);
  ASSIGN_OR_RETURN(const Value made, daemon.Ask("token.create", arguments));
  if (context.dry_run) return made;
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

int TokenSet(const Context& context, const TokenSetOptions& options) {
  Object arguments;
  arguments.SetIfAny("token", options.token);
  if (options.deletion_window_days) arguments.Set("deletion_window_days", std::uint64_t{*options.deletion_window_days});
  if (options.version_quiet_days) arguments.Set("version_quiet_days", std::uint64_t{*options.version_quiet_days});
  if (!options.disable_first.empty()) arguments.Set("disable_first", options.disable_first == "on");
  Administrator daemon(context);
  const Outcome<Value> set = daemon.Ask("token.set", arguments);
  if (!set) return Report(context.screen, set.error());
  const Value token = set->At("token");
  context.screen.Show(*set, "Token " + Harmless(token.Text("label")) + ": a deletion waits " +
                                token.Text("deletion_window_days") + " days, an old version must have been quiet for " +
                                token.Text("version_quiet_days") + " days, and a key must " +
                                (token.Flag("disable_first") ? "" : "not ") +
                                "be disabled before its deletion is scheduled.\n");
  return static_cast<int>(ExitStatus::kDone);
}

int TokenNewEpoch(const Context& context, const TokenEpochOptions& options) {
  Object arguments;
  arguments.SetIfAny("token", options.token);
  Administrator daemon(context);
  Outcome<Value> epoch = daemon.Ask("token.new-epoch", arguments);
  if (epoch && !epoch->At("epoch").Flag("begun"))
    context.screen.Note("a new epoch was under way already; this is how it goes on");
  std::string told;
  while (epoch && !options.no_wait && epoch->At("epoch").Flag("in_progress")) {
    const std::string left = epoch->At("epoch").Text("left_behind");
    if (left != "0") {
      Problem problem;
      problem.code = "KEYS_LEFT_BEHIND";
      problem.message = left + " keys could not be wrapped again; the old wrapping key stays until they are.";
      problem.remedy = "The daemon's log names the first of them. It tries again by itself.";
      return Report(context.screen, problem);
    }
    if (const std::string waits_for = epoch->At("epoch").Text("waits_for"); !waits_for.empty()) {
      Problem problem;
      problem.code = "NOT_FINAL_YET";
      problem.message = "The keys are wrapped again, but " + Harmless(waits_for) + ".";
      problem.remedy = "The daemon finishes when that HSM is back; cmkctl hsm mirror status shows it.";
      return Report(context.screen, problem);
    }
    const std::string done = epoch->At("epoch").Text("rewrapped");
    if (done != told) context.screen.Note(done + " keys are wrapped again");
    told = done;
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    epoch = daemon.Ask("token.epoch", arguments);
  }
  if (!epoch) return Report(context.screen, epoch.error());
  const Value now = epoch->At("epoch");
  const std::string name = "Token " + Harmless(now.Text("token"));
  context.screen.Show(*epoch, now.Flag("in_progress")
                                  ? name + " gets a new wrapping key; the daemon sees it through.\n"
                                  : name + " has a new wrapping key (epoch " + now.Text("epoch") +
                                        "). The old one is destroyed, and with it whatever was deleted before.\n");
  return static_cast<int>(ExitStatus::kDone);
}

int TokenList(const Context& context) {
  Administrator daemon(context);
  const Outcome<Value> list = daemon.Ask("token.list");
  if (!list) return Report(context.screen, list.error());
  const std::vector<Value> tokens = list->Items("tokens");
  context.screen.Show(*list, tokens.empty() ? "There are no tokens; make one with: cmkctl token create --label LABEL\n"
                                            : TokenTable(tokens, context.screen.colour));
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace cmkd::tools

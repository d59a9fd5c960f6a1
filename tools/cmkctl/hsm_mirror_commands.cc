// cmkctl hsm mirror status, add, remove, catch-up.
#include "tools/cmkctl/administrator.h"
#include "tools/cmkctl/commands.h"

namespace cmkd::tools {

namespace {

Tone ToneOf(const std::string& state) {
  if (state == "in step") return Tone::kGood;
  return state == "lagging" || state == "owing" ? Tone::kCaution : Tone::kBad;
}

std::string NoteOf(const Value& mirror) {
  const std::string trouble = mirror.Text("trouble");
  if (!trouble.empty()) return Harmless(trouble);
  const std::string lacking = mirror.Text("mechanisms_lacking");
  return lacking == "0" ? "-" : "lacks " + lacking + " mechanisms of the others";
}

std::string Report(const Value& status, bool colour) {
  Table table({{"TOKEN"}, {"HSM"}, {"STATE"}, {"LAGS BY"}, {"TO DESTROY"}, {"AWAY SINCE"}, {"NOTE"}});
  for (const Value& mirror : status.Items("mirrors")) {
    const std::string state = mirror.Text("state"), away = mirror.Text("away_since");
    table.Add({Cell(Harmless(mirror.Text("token")), Tone::kStrong), Harmless(mirror.Text("hsm")),
               Cell(state, ToneOf(state)), mirror.Text("lags_by"), mirror.Text("to_destroy"), away.empty() ? "-" : away,
               NoteOf(mirror)});
  }
  std::string text = table.empty() ? "No token has mirrors.\n" : table.Print(colour);
  for (const Value& each : status.Items("not_final")) {
    text += "Deletions on token " + Harmless(each.Text("token")) + " are not final yet: " + each.Text("wrapping_keys") +
            " old wrapping keys are to be destroyed" +
            (each.Text("waits_for").empty() ? "" : ", and " + Harmless(each.Text("waits_for"))) + ".\n";
  }
  return text;
}

int Show(const Context& context, const Outcome<Value>& status) {
  if (!status) return Report(context.screen, status.error());
  context.screen.Show(*status, Report(*status, context.screen.colour));
  return static_cast<int>(status->Flag("in_step") ? ExitStatus::kDone : ExitStatus::kRefused);
}

}  // namespace

int HsmMirrorStatus(const Context& context, const HsmMirrorOptions& options) {
  Object arguments;
  arguments.SetIfAny("token", options.token);
  Administrator daemon(context);
  return Show(context, daemon.Ask("hsm.mirror.status", arguments));
}

int HsmMirrorAdd(const Context& context, const HsmMirrorOptions& options) {
  Object arguments;
  arguments.Set("token", options.token).Set("hsm", options.hsm).SetIfAny("fingerprint", options.fingerprint);
  Administrator daemon(context);
  const Outcome<Value> done = daemon.Ask("hsm.mirror.add", arguments);
  if (!done) return Report(context.screen, done.error());
  const std::string fingerprint = done->Text("fingerprint");
  const bool added = done->Flag("added");
  context.screen.Show(
      *done, added ? "HSM " + Harmless(options.hsm) + " is a mirror of token " + Harmless(options.token) +
                         " from now on; cmkctl hsm mirror status says when it is in step.\n"
                   : "HSM " + Harmless(options.hsm) + " shows this transport key (SHA-256 of its public key):\n  " +
                         fingerprint +
                         "\nWrapping keys will be sent to whoever has the private half. Compare it with what the "
                         "device itself says of its\nRSA key with CKA_ID " +
                         done->Text("id") + ", then:\n  cmkctl hsm mirror add " + Harmless(options.token) + " " +
                         Harmless(options.hsm) + " --fingerprint " + fingerprint + "\n");
  return static_cast<int>(ExitStatus::kDone);
}

int HsmMirrorRemove(const Context& context, const HsmMirrorOptions& options) {
  Object arguments;
  arguments.Set("token", options.token).Set("hsm", options.hsm).Set("lost", options.lost);
  Administrator daemon(context);
  const Outcome<Value> done = daemon.Ask("hsm.mirror.remove", arguments);
  if (!done) return Report(context.screen, done.error());
  context.screen.Show(*done, "HSM " + Harmless(options.hsm) + " holds no keys of token " + Harmless(options.token) +
                                 " any more" +
                                 (options.lost ? "; that it is lost to everybody is your word.\n" : ".\n"));
  return static_cast<int>(ExitStatus::kDone);
}

int HsmMirrorCatchUp(const Context& context, const HsmMirrorOptions& options) {
  Object arguments;
  arguments.Set("token", options.token);
  Administrator daemon(context);
  return Show(context, daemon.Ask("hsm.mirror.catch-up", arguments));
}

}  // namespace cmkd::tools

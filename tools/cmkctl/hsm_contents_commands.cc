// cmkctl hsm reconcile, adopt.
#include "tools/cmkctl/administrator.h"
#include "tools/cmkctl/commands.h"

namespace cmkd::tools {

int HsmReconcile(const Context& context, const HsmReconcileOptions& options) {
  Object arguments;
  arguments.Set("orphans", options.repair).Set("leftovers", options.leftovers).Set("nameless", options.nameless);
  Administrator daemon(context);
  const Outcome<Value> done = daemon.Ask("hsm.reconcile", arguments);
  if (!done) return Report(context.screen, done.error());
  const std::vector<Value> findings = done->Items("findings");
  Table table({{"FINDING"}, {"HSM"}, {"CKA_ID"}, {"LABEL"}, {"WHAT"}, {"DESTROYED"}});
  bool wrong = false;
  for (const Value& finding : findings) {
    const bool destroyed = finding.Flag("destroyed");
    wrong = wrong || !destroyed;
    table.Add({Cell(finding.Text("kind"), destroyed ? Tone::kFaint : Tone::kStrong), finding.Text("hsm"),
               finding.Text("id"), finding.Text("label"), finding.Text("what"), destroyed ? "yes" : "no"});
  }
  const std::string looked = done->Text("objects") + " objects were looked at";
  context.screen.Show(*done, findings.empty() ? "Nothing is wrong: " + looked + ".\n"
                                              : table.Print(context.screen.colour) + looked + ".\n");
  return static_cast<int>(wrong ? ExitStatus::kRefused : ExitStatus::kDone);
}

int Adopt(const Context& context, const AdoptOptions& options) {
  Object arguments;
  arguments.SetIfAny("token", options.token).Set("dry_run", options.dry_run);
  Administrator daemon(context);
  const Outcome<Value> done = daemon.Ask("hsm.adopt", arguments);
  if (!done) return Report(context.screen, done.error());
  Table table({{"LABEL"}, {"CKA_ID"}, {"KIND"}, {"ADOPTED"}});
  for (const Value& key : done->Items("keys")) {
    const std::string why_not = key.Text("why_not");
    const bool good = why_not.empty();
    table.Add(
        {Cell(key.Text("label"), Tone::kStrong), key.Text("id"), key.Text("spec"),
         Cell(good ? options.dry_run ? "would be" : "yes" : "no: " + why_not, good ? Tone::kGood : Tone::kCaution)});
  }
  const std::string certificates = done->Text("certificates");
  std::string text =
      table.empty() ? "There are no keys to adopt in the token's HSM.\n" : table.Print(context.screen.colour);
  if (certificates != "0")
    text += certificates + (options.dry_run ? " certificates would be copied.\n" : " certificates are copied.\n");
  context.screen.Show(*done, text);
  return static_cast<int>(ExitStatus::kDone);
}

}  // namespace cmkd::tools

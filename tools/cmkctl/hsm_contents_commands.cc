// cmkctl hsm reconcile.
#include "tools/cmkctl/administrator.h"
#include "tools/cmkctl/commands.h"

namespace cmkd::tools {

int HsmReconcile(const Context& context, const HsmReconcileOptions& options) {
  Object arguments;
  arguments.Set("orphans", options.repair).Set("leftovers", options.leftovers).Set("nameless", options.nameless);
  Administrator daemon(context.socket);
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

}  // namespace cmkd::tools

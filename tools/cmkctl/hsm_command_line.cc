// What may be typed of HSMs: `cmkctl hsm ...`, `cmkctl adopt`.
#include <CLI/CLI.hpp>

#include "tools/cmkctl/command_line.h"

namespace cmkd::tools {

namespace {

void AddHsmReconcile(CLI::App* group, CommandLine& line) {
  CLI::App* reconcile =
      AddCommand(group, line, "reconcile", "Hold what lies in the HSMs against what the store says",
                 "  cmkctl hsm reconcile\n"
                 "  cmkctl hsm reconcile --repair\n"
                 "Nothing is changed without --repair, and nothing but superfluous objects is ever destroyed.\n"
                 "Exit status: 0 when nothing is wrong, or all of it was put right; 1 otherwise.",
                 [&](const Context& c) { return HsmReconcile(c, line.hsm_reconcile); });
  CLI::Option* repair = reconcile->add_flag("--repair", line.hsm_reconcile.repair, "Destroy orphans");
  reconcile
      ->add_flag("--leftovers", line.hsm_reconcile.leftovers,
                 "Also keys of sessions whose application is not connected; one that comes back misses them")
      ->needs(repair);
  reconcile
      ->add_flag("--nameless", line.hsm_reconcile.nameless,
                 "Also keys without id and label; only on a device that nobody else keeps keys in")
      ->needs(repair);
}

void AddHsmMirror(CLI::App* hsm, CommandLine& line) {
  HsmMirrorOptions& o = line.hsm_mirror;
  CLI::App* group = AddGroup(*hsm, "mirror", "Several HSMs that hold the keys of one token");
  CLI::App* status = AddCommand(group, line, "status", "Say which HSM is there, lags, or has old keys to destroy",
                                "  cmkctl hsm mirror status\n  cmkctl --json hsm mirror status orders\n"
                                "Exit status: 0 when all are in step, 1 otherwise.",
                                [&](const Context& c) { return HsmMirrorStatus(c, o); });
  status->add_option("token", o.token, "The token; all of them when not given");
  CLI::App* add = AddCommand(group, line, "add", "Have another HSM hold the keys of a token, too",
                             "  cmkctl hsm mirror add orders second\n"
                             "  cmkctl hsm mirror add orders second --fingerprint 5f1c...\n"
                             "Without --fingerprint it only shows by which key the HSM is to be known.",
                             [&](const Context& c) { return HsmMirrorAdd(c, o); });
  add->add_option("--fingerprint", o.fingerprint, "Of the HSM's transport key, as compared with the device");
  CLI::App* remove = AddCommand(group, line, "remove", "Take the keys of a token out of an HSM",
                                "  cmkctl hsm mirror remove orders first\n"
                                "  cmkctl hsm mirror remove orders first --lost\n"
                                "Another one must be in step. The wrapping keys are destroyed in the HSM.",
                                [&](const Context& c) { return HsmMirrorRemove(c, o); });
  remove->add_flag("--lost", o.lost, "It does not come back: deletions no longer wait for it");
  CLI::App* catch_up = AddCommand(group, line, "catch-up", "Bring an HSM that lags into step now",
                                  "  cmkctl hsm mirror catch-up orders\nThe daemon does so by itself.",
                                  [&](const Context& c) { return HsmMirrorCatchUp(c, o); });
  for (CLI::App* command : {add, remove, catch_up}) command->add_option("token", o.token, "The token")->required();
  for (CLI::App* command : {add, remove})
    command->add_option("hsm", o.hsm, "The HSM, by its name in cmkd.toml")->required();
}

}  // namespace

void AddHsmCommands(CLI::App& app, CommandLine& line) {
  HsmCheckOptions& o = line.hsm_check;
  CLI::App* group = AddGroup(app, "hsm", "The HSMs behind the daemon");
  CLI::App* check =
      AddCommand(group, line, "check", "Find out what an HSM's module can do for cmkd",
                 "  cmkctl hsm check /usr/lib/softhsm/libsofthsm2.so --token-label cmkd --pin-file pin \\\n"
                 "      --environment SOFTHSM2_CONF=/etc/cmkd/softhsm2.conf\n"
                 "It makes keys in the token, tries them and destroys them. Needs no daemon.",
                 [&](const Context& c) { return HsmCheck(c, line.hsm_check); });
  check->add_option("module", o.module, "The PKCS#11 module")->required()->check(CLI::ExistingFile);
  CLI::Option* label = check->add_option("--token-label", o.token_label, "The token in it, by label");
  check->add_option("--token-serial", o.token_serial, "The token in it, by serial number")->excludes(label);
  check->add_option("--pin-file", o.pin_file, "File whose first line is the token's user PIN");
  check->add_option("--library-options", o.library_options, "Text that the module wants at C_Initialize (NSS)");
  check->add_option("--environment", o.environment, "NAME=VALUE for the module's process, which inherits nothing");
  check->add_flag("--serialise", o.serialise, "One call at a time");
  AddHsmReconcile(group, line);
  AddHsmMirror(group, line);
}

void AddAdopt(CLI::App& app, CommandLine& line) {
  CLI::App* adopt =
      AddCommand(&app, line, "adopt", "Take over keys that live in an HSM's token already",
                 "  cmkctl adopt --token web --dry-run\n"
                 "  cmkctl adopt --token web\n"
                 "The keys stay in the HSM and keep label and CKA_ID: an application changes its module path only.\n"
                 "The HSM is the token's own, as cmkd.toml names it.",
                 [&](const Context& c) {
                   Context own = c;
                   own.dry_run = false;  // the verb has an argument for it
                   line.adopt.dry_run = line.adopt.dry_run || c.dry_run;
                   return Adopt(own, line.adopt);
                 });
  adopt->add_option("--token", line.adopt.token, "The token that gets them; needed when there are several");
  adopt->add_flag("--dry-run", line.adopt.dry_run, "Only say what would happen");
}

}  // namespace cmkd::tools

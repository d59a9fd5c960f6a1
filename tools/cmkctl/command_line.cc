// What may be typed, with its help, and which command it calls.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>

#include "tools/cmkctl/cmkctl.h"
#include "tools/cmkctl/commands.h"
#include "tools/cmkctl/sandbox.h"
#include "tools/cmkctl/token_setup.h"

namespace cmkd::tools {

namespace {

constexpr char kDefaultSocket[] = "/run/cmkd/cmkd.sock";

// The whole command line: options of all commands, and which one was given.
struct CommandLine {
  std::string socket;
  bool json = false;
  std::string request_id;
  bool dry_run = false;
  std::function<int(const Context&)> command;

  TokenCreateOptions token_create;
  TokenSetOptions token_set;
  TokenEpochOptions token_epoch;
  KeyCreateOptions key_create;
  KeyListOptions key_list;
  KeyOptions key;
  KeyBulkOptions key_bulk;
  KeySetOptions key_set;
  KeyVersionOptions key_version;
  KeyUsersOptions key_users;
  KeyDestroyNowOptions key_destroy_now;
  KeyImportOptions key_import;
  HsmReconcileOptions hsm_reconcile;
  HsmMirrorOptions hsm_mirror;
  CipherOptions cipher;
  AdoptOptions adopt;
  AuditShowOptions audit_show;
  AuditVerifyOptions audit_verify;
  InitOptions init;
  SandboxOptions sandbox;
  HsmCheckOptions hsm_check;
  std::string code;
};

CLI::App* AddCommand(CLI::App* parent, CommandLine& line, const std::string& name, const std::string& description,
                     const std::string& examples, std::function<int(const Context&)> command) {
  CLI::App* added = parent->add_subcommand(name, description);
  added->footer("Examples:\n" + examples);
  added->callback([&line, command = std::move(command)] { line.command = command; });
  return added;
}

CLI::App* AddGroup(CLI::App& app, const std::string& name, const std::string& description) {
  CLI::App* group = app.add_subcommand(name, description);
  group->require_subcommand(1);
  return group;
}

// ---- One function a group of commands

void AddTokenCommands(CLI::App& app, CommandLine& line) {
  CLI::App* group = AddGroup(app, "token", "Tokens: one PKCS#11 token each, one ring of keys");
  CLI::App* create =
      AddCommand(group, line, "create", "Make a token and set its PINs",
                 "  cmkctl token create --label orders --profile managed\n"
                 "  cmkctl token create --label test --so-pin-file so.pin --pin-file user.pin\n"
                 "PINs come from these files, else from CMKD_SO_PIN and CMKD_PIN, else from the terminal.",
                 [&](const Context& c) { return TokenCreate(c, line.token_create); });
  create->add_option("--label", line.token_create.label, "Label, at most 32 bytes")->required();
  create->add_option("--profile", line.token_create.profile, "Rules of its keys: managed or general")
      ->check(CLI::IsMember({"managed", "general"}));
  create->add_option("--hsm", line.token_create.hsm, "Name of the HSM that holds its keys (cmkd.toml)");
  create->add_option("--pin-file", line.token_create.pin_file, "File whose first line is the user PIN");
  create->add_option("--so-pin-file", line.token_create.so_pin_file, "File whose first line is the SO PIN");
  AddCommand(group, line, "list", "Show all tokens", "  cmkctl token list\n  cmkctl --json token list", TokenList);
  CLI::App* set =
      AddCommand(group, line, "set", "Change how long deletions wait and what else a token asks of its keys",
                 "  cmkctl token set orders --deletion-window-days 60 --version-quiet-days 90\n"
                 "  cmkctl token set orders --disable-first on",
                 [&](const Context& c) { return TokenSet(c, line.token_set); });
  set->add_option("token", line.token_set.token, "Label or id; needed when there are several");
  set->add_option("--deletion-window-days", line.token_set.deletion_window_days,
                  "Days that a deletion waits unless it says otherwise");
  set->add_option("--version-quiet-days", line.token_set.version_quiet_days,
                  "Days for which an old version must not have been used before it may be destroyed");
  set->add_option("--disable-first", line.token_set.disable_first,
                  "Only a disabled key may be scheduled for deletion: on or off")
      ->check(CLI::IsMember({"on", "off"}));
  CLI::App* epoch = AddCommand(group, line, "new-epoch",
                               "Replace a token's wrapping key, so that no copy of the store brings deleted keys back",
                               "  cmkctl token new-epoch orders\n  cmkctl token new-epoch orders --no-wait",
                               [&](const Context& c) { return TokenNewEpoch(c, line.token_epoch); });
  epoch->add_option("token", line.token_epoch.token, "Label or id; needed when there are several");
  epoch->add_flag("--no-wait", line.token_epoch.no_wait, "Only begin; the daemon sees it through");
}

void AddKeyOptions(CLI::App* command, KeyOptions& options) {
  command->add_option("key", options.key, "Id, name, or TOKEN/NAME")->required();
  command->add_option("--token", options.token, "The token that the name is looked for in");
}

void AddKeyCreate(CLI::App* group, CommandLine& line) {
  KeyCreateOptions& o = line.key_create;
  CLI::App* create =
      AddCommand(group, line, "create", "Make a key",
                 "  cmkctl key create --token orders --name payments\n"
                 "  cmkctl key create --token web --name tls --spec EC-P256 --usage sign --id 01\n"
                 "  cmkctl key create --token orders --name archive --spec AES-256 --usage wrap "
                 "--rotation-days 90\n"
                 "  cmkctl key create --token orders --class service --owner 997 --name svc/backup\n"
                 "Specs: AES-128, AES-192, AES-256; SM4; HMAC-224, HMAC-256, HMAC-384, HMAC-512; RSA-2048, RSA-3072,\n"
                 "RSA-4096; EC-P256, EC-P384, EC-P521, EC-SECP256K1; ED25519, ED448; X25519, X448; SM2.",
                 [&](const Context& c) { return KeyCreate(c, line.key_create); });
  o.spec = "AES-256";
  create->add_option("--token", o.token, "Label or id of its token; needed when there are several");
  create->add_option("--name,--label", o.name, "Name: the label that applications find it by");
  create->add_option("--class", o.key_class, "customer; service: its owner's; default: the token's own (customer)")
      ->check(CLI::IsMember({"customer", "service", "default"}));
  create->add_option("--owner", o.owner, "Of a service's key: the user id of the service");
  create->add_option("--spec,--type", o.spec, "Kind and size (AES-256)");
  create->add_option("--usage", o.usage, "What it is for: encrypt, sign, wrap or derive")
      ->check(CLI::IsMember({"encrypt", "sign", "wrap", "derive"}));
  create->add_option("--id", o.id, "CKA_ID in hexadecimal");
  create->add_option("--description", o.description, "Text for operators");
  create->add_option("--rotation-days", o.rotation_days, "Days from one rotation to the next");
  create->add_option("--activation", o.activation, "Not used before this date");
  create->add_option("--expiry", o.expiry, "Protects nothing new from this date on");
  create->add_option("--usage-limit", o.usage_limit, "Uses of one version before a new one is made");
  create->add_flag("--deletion-protection", o.deletion_protected, "Refuse to schedule its deletion");
  create->add_flag("--external", o.external, "Without material: it is imported (docs/import.md)");
  create->add_flag("--fixed-version", o.fixed_version,
                   "All mechanisms of its type, also CBC, CTR and ECB; it then rotates by moving its label");
}

void AddFilter(CLI::App* command, KeyListOptions& o) {
  command->add_option("--token", o.token, "Only keys of this token");
  command->add_option("--state", o.state, "Only keys in this state");
  command->add_option("--tag", o.tag, "Only keys with this tag: NAME or NAME=VALUE");
  command->add_option("--name", o.name, "Only keys with this in their name, an alias or their id");
  command->add_option("--spec", o.spec, "Only keys of this spec");
  command->add_option("--class", o.key_class, "Only customer, service or default keys");
  command->add_option("--origin", o.origin, "Only keys of this origin, as cmkctl key show says it");
}

void AddKeyBulk(CLI::App* group, CommandLine& line) {
  KeyBulkOptions& o = line.key_bulk;
  CLI::App* bulk = AddCommand(group, line, "bulk", "Make one change of every key that fits, and say what came of each",
                              "  cmkctl --dry-run key bulk rotate --token orders --tag owner=billing\n"
                              "  cmkctl key bulk disable --name test- --state Enabled\n"
                              "  cmkctl key bulk schedule-deletion --state Disabled --tag retire --days 30\n"
                              "Exit status: 1 when one of them was refused; the others are changed all the same.",
                              [&](const Context& c) { return KeyBulk(c, line.key_bulk); });
  bulk->add_option("change", o.change,
                   "disable, enable, archive, unarchive, rotate, schedule-deletion or cancel-deletion")
      ->required()
      ->check(CLI::IsMember(
          {"disable", "enable", "archive", "unarchive", "rotate", "schedule-deletion", "cancel-deletion"}));
  AddFilter(bulk, o.filter);
  bulk->add_flag("--every", o.every, "All keys, where no filter is given");
  bulk->add_option("--days", o.days, "Waiting period of schedule-deletion");
  bulk->add_option("--brown-out-days", o.brown_out_days, "Brown-outs before it");
}

void AddKeyList(CLI::App* group, CommandLine& line) {
  KeyListOptions& o = line.key_list;
  CLI::App* list = AddCommand(group, line, "list", "Show keys",
                              "  cmkctl key list\n"
                              "  cmkctl key list --token orders --state PendingDeletion\n"
                              "  cmkctl --json key list --all",
                              [&](const Context& c) { return KeyList(c, line.key_list); });
  AddFilter(list, o);
  list->add_option("--limit", o.limit, "At most so many")->check(CLI::PositiveNumber);
  list->add_option("--after", o.after, "Go on behind the key with this id");
  list->add_flag("--all", o.all, "All of them, however many")->excludes("--limit");
}

void AddKeySet(CLI::App* group, CommandLine& line) {
  KeySetOptions& o = line.key_set;
  CLI::App* set = AddCommand(group, line, "set", "Change description, schedule, dates, limits and tags of a key",
                             "  cmkctl key set orders/payments --rotation-days 90 --tag owner=billing\n"
                             "  cmkctl key set orders/payments --deletion-protection on --expiry 2028-01-01",
                             [&](const Context& c) { return KeySet(c, line.key_set); });
  AddKeyOptions(set, o.key);
  set->add_option("--description", o.description, "Text for operators");
  set->add_option("--rotation-days", o.rotation_days, "Days from one rotation to the next; 0: no more");
  set->add_option("--usage-limit", o.usage_limit, "Uses of one version before a new one is made; 0: none of its own");
  set->add_option("--activation", o.activation, "A later activation date, while the first has not come");
  set->add_option("--expiry", o.expiry, "Protects nothing new from this date on; none: for ever");
  set->add_option("--deletion-protection", o.deletion_protection, "Refuse to schedule its deletion: on or off")
      ->check(CLI::IsMember({"on", "off"}));
  set->add_option("--compromised-processes", o.compromised_processes,
                  "Compromised versions still open what they protected, with an alarm: on or off")
      ->check(CLI::IsMember({"on", "off"}));
  set->add_option("--tag", o.tags, "NAME=VALUE; NAME= takes the tag away");
}

void AddKeyVersion(CLI::App* group, CommandLine& line) {
  KeyVersionOptions& o = line.key_version;
  CLI::App* version = AddCommand(group, line, "version", "Change one version of a key",
                                 "  cmkctl key version orders/payments 2 make-current\n"
                                 "  cmkctl key version orders/payments 1 block\n"
                                 "  cmkctl key version orders/payments 1 destroy",
                                 [&](const Context& c) { return KeyVersionDo(c, line.key_version); });
  AddKeyOptions(version, o.key);
  version->add_option("version", o.version, "Its number")->required()->check(CLI::PositiveNumber);
  version->add_option("event", o.event, "make-current, block, unblock, compromise or destroy")
      ->required()
      ->check(CLI::IsMember({"make-current", "block", "unblock", "compromise", "destroy"}));
}

void AddKeyDestroyNow(CLI::App* group, CommandLine& line) {
  KeyDestroyNowOptions& o = line.key_destroy_now;
  CLI::App* destroy = AddCommand(group, line, "destroy-now",
                                 "Destroy a disabled key without its waiting period, with the approval of others",
                                 "  cmkctl key destroy-now orders/payments --reason 'erasure request 4711' \\\n"
                                 "      --sign-with office/records --record payments.json\n"
                                 "As many operators (different users) as destroy_now_approvals says give the same "
                                 "command within a day; the last one\n"
                                 "gets the signed record of the destruction.",
                                 [&](const Context& c) { return KeyDestroyNow(c, line.key_destroy_now); });
  AddKeyOptions(destroy, o.key);
  destroy->add_option("--reason", o.reason, "Goes into the record; the same for all who approve")->required();
  destroy->add_option("--sign-with", o.sign_with, "An RSA or EC key for signing, which signs the record")->required();
  destroy->add_option("--record", o.record_file, "Where the record is written, and its signature with .sig")
      ->required();
}

void AddKeyUsers(CLI::App* group, CommandLine& line) {
  KeyUsersOptions& o = line.key_users;
  CLI::App* users = AddCommand(group, line, "users", "Show who used which version of a key",
                               "  cmkctl key users orders/payments\n"
                               "  cmkctl key users orders/payments --version 1 --days 30",
                               [&](const Context& c) { return KeyUsers(c, line.key_users); });
  AddKeyOptions(users, o.key);
  users->add_option("--version", o.version, "Only this version")->check(CLI::PositiveNumber);
  users->add_option("--days", o.days, "Only the last so many days, by the audit log; else all, by the counters")
      ->check(CLI::PositiveNumber);
}

void AddKeyImport(CLI::App* group, CommandLine& line) {
  KeyImportOptions& o = line.key_import;
  CLI::App* params = AddCommand(group, line, "import-params", "Get a public key and a token for importing material",
                                "  cmkctl key import-params orders/brought --public-key import.pem",
                                [&](const Context& c) { return KeyImportParams(c, line.key_import); });
  AddKeyOptions(params, o.key);
  params->add_option("--public-key", o.public_key_file, "Where the public key is written (PEM)")->required();
  params->add_option("--algorithm", o.algorithm, "How the material will be wrapped (RSAES_OAEP_SHA_256)")
      ->check(CLI::IsMember({"RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_256", "RSAES_OAEP_SHA_1"}));
  params->add_option("--bits", o.bits, "Size of the public key: 2048, 3072 or 4096 (3072)");
  CLI::App* import = AddCommand(group, line, "import", "Import wrapped material",
                                "  cmkctl key import orders/brought --import-token TOKEN --wrapped wrapped.bin",
                                [&](const Context& c) { return KeyImport(c, line.key_import); });
  AddKeyOptions(import, o.key);
  import->add_option("--import-token", o.import_token, "The token that came with the public key")->required();
  import->add_option("--wrapped", o.wrapped_file, "The wrapped material")->required();
  import->add_option("--expiry", o.expiry, "The material is wiped on this date");
}

void AddKeyCommands(CLI::App& app, CommandLine& line) {
  CLI::App* group = AddGroup(app, "key", "Customer master keys and their life");
  AddKeyCreate(group, line);
  AddKeyList(group, line);
  AddKeyOptions(AddCommand(group, line, "show", "Show one key with its versions", "  cmkctl key show orders/payments",
                           [&](const Context& c) { return KeyShow(c, line.key); }),
                line.key);
  const auto change = [&](const char* name, const char* description, const char* examples, KeyChange what) {
    CLI::App* command = AddCommand(group, line, name, description, examples,
                                   [&line, what](const Context& c) { return KeyDo(c, what, line.key); });
    AddKeyOptions(command, line.key);
    return command;
  };
  change("disable", "Stop every use of a key, at once and reversibly", "  cmkctl key disable orders/payments",
         KeyChange::kDisable);
  change("enable", "Let a disabled key be used again", "  cmkctl key enable orders/payments", KeyChange::kEnable);
  change("archive", "Open what it protected, protect nothing new", "  cmkctl key archive orders/payments",
         KeyChange::kArchive);
  change("unarchive", "Let an archived key protect again", "  cmkctl key unarchive orders/payments",
         KeyChange::kUnarchive);
  change("activate", "Do not wait for its activation date", "  cmkctl key activate orders/payments",
         KeyChange::kActivate);
  CLI::App* rotate = change("rotate", "Make a new version; what older versions protected still opens",
                            "  cmkctl key rotate orders/payments\n"
                            "  cmkctl key rotate web/tls --overlap-days 14\n"
                            "  cmkctl key rotate orders/legacy-cbc --new-object",
                            KeyChange::kRotate);
  rotate->add_flag("--new-object", line.key.new_object,
                   "A key of a fixed version: a new key takes its label, the old one is archived as NAME@vN");
  rotate->add_option("--overlap-days", line.key.overlap_days, "A key pair: the old version signs on so long (30)");
  CLI::App* alias = change("alias", "Let a further name lead to a key; from another key of the token it is taken away",
                           "  cmkctl key alias orders/payments-2027 current-payments", KeyChange::kAlias);
  alias->add_option("alias", line.key.alias, "Letters, digits, / _ -")->required();
  CLI::App* unalias = change("unalias", "Take a further name away from a key",
                             "  cmkctl key unalias orders/payments current-payments", KeyChange::kUnalias);
  unalias->add_option("alias", line.key.alias, "The alias")->required();
  CLI::App* reg = change("register", "Note who depends on a key: it is not deleted while anybody does",
                         "  cmkctl key register orders/payments 'backup of db1'", KeyChange::kRegister);
  reg->add_option("consumer", line.key.consumer, "A name, at most 128 bytes")->required();
  CLI::App* release = change("release", "Take back a registration",
                             "  cmkctl key release orders/payments 'backup of db1'", KeyChange::kRelease);
  release->add_option("consumer", line.key.consumer, "The name that was registered")->required();
  AddKeyBulk(group, line);
  AddKeySet(group, line);
  AddKeyVersion(group, line);
  AddKeyUsers(group, line);
  AddKeyDestroyNow(group, line);
  change("delete-material", "Wipe imported material; the same material can be imported again",
         "  cmkctl key delete-material orders/brought", KeyChange::kDeleteMaterial);
  AddKeyImport(group, line);
  CLI::App* schedule = change("schedule-deletion", "Destroy a key after its waiting period",
                              "  cmkctl key schedule-deletion orders/payments --days 30", KeyChange::kScheduleDeletion);
  schedule->add_option("--days", line.key.days, "Waiting period; the token's own when not given");
  schedule->add_option("--brown-out-days", line.key.brown_out_days,
                       "First refuse the key for a while each of so many days, so that whoever needs it finds out");
  change("cancel-deletion", "Keep a key that waits for its deletion; it is then disabled",
         "  cmkctl key cancel-deletion orders/payments\n  cmkctl key enable orders/payments",
         KeyChange::kCancelDeletion);
}

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

void AddContext(CLI::App* command, CipherOptions& o) {
  command->add_option("--context", o.context, "NAME=VALUE of the encryption context; may be given again");
}

void AddUser(CLI::App* command, CipherOptions& o) {
  command->add_option("--token", o.token, "Label of the token");
  command->add_option("--pin-file", o.pin_file,
                      "File whose first line is the user PIN (else CMKD_PIN, else asked for)");
}

void AddCiphertextCommands(CLI::App& app, CommandLine& line) {
  CipherOptions& o = line.cipher;
  CLI::App* group = AddGroup(app, "ciphertext", "Managed ciphertexts: they name the key and version that made them");
  CLI::App* show = AddCommand(group, line, "show", "Show the header of a ciphertext; needs no daemon",
                              "  cmkctl ciphertext show secret.cmk\n  cmkctl --json ciphertext show secret.cmk",
                              [&](const Context& c) { return CiphertextShow(c, line.cipher); });
  show->add_option("file", o.input, "The ciphertext; - is the standard input")->required();
  const auto add = [&](CLI::App* to, const char* name, const char* description, const char* examples,
                       CipherAction action) {
    CLI::App* command = AddCommand(to, line, name, description, examples,
                                   [&line, action](const Context& c) { return CiphertextDo(c, action, line.cipher); });
    AddUser(command, line.cipher);
    AddContext(command, line.cipher);
    return command;
  };
  const auto files = [&](CLI::App* command) {
    command->add_option("--in", o.input, "What is read; - is the standard input")->required();
    command->add_option("--out", o.output, "Where it goes; - is the standard output")->required();
  };
  CLI::App* encrypt = add(group, "encrypt", "Encrypt at most 4096 bytes",
                          "  cmkctl ciphertext encrypt orders/payments --in password.txt --out password.cmk\n"
                          "  cmkctl ciphertext encrypt orders/payments --in - --out - --context service=billing",
                          CipherAction::kEncrypt);
  encrypt->add_option("key", o.key, "TOKEN/NAME, name or id")->required();
  files(encrypt);
  CLI::App* decrypt = add(group, "decrypt", "Decrypt, with the key that the ciphertext names",
                          "  cmkctl ciphertext decrypt --token orders --in password.cmk --out password.txt\n"
                          "  cmkctl ciphertext decrypt orders/payments --in password.cmk --out -",
                          CipherAction::kDecrypt);
  decrypt->add_option("key", o.key, "Only with this key: TOKEN/NAME, name or id");
  files(decrypt);
  CLI::App* move = add(group, "re-encrypt",
                       "Encrypt anew, under another key or the newest version; the plaintext stays in the daemon",
                       "  cmkctl ciphertext re-encrypt orders/payments --in old.cmk --out new.cmk\n"
                       "  cmkctl ciphertext re-encrypt orders/archive --in old.cmk --out new.cmk --context a=1 "
                       "--new-context a=2",
                       CipherAction::kReEncrypt);
  move->add_option("key", o.key, "The key it goes to: TOKEN/NAME, name or id")->required();
  move->add_option("--new-context", o.new_context, "NAME=VALUE of its new context; without any, the context stays");
  files(move);

  CLI::App* all = AddCommand(
      group, line, "re-encrypt-all", "Encrypt many files anew in place; each is done or left alone, and says so",
      "  cmkctl ciphertext re-encrypt-all orders/payments secrets/*.cmk\n"
      "  cmkctl --dry-run ciphertext re-encrypt-all orders/payments secrets/*.cmk",
      [&line](const Context& c) { return CiphertextDo(c, CipherAction::kReEncryptAll, line.cipher); });
  AddUser(all, o);
  AddContext(all, o);
  all->add_option("--new-context", o.new_context, "NAME=VALUE of their new context; without any, the context stays");
  all->add_option("key", o.key, "The key they go to: TOKEN/NAME, name or id")->required();
  all->add_option("files", o.files, "The files, at most 4184 bytes each")->required();

  CLI::App* data_key = AddGroup(app, "data-key", "Keys for a program's own use, encrypted under a key of the token");
  CLI::App* generate = add(data_key, "generate", "Make a data key",
                           "  cmkctl data-key generate orders/payments --out file.key.cmk --plaintext-out file.key\n"
                           "  cmkctl data-key generate orders/payments --out file.key.cmk --context file=42",
                           CipherAction::kGenerate);
  generate->add_option("--bytes", o.bytes, "Its length (32)")->check(CLI::Range(1, 1024));
  CLI::App* pair =
      add(data_key, "generate-pair", "Make a key pair; keys are written as DER",
          "  cmkctl data-key generate-pair orders/payments --spec EC-P256 --public-key-out pub.der --out key.cmk",
          CipherAction::kGeneratePair);
  pair->add_option("--spec", o.spec, "RSA-2048, RSA-3072, RSA-4096, EC-P256, EC-P384 or EC-P521")->required();
  pair->add_option("--public-key-out", o.public_key, "Where the public key goes (SubjectPublicKeyInfo)")->required();
  for (CLI::App* command : {generate, pair}) {
    command->add_option("key", o.key, "The key above it: TOKEN/NAME, name or id; the token's default key without");
    command->add_option("--out", o.output, "Where the encrypted key goes")->required();
    command->add_option("--plaintext-out", o.plaintext, "Where the key itself goes, for you alone (0600)");
  }
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

void AddAuditCommands(CLI::App& app, CommandLine& line) {
  CLI::App* group = AddGroup(app, "audit", "The audit log");
  CLI::App* show = AddCommand(group, line, "show", "Show the newest records",
                              "  cmkctl audit show\n  cmkctl audit show --limit 200 --key orders/payments",
                              [&](const Context& c) { return AuditShow(c, line.audit_show); });
  show->add_option("--limit,--last", line.audit_show.limit, "So many (50)")->check(CLI::PositiveNumber);
  show->add_option("--key", line.audit_show.key, "Only records of this key");
  show->add_option("--token", line.audit_show.token, "Only records of this token");
  show->add_option("--context", line.audit_show.context,
                   "Only uses with this encryption context: NAME=VALUE, once for each pair");
  CLI::App* verify =
      AddCommand(group, line, "verify", "Prove a log offline: every record right and in its place",
                 "  cmkctl audit verify --directory /var/lib/cmkd/audit\n"
                 "  cmkctl audit verify --directory copy --anchor 1042:9f3c...\n"
                 "The anchor is a line of an earlier verify, kept elsewhere: it proves that nothing since was cut off.",
                 [&](const Context& c) { return AuditVerify(c, line.audit_verify); });
  verify->add_option("--directory", line.audit_verify.directory, "The log's directory, or the daemon's state directory")
      ->required();
  verify->add_option("--anchor", line.audit_verify.anchor, "SEQUENCE:CHAIN that the log must still have");
  verify->add_flag("--allow-pruned", line.audit_verify.allow_pruned, "The oldest files were put away on purpose");
}

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

void AddSandbox(CLI::App& app, CommandLine& line) {
  static const std::map<std::string, SandboxHsm> kHsms = {{"software", SandboxHsm::kSoftware},
                                                          {"firmware_sim", SandboxHsm::kFirmwareSim},
                                                          {"softhsm2", SandboxHsm::kSoftHsm2}};
  SandboxOptions& o = line.sandbox;
  CLI::App* sandbox = AddCommand(
      &app, line, "sandbox", "Run a command with a throw-away daemon and a fresh token",
      "  cmkctl sandbox [OPTIONS] -- COMMAND...\n"
      "  cmkctl sandbox -- sh -c 'pkcs11-tool --module \"$P11_MODULE\" --token-label \"$P11_TOKEN\" "
      "--list-mechanisms'\n"
      "  cmkctl sandbox --hsm softhsm2 --profile managed -- ./my-tests\n"
      "  cmkctl sandbox --restart-after 200 -- ./my-tests\n"
      "  cmkctl sandbox --set audit.strict=true -- ./my-tests\n"
      "  cmkctl sandbox --hsm firmware_sim --faults outage.faults -- ./my-tests\n"
      "COMMAND finds P11_MODULE, P11_TOKEN (label), P11_PIN, P11_SO_PIN, CMKD_SOCKET, CMKD_SANDBOX_DIR and\n"
      "CMKD_DAEMON_PID in its environment, and with --faults CMKD_FAULTS, a copy of the script that it may change.\n"
      " The exit status is COMMAND's; 125 when the sandbox itself failed.",
      [&](const Context& c) { return Sandbox(c, line.sandbox); });
  sandbox->add_option("--profile", o.profile, "Profile of the token: managed or general (general)")
      ->check(CLI::IsMember({"managed", "general"}));
  sandbox->add_option("--hsm", o.hsm, "software (in the daemon), firmware_sim (its own process) or softhsm2 (software)")
      ->transform(CLI::Transformer(kHsms).description(""))
      ->type_name("TEXT");
  sandbox->add_option("--faults", o.faults, "What goes wrong in the simulated device (docs/faults.md)")
      ->type_name("FILE");
  sandbox->add_option("--hsm-call-seconds", o.hsm_call_seconds, "How long the HSM's process may take for a call (60)")
      ->check(CLI::Range(1, 3600));
  sandbox->add_option("--set", o.settings, "TABLE.KEY=VALUE of the daemon's configuration (cmkd.toml(5)); repeatable")
      ->type_name("SETTING")
      ->allow_extra_args(false)
      ->check([](const std::string& setting) {
        return IsSetting(setting) ? std::string() : "'" + setting + "' is not TABLE.KEY=VALUE";
      });
  sandbox->add_option("--label", o.label, "Label of the token (cmkd-sandbox)")->check([](const std::string& label) {
    return label.empty() || label.size() > kTokenLabelBytesMax ? std::string("a label has 1 to 32 bytes")
                                                               : std::string();
  });
  sandbox->add_flag("--keep", o.keep, "Leave the sandbox's directory, with the daemon's log, behind");
  CLI::Option* after =
      sandbox->add_option("--restart-after", o.restart_after_ms, "Kill and restart the daemon every so many ms")
          ->check(CLI::PositiveNumber);
  sandbox->add_flag("--restart-graceful", o.restart_graceful, "Restart it with SIGTERM")->needs(after);
}

void AddOthers(CLI::App& app, CommandLine& line) {
  AddCommand(&app, line, "status", "Show how the daemon is",
             "  cmkctl status\n  cmkctl --socket /run/cmkd/cmkd.sock status", Status);
  CLI::App* explain =
      AddCommand(&app, line, "explain", "Say what a code means, why it comes and what to do",
                 "  cmkctl explain KEY_PENDING_DELETION\n"
                 "  cmkctl explain CKR_PIN_INCORRECT\n"
                 "  cmkctl explain 0xA0\n"
                 "Without a code: all of them. A number is looked for among return values and among detail codes.",
                 [&](const Context& c) { return Explain(c, line.code); });
  explain->add_option("code", line.code, "A name or a number");
  CLI::App* init = AddCommand(&app, line, "init", "Write the configuration of a private daemon",
                              "  cmkctl init --directory ~/.cmkd\n  cmkd --config ~/.cmkd/cmkd.toml",
                              [&](const Context& c) { return Init(c, line.init); });
  init->add_option("--directory", line.init.directory, "Where it goes; made if it is not there")->required();
  AddCommand(&app, line, "version", "Show the version of cmkctl", "  cmkctl version", Version);
}

void Describe(CLI::App& app, CommandLine& line) {
  app.require_subcommand(1);
  app.fallthrough();
  app.get_formatter()->column_width(28);
  app.add_option("--socket", line.socket, "Where the daemon listens ($CMKD_SOCKET or /run/cmkd/cmkd.sock)");
  app.add_flag("--json", line.json, "Results and problems as JSON");
  app.add_option("--request-id", line.request_id,
                 "Name of a change, at most 64 bytes: the same command with the same name within a day is done once");
  app.add_flag("--dry-run", line.dry_run, "Of a change: say whether it would be done, and do nothing");
  AddOthers(app, line);
  AddTokenCommands(app, line);
  AddKeyCommands(app, line);
  AddCiphertextCommands(app, line);
  AddAuditCommands(app, line);
  AddHsmCommands(app, line);
  AddAdopt(app, line);
  AddSandbox(app, line);
  app.footer(
      "cmkctl COMMAND --help has examples.\n"
      "Exit status: 0 done, 1 refused, 2 wrong command line, 3 no daemon answers.");
}

std::string DefaultSocket() {
  const char* named = std::getenv("CMKD_SOCKET");
  return named != nullptr && *named != '\0' ? named : kDefaultSocket;
}

// "key create" of the commands that were recognised, for the hint at their help.
std::string Path(const CLI::App& app) {
  std::string path;
  for (const CLI::App* at = &app; at != nullptr;) {
    const std::vector<CLI::App*> inner = at->get_subcommands();
    at = inner.empty() ? nullptr : inner.back();
    if (at != nullptr) path += ' ' + at->get_name();
  }
  return path;
}

// The library's messages are half sentences.
std::string Sentence(std::string message) {
  message.erase(message.find_last_not_of(" \n.") + 1);
  return message + '.';
}

// Splits off what stands behind the first "--": it is another program's command line, and nothing of it is ours.
std::vector<std::string> TakeCommand(std::vector<std::string>& arguments) {
  const auto mark = std::find(arguments.begin(), arguments.end(), "--");
  std::vector<std::string> command(mark == arguments.end() ? mark : mark + 1, arguments.end());
  arguments.erase(mark, arguments.end());
  return command;
}

// An exit status when there is nothing more to do.
std::optional<int> Parse(CLI::App& app, const CommandLine& line, const std::vector<std::string>& arguments,
                         std::ostream& out, Screen& screen) {
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(std::move(reversed));
    return std::nullopt;
  } catch (const CLI::Success& wanted) {  // --help
    app.exit(wanted, out, screen.err);
    out.flush();
    return static_cast<int>(ExitStatus::kDone);
  } catch (const CLI::ParseError& error) {
    screen.json = line.json;
    return Report(screen, UsageProblem(Sentence(error.what()), "See cmkctl" + Path(app) + " --help.").error);
  }
}

}  // namespace

int RunCmkctl(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err, bool out_colour,
              bool err_colour) {
  CommandLine line;
  line.socket = DefaultSocket();
  CLI::App app("cmkctl: keys, tokens and the audit log of cmkd", "cmkctl");
  Describe(app, line);
  Screen screen{out, err, false, out_colour, err_colour};
  std::vector<std::string> own = arguments;
  line.sandbox.command = TakeCommand(own);
  if (const std::optional<int> status = Parse(app, line, own, out, screen)) return *status;
  screen.json = line.json;
  const bool takes_command = app.got_subcommand("sandbox");
  if (takes_command == line.sandbox.command.empty()) {
    return Report(screen,
                  UsageProblem(takes_command ? "A sandbox needs a command to run." : "There is nothing to run here.",
                               "Only a sandbox has a command: cmkctl sandbox [OPTIONS] -- COMMAND...")
                      .error);
  }
  if (!line.sandbox.faults.empty() && line.sandbox.hsm != SandboxHsm::kFirmwareSim) {
    return Report(screen, UsageProblem("Only the simulated device can be made to fail.",
                                       "cmkctl sandbox --hsm firmware_sim --faults FILE -- COMMAND...")
                              .error);
  }
  return line.command({line.socket, screen, line.request_id, line.dry_run});
}

}  // namespace cmkd::tools

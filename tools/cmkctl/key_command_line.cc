// What may be typed of keys: `cmkctl key ...`.
#include <CLI/CLI.hpp>

#include "tools/cmkctl/command_line.h"

namespace cmkd::tools {

namespace {

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

}  // namespace

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

}  // namespace cmkd::tools

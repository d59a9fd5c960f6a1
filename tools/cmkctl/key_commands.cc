// cmkctl key create, list, show, disable, enable, rotate, schedule-deletion, cancel-deletion.
#include <time.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>

#include "common/bytes.h"
#include "keystore/cmk/state.h"
#include "tools/cmkctl/administrator.h"
#include "tools/cmkctl/commands.h"
#include "tools/cmkctl/key_listing.h"
#include "tools/cmkctl/times.h"

namespace cmkd::tools {

namespace {

constexpr int kDone = static_cast<int>(ExitStatus::kDone);
constexpr std::size_t kKeyIdBytes = 16;

std::string Joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all.append(all.empty() ? "" : ", ").append(Harmless(text));
  return all.empty() ? "none" : all;
}

Cell StateCell(const std::string& state) {
  const auto known = cmk::CmkStateFromName(state);
  if (!known) return state;
  switch (*known) {
    case cmk::CmkState::kEnabled: return {state, Tone::kGood};
    case cmk::CmkState::kPendingDeletion: return {state, Tone::kBad};
    case cmk::CmkState::kDestroyed: return {state, Tone::kFaint};
    default: return {state, Tone::kCaution};
  }
}

char Upper(char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); }

// With one token there is no need to name it.
Outcome<std::string> OnlyToken(Administrator& daemon) {
  ASSIGN_OR_RETURN(const Value list, daemon.Ask("token.list"));
  std::vector<std::string> ids;
  for (const Value& token : list.Items("tokens")) {
    if (token.Flag("initialized")) ids.push_back(token.Text("id"));
  }
  if (ids.size() == 1) return ids[0];
  if (ids.empty())
    return UsageProblem("There is no token for the key.", "Make one: cmkctl token create --label LABEL.");
  return UsageProblem("There are " + std::to_string(ids.size()) + " tokens.", "Say which with --token LABEL.");
}

bool IsHex(const std::string& text) {
  return text.size() % 2 == 0 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

// A date as typed, in seconds since 1970 on the wire; "none" is zero, which takes a date away.
Outcome<void> SetDate(Object& arguments, const char* name, const std::string& typed) {
  if (typed.empty()) return {};
  if (typed == "none") {
    arguments.Set(name, std::int64_t{0});
    return {};
  }
  const bool day = typed.find('T') == std::string::npos;
  const std::optional<std::int64_t> seconds = ParseUtc(day ? typed + "T00:00:00Z" : typed);
  if (!seconds) return UsageProblem("\"" + typed + "\" is no date.", "Write 2027-01-31 or 2027-01-31T12:00:00Z.");
  arguments.Set(name, *seconds);
  return {};
}

Outcome<Value> MakeKey(const Context& context, KeyCreateOptions& options) {
  const bool by_default = options.key_class == "default";
  if (options.name.empty() != by_default)
    return UsageProblem(by_default ? "A default key has a name of its own." : "A key needs a name.",
                        "See cmkctl key create --help.");
  if (!IsHex(options.id)) return UsageProblem("--id takes bytes in hexadecimal, such as 01 or 0a1b2c.");
  std::transform(options.spec.begin(), options.spec.end(), options.spec.begin(), Upper);
  Administrator daemon(context);
  if (options.token.empty()) {
    ASSIGN_OR_RETURN(options.token, OnlyToken(daemon));
  }
  Object arguments;
  arguments.Set("token", options.token).SetIfAny("name", options.name).Set("spec", options.spec);
  arguments.SetIfAny("class", options.key_class);
  if (options.owner) arguments.Set("owner", std::uint64_t{*options.owner});
  arguments.SetIfAny("usage", options.usage).SetIfAny("id", options.id).SetIfAny("description", options.description);
  if (options.rotation_days) arguments.Set("rotation_days", std::uint64_t{*options.rotation_days});
  RETURN_IF_ERROR(SetDate(arguments, "activation", options.activation));
  RETURN_IF_ERROR(SetDate(arguments, "expiry", options.expiry));
  if (options.usage_limit) arguments.Set("usage_limit", std::uint64_t{*options.usage_limit});
  if (options.deletion_protected) arguments.Set("deletion_protected", true);
  if (options.external) arguments.Set("origin", "external");
  if (options.fixed_version) arguments.Set("fixed_version", true);
  return daemon.Ask("key.create", arguments);
}

Table KeyTable() {
  return Table({{"NAME"}, {"TOKEN"}, {"SPEC"}, {"STATE"}, {"VERSION", true}, {"NEXT ROTATION"}, {"DELETION"}, {"ID"}});
}

void AddKey(Table& table, const Value& key) {
  table.Add({{key.Text("name"), Tone::kStrong},
             key.Text("token"),
             key.Text("spec"),
             StateCell(key.Text("state")),
             key.Text("current_version"),
             LocalTime(key.Text("next_rotation")),
             LocalTime(key.Text("deletion_date")),
             {key.Text("id"), Tone::kFaint}});
}

// An id needs no token beside it.
bool IsId(const std::string& key) { return key.size() == 2 * kKeyIdBytes && IsHex(key); }

Object KeyArguments(const KeyOptions& options) {
  Object arguments;
  const bool whole = options.token.empty() || IsId(options.key);
  arguments.Set("key", whole ? options.key : options.token + '/' + options.key);
  if (options.days) arguments.Set("days", std::uint64_t{*options.days});
  if (options.new_object) arguments.Set("new_object", true);
  if (options.overlap_days) arguments.Set("overlap_days", std::uint64_t{*options.overlap_days});
  if (options.brown_out_days) arguments.Set("brown_out_days", std::uint64_t{*options.brown_out_days});
  arguments.SetIfAny("alias", options.alias).SetIfAny("consumer", options.consumer);
  return arguments;
}

std::string VersionTable(const Value& key, bool colour) {
  Table table({{"VERSION", true}, {"STATE"}, {"CREATED"}, {"RETIRED"}, {"USES", true}, {"LAST USED"}, {"PROTECTION"}});
  for (const Value& version : key.Items("version_list")) {
    const std::string state = version.Text("state");
    const bool current = state == cmk::Name(cmk::VersionState::kCurrent);
    table.Add({version.Text("number"),
               {state, current ? Tone::kGood : Tone::kPlain},
               LocalTime(version.Text("created")),
               LocalTime(version.Text("retired")),
               version.Text("uses"),
               LocalTime(version.Text("last_used")),
               version.Text("protection")});
  }
  return table.empty() ? std::string() : '\n' + table.Print(colour);
}

std::string KeyText(const Value& key, bool colour) {
  Facts facts;
  facts.Add("name", {key.Text("name"), Tone::kStrong});
  facts.Add("token", key.Text("token"));
  facts.Add("id", key.Text("id"));
  facts.Add("description", key.Text("description"));
  facts.Add("spec", key.Text("spec"));
  facts.Add("usage", key.Text("usage"));
  facts.Add("state", StateCell(key.Text("state")));
  facts.Add("version", key.Text("current_version") + " of " + key.Text("versions"));
  facts.Add("rotates", key.Has("rotatable") ? (key.Flag("rotatable") ? "in place" : "not: its version is fixed") : "");
  facts.Add("rotation", key.Number("rotation_days") > 0 ? "every " + key.Text("rotation_days") + " days" : "");
  facts.Add("active from", LocalTime(key.Text("activation")));
  facts.Add("expires", LocalTime(key.Text("expiry")));
  facts.Add("usage limit", key.Number("usage_limit") > 0 ? key.Text("usage_limit") + " uses of a version" : "");
  facts.Add("protected", key.Flag("deletion_protected") ? "against deletion" : "");
  facts.Add("follows", key.Text("predecessor"));
  if (key.Text("class") != "customer") facts.Add("class", key.Text("class"));
  facts.Add("owner", key.Has("owner") ? "user " + key.Text("owner") : "");
  const std::vector<std::string> consumers = key.Texts("consumers");
  if (!consumers.empty()) facts.Add("consumers", Joined(consumers));
  facts.Add("brown-outs", {LocalTime(key.Text("next_brown_out")), Tone::kBad});
  facts.Add("announced", {LocalTime(key.Text("announced_until")), Tone::kBad});
  const std::vector<std::string> aliases = key.Texts("aliases");
  if (!aliases.empty()) facts.Add("aliases", Joined(aliases));
  facts.Add("next rotation", LocalTime(key.Text("next_rotation")));
  facts.Add("deletion", {LocalTime(key.Text("deletion_date")), Tone::kBad});
  facts.Add("created", LocalTime(key.Text("created")));
  facts.Add("origin", key.Text("origin"));
  facts.Add("handle", key.Text("handle"));
  return facts.Print(colour) + VersionTable(key, colour);
}

// A token may have no waiting period; then there is no "until then".
std::string DeletionSentence(const std::string& name, const Value& key) {
  if (key.Has("announced_until")) {
    return name + " is refused for a while each day, longer every day, until " +
           LocalTime(key.Text("announced_until")) + "; then its deletion begins to wait. The next time is at " +
           LocalTime(key.Text("next_brown_out")) + ".\n";
  }
  const std::string date = key.Text("deletion_date");
  const std::optional<std::int64_t> seconds = ParseUtc(date);
  if (seconds && *seconds <= static_cast<std::int64_t>(::time(nullptr))) {
    return name + " is being destroyed now: it had no waiting period.\n";
  }
  return name + " will be destroyed on " + LocalTime(date) + "; until then: cmkctl key cancel-deletion " +
         Harmless(key.Text("id")) + "\n";
}

std::string Sentence(KeyChange change, const Value& key) {
  const std::string name = "Key " + Harmless(key.Text("name"));
  switch (change) {
    case KeyChange::kDisable: return name + " is disabled: no use of it from now on.\n";
    case KeyChange::kEnable: return name + " is enabled.\n";
    case KeyChange::kArchive: return name + " is archived: it opens what it protected, and protects nothing new.\n";
    case KeyChange::kUnarchive: return name + " is no longer archived; it is " + key.Text("state") + ".\n";
    case KeyChange::kActivate: return name + " is active.\n";
    case KeyChange::kDeleteMaterial:
      return name + " has no material any more; the same material can be imported again.\n";
    case KeyChange::kAlias:
    case KeyChange::kUnalias: return name + " has the aliases: " + Joined(key.Texts("aliases")) + ".\n";
    case KeyChange::kRegister:
    case KeyChange::kRelease: return name + " has the consumers: " + Joined(key.Texts("consumers")) + ".\n";
    case KeyChange::kRotate:
      return name + " is rotated: version " + key.Text("current_version") +
             " protects from now on, older ones still open.\n";
    case KeyChange::kScheduleDeletion: return DeletionSentence(name, key);
    case KeyChange::kCancelDeletion: return name + " will not be deleted; it is " + key.Text("state") + ".\n";
  }
  return {};
}

std::optional<Bytes> BytesOf(std::string_view hex) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  Bytes bytes;
  for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
    const int high = digit(hex[at]);
    const int low = digit(hex[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<std::uint8_t>(high * 16 + low));
  }
  return bytes;
}

}  // namespace

int KeyCreate(const Context& context, KeyCreateOptions options) {
  const Outcome<Value> made = MakeKey(context, options);
  if (!made) return Report(context.screen, made.error());
  const Value key = made->At("key");
  std::string text =
      "Key " + Harmless(key.Text("name")) + " is made: " + key.Text("spec") + ", id " + key.Text("id") + ".\n";
  if (key.Has("rotatable") && !key.Flag("rotatable")) text += "Its version is fixed: it does not rotate in place.\n";
  context.screen.Show(*made, text);
  return kDone;
}

int KeyList(const Context& context, const KeyListOptions& options) {
  Administrator daemon(context);
  const std::uint32_t wanted = options.all ? 0 : options.limit != 0 ? options.limit : kKeysShown;
  const Outcome<KeyPages> pages = CollectKeys(daemon, options, wanted);
  if (!pages) return Report(context.screen, pages.error());
  if (context.screen.json) {
    context.screen.Show(Object().Set("keys", pages->keys).Set("next", pages->next).ToValue(), {});
    return kDone;
  }
  Table table = KeyTable();
  for (const Value& key : pages->keys) AddKey(table, key);
  context.screen.out << (table.empty() ? "There are no such keys.\n" : table.Print(context.screen.colour))
                     << std::flush;
  if (!pages->next.empty())
    context.screen.Note("there are more keys; go on with --after " + pages->next + ", or use --all");
  return kDone;
}

int KeyShow(const Context& context, const KeyOptions& options) {
  Administrator daemon(context);
  const Outcome<Value> shown = daemon.Ask("key.show", KeyArguments(options));
  if (!shown) return Report(context.screen, shown.error());
  context.screen.Show(*shown, KeyText(shown->At("key"), context.screen.colour));
  return kDone;
}

int KeySet(const Context& context, const KeySetOptions& options) {
  Object arguments = KeyArguments(options.key);
  if (options.description) arguments.Set("description", *options.description);
  if (options.rotation_days) arguments.Set("rotation_days", std::uint64_t{*options.rotation_days});
  if (options.usage_limit) arguments.Set("usage_limit", std::uint64_t{*options.usage_limit});
  for (const auto& [name, typed] : {std::pair("activation", options.activation), std::pair("expiry", options.expiry)}) {
    const Outcome<void> set = SetDate(arguments, name, typed);
    if (!set) return Report(context.screen, set.error());
  }
  if (!options.deletion_protection.empty()) arguments.Set("deletion_protected", options.deletion_protection == "on");
  if (!options.compromised_processes.empty())
    arguments.Set("processes_compromised", options.compromised_processes == "on");
  Object tags;
  for (const std::string& tag : options.tags) {
    const std::size_t equals = tag.find('=');
    if (equals == std::string::npos || equals == 0)
      return Report(context.screen, UsageProblem("--tag takes NAME=VALUE, or NAME= to take a tag away.").error);
    if (equals + 1 == tag.size()) {
      tags.Set(tag.substr(0, equals), Value::Parse("null").value());
    } else {
      tags.Set(tag.substr(0, equals), tag.substr(equals + 1));
    }
  }
  if (!options.tags.empty()) arguments.Set("tags", tags);
  Administrator daemon(context);
  const Outcome<Value> done = daemon.Ask("key.set", arguments);
  if (!done) return Report(context.screen, done.error());
  context.screen.Show(*done, KeyText(done->At("key"), context.screen.colour));
  return kDone;
}

int KeyImportParams(const Context& context, const KeyImportOptions& options) {
  Object arguments = KeyArguments(options.key);
  arguments.SetIfAny("algorithm", options.algorithm);
  if (options.bits) arguments.Set("bits", std::uint64_t{*options.bits});
  Administrator daemon(context);
  const Outcome<Value> made = daemon.Ask("key.import-params", arguments);
  if (!made) return Report(context.screen, made.error());
  std::ofstream file(options.public_key_file, std::ios::trunc);
  if (!(file << made->Text("public_key") << std::flush))
    return Report(context.screen, UsageProblem("Cannot write " + options.public_key_file + ".").error);
  context.screen.Show(*made, "Wrap the material with the public key in " + Harmless(options.public_key_file) + " (" +
                                 made->Text("algorithm") + "), then until " + LocalTime(made->Text("expires")) +
                                 ":\n  cmkctl key import " + Harmless(options.key.key) + " --import-token " +
                                 made->Text("import_token") + " --wrapped FILE\n");
  return kDone;
}

int KeyImport(const Context& context, const KeyImportOptions& options) {
  std::ifstream file(options.wrapped_file, std::ios::binary);
  const std::string wrapped{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || wrapped.empty())
    return Report(context.screen, UsageProblem("Cannot read " + options.wrapped_file + ".").error);
  Object arguments = KeyArguments(options.key);
  arguments.Set("import_token", options.import_token).Set("wrapped", Hex(AsBytes(wrapped)));
  const Outcome<void> set = SetDate(arguments, "expiry", options.expiry);
  if (!set) return Report(context.screen, set.error());
  Administrator daemon(context);
  const Outcome<Value> done = daemon.Ask("key.import", arguments);
  if (!done) return Report(context.screen, done.error());
  context.screen.Show(*done, KeyText(done->At("key"), context.screen.colour));
  return kDone;
}

int KeyDestroyNow(const Context& context, const KeyDestroyNowOptions& options) {
  Object arguments = KeyArguments(options.key);
  arguments.Set("reason", options.reason).Set("sign_with", options.sign_with);
  Administrator daemon(context);
  const Outcome<Value> done = daemon.Ask("key.destroy-now", arguments);
  if (!done) return Report(context.screen, done.error());
  if (done->Flag("dry_run")) {
    context.screen.Show(*done, "With " + done->Text("needed") + " approvals it is destroyed.\n");
    return kDone;
  }
  if (!done->Flag("destroyed")) {
    context.screen.Show(*done,
                        "Approval " + done->Text("approvals") + " of " + done->Text("needed") +
                            ": nothing is destroyed yet. Other operators approve with the same command and reason, "
                            "within a day.\n");
    return kDone;
  }
  const std::optional<Bytes> signature = BytesOf(done->Text("signature"));
  std::ofstream record(options.record_file, std::ios::binary | std::ios::trunc);
  std::ofstream beside(options.record_file + ".sig", std::ios::binary | std::ios::trunc);
  record << done->Text("record") << std::flush;
  if (signature) beside << AsText(*signature) << std::flush;
  if (!record || !beside || !signature) {
    context.screen.Note("the record could not be written to " + Harmless(options.record_file) +
                        "; the same command gives it again");
  }
  context.screen.Show(*done, "Key " + Harmless(options.key.key) + " is destroyed. The record is in " +
                                 Harmless(options.record_file) + ", its signature beside it:\n  openssl dgst -sha256 " +
                                 "-verify PUBLIC_KEY -signature " + Harmless(options.record_file) + ".sig " +
                                 Harmless(options.record_file) + "\n");
  return kDone;
}

int KeyUsers(const Context& context, const KeyUsersOptions& options) {
  Object arguments = KeyArguments(options.key);
  if (options.version) arguments.Set("version", std::uint64_t{*options.version});
  if (options.days) arguments.Set("days", std::uint64_t{*options.days});
  Administrator daemon(context);
  const Outcome<Value> done = daemon.Ask("key.users", arguments);
  if (!done) return Report(context.screen, done.error());
  Table table(
      {{"VERSION", true}, {"UID", true}, {"PROTECTED", true}, {"OPENED", true}, {"BYTES", true}, {"FIRST"}, {"LAST"}});
  for (const Value& user : done->Items("users")) {
    table.Add({user.Text("version"), Cell(user.Has("uid") ? user.Text("uid") : "others", Tone::kStrong),
               user.Text("protects"), user.Text("processes"), user.Text("bytes"), LocalTime(user.Text("first")),
               LocalTime(user.Text("last"))});
  }
  context.screen.Show(*done,
                      table.empty() ? "There is no use of it in that time.\n" : table.Print(context.screen.colour));
  return kDone;
}

int KeyVersionDo(const Context& context, const KeyVersionOptions& options) {
  Object arguments = KeyArguments(options.key);
  arguments.Set("version", std::uint64_t{options.version}).Set("event", options.event);
  Administrator daemon(context);
  const Outcome<Value> done = daemon.Ask("key.version", arguments);
  if (!done) return Report(context.screen, done.error());
  context.screen.Show(*done, KeyText(done->At("key"), context.screen.colour));
  return kDone;
}

int KeyDo(const Context& context, KeyChange change, const KeyOptions& options) {
  Administrator daemon(context);
  const Outcome<Value> done = daemon.Ask(VerbOf(change), KeyArguments(options));
  if (!done) return Report(context.screen, done.error());
  context.screen.Show(*done, Sentence(change, done->At("key")));
  return kDone;
}

}  // namespace cmkd::tools

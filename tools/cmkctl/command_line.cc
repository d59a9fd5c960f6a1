// What may be typed, with its help, and which command it calls.
#include "tools/cmkctl/command_line.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "tools/cmkctl/cmkctl.h"
#include "tools/cmkctl/token_setup.h"

namespace cmkd::tools {

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

namespace {

constexpr char kDefaultSocket[] = "/run/cmkd/cmkd.sock";

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

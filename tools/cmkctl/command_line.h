// The whole command line of cmkctl: the options of all commands, which one was given, and how commands are added.
// command_line.cc puts it together; the larger subjects have a file each, *_command_line.cc.
#pragma once

#include <functional>
#include <string>

#include "tools/cmkctl/commands.h"
#include "tools/cmkctl/sandbox.h"

namespace CLI {
class App;
}

namespace cmkd::tools {

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

// A command with its help; `command` runs when it was given.
CLI::App* AddCommand(CLI::App* parent, CommandLine& line, const std::string& name, const std::string& description,
                     const std::string& examples, std::function<int(const Context&)> command);
// A command of which one of those below it must be given.
CLI::App* AddGroup(CLI::App& app, const std::string& name, const std::string& description);

// ---- One function a subject

void AddKeyCommands(CLI::App& app, CommandLine& line);
void AddCiphertextCommands(CLI::App& app, CommandLine& line);
void AddHsmCommands(CLI::App& app, CommandLine& line);
void AddAdopt(CLI::App& app, CommandLine& line);

}  // namespace cmkd::tools

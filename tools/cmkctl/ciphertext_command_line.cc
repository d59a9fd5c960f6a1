// What may be typed of ciphertexts and data keys: `cmkctl ciphertext ...`, `cmkctl data-key ...`.
#include <CLI/CLI.hpp>

#include "tools/cmkctl/command_line.h"

namespace cmkd::tools {

namespace {

void AddContext(CLI::App* command, CipherOptions& o) {
  command->add_option("--context", o.context, "NAME=VALUE of the encryption context; may be given again");
}

void AddUser(CLI::App* command, CipherOptions& o) {
  command->add_option("--token", o.token, "Label of the token");
  command->add_option("--pin-file", o.pin_file,
                      "File whose first line is the user PIN (else CMKD_PIN, else asked for)");
}

}  // namespace

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

}  // namespace cmkd::tools

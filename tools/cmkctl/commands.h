// The commands of cmkctl: each takes what the command line said and gives an exit status. *command_line.cc fill the
// options; here is what each does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/cmkctl/screen.h"

namespace cmkd::tools {

// What every command gets.
struct Context {
  std::string socket;
  Screen screen;
  std::string request_id;  // of a change: given again, it is not made twice; empty: a fresh one
  bool dry_run = false;    // changes are only decided, not made
};

// ---- The daemon and its tokens

int Status(const Context& context);

struct TokenCreateOptions {
  std::string label;
  std::string profile;  // managed, general, or empty for the daemon's default
  std::string hsm;      // empty: the daemon's default
  std::string pin_file;
  std::string so_pin_file;
};
// Makes a token's slot by the operator's door, then initialises it by the standard's own calls, which carry the PINs.
int TokenCreate(const Context& context, const TokenCreateOptions& options);
int TokenList(const Context& context);

struct TokenSetOptions {
  std::string token;  // empty: the only one there is
  std::optional<std::uint32_t> deletion_window_days;
  std::optional<std::uint32_t> version_quiet_days;
  std::string disable_first;  // on, off, or empty for no change
};
int TokenSet(const Context& context, const TokenSetOptions& options);

struct TokenEpochOptions {
  std::string token;     // empty: the only one there is
  bool no_wait = false;  // begin, and do not see it through
};
// Replaces the token's wrapping key, and waits until the old one is destroyed.
int TokenNewEpoch(const Context& context, const TokenEpochOptions& options);

// ---- Keys

struct KeyCreateOptions {
  std::string token;
  std::string name;
  std::string spec;
  std::string usage;
  std::string id;
  std::string description;
  std::optional<std::uint32_t> rotation_days;
  std::string activation;  // dates: 2027-01-31 or 2027-01-31T12:00:00Z
  std::string expiry;
  std::optional<std::uint64_t> usage_limit;
  bool deletion_protected = false;
  bool fixed_version = false;
  bool external = false;
  std::string key_class;  // customer, service or default; empty: customer
  std::optional<std::uint32_t> owner;
};
int KeyCreate(const Context& context, KeyCreateOptions options);

struct KeyListOptions {
  std::string token;
  std::string state;
  std::string tag;   // NAME or NAME=VALUE
  std::string name;  // a part of the name, an alias or the id
  std::string spec;
  std::string key_class;
  std::string origin;
  std::string after;
  std::uint32_t limit = 0;  // 0: one screenful of kKeysShown, and a remark when there are more
  bool all = false;         // page after page, to the end
};
inline constexpr std::uint32_t kKeysShown = 1000;
int KeyList(const Context& context, const KeyListOptions& options);

// A key as the operator names it: its id, its name, or TOKEN/NAME; with `token`, the name in that token.
struct KeyOptions {
  std::string key;
  std::string token;
  std::optional<std::uint32_t> days;  // schedule-deletion only
  bool new_object = false;            // rotate only
  std::optional<std::uint32_t> overlap_days;
  std::string alias;                            // alias and unalias only
  std::string consumer;                         // register and release only
  std::optional<std::uint32_t> brown_out_days;  // schedule-deletion only
};
int KeyShow(const Context& context, const KeyOptions& options);

enum class KeyChange {
  kDisable,
  kEnable,
  kArchive,
  kUnarchive,
  kActivate,
  kDeleteMaterial,
  kRotate,
  kScheduleDeletion,
  kCancelDeletion,
  kAlias,
  kUnalias,
  kRegister,
  kRelease,
};
int KeyDo(const Context& context, KeyChange change, const KeyOptions& options);

struct KeyBulkOptions {
  KeyListOptions filter;
  std::string change;  // disable, enable, archive, unarchive, rotate, schedule-deletion, cancel-deletion
  std::optional<std::uint32_t> days;
  std::optional<std::uint32_t> brown_out_days;
  bool every = false;  // no filter is meant to be given
};
// The same change of every key that fits, each with a result of its own. Status kRefused when one of them failed.
int KeyBulk(const Context& context, const KeyBulkOptions& options);

struct KeySetOptions {
  KeyOptions key;
  std::optional<std::string> description;
  std::optional<std::uint32_t> rotation_days;  // 0: no more
  std::optional<std::uint64_t> usage_limit;    // 0: the mechanism's own
  std::string activation;
  std::string expiry;                 // a date, or "none"
  std::string deletion_protection;    // on, off, or empty for no change
  std::string compromised_processes;  // likewise
  std::vector<std::string> tags;      // NAME=VALUE; NAME= takes a tag away
};
int KeySet(const Context& context, const KeySetOptions& options);

struct KeyImportOptions {
  KeyOptions key;
  std::string algorithm;
  std::optional<std::uint32_t> bits;
  std::string public_key_file;  // import-params writes it
  std::string import_token;
  std::string wrapped_file;
  std::string expiry;
};
int KeyImportParams(const Context& context, const KeyImportOptions& options);
int KeyImport(const Context& context, const KeyImportOptions& options);

struct KeyDestroyNowOptions {
  KeyOptions key;
  std::string reason;
  std::string sign_with;    // the key that signs the record
  std::string record_file;  // the record goes here, its signature beside it with .sig
};
// Asks for, or approves, a destruction without the waiting period.
int KeyDestroyNow(const Context& context, const KeyDestroyNowOptions& options);

struct KeyUsersOptions {
  KeyOptions key;
  std::optional<std::uint32_t> version;
  std::optional<std::uint32_t> days;
};
// Who has used which version.
int KeyUsers(const Context& context, const KeyUsersOptions& options);

struct KeyVersionOptions {
  KeyOptions key;
  std::uint32_t version = 0;
  std::string event;  // make-current, block, unblock, compromise, destroy
};
int KeyVersionDo(const Context& context, const KeyVersionOptions& options);

// ---- Managed ciphertexts and data keys

struct CipherOptions {
  std::string key;    // TOKEN/NAME, name or id; of decrypt empty: the one that the header names
  std::string token;  // its label; then the key is a name in it
  std::string pin_file;
  std::string input;                     // "-": the standard input
  std::string output;                    // "-": the standard output
  std::vector<std::string> context;      // NAME=VALUE
  std::vector<std::string> new_context;  // re-encrypt only; empty: it stays
  std::string plaintext;                 // data keys only: where the key itself goes; empty: it is not handed out
  std::uint32_t bytes = 32;              // of a data key
  std::string spec;                      // of a key pair
  std::string public_key;                // where it goes
  std::vector<std::string> files;        // re-encrypt-all only
};
// Offline: needs no daemon.
int CiphertextShow(const Context& context, const CipherOptions& options);

enum class CipherAction { kEncrypt, kDecrypt, kReEncrypt, kReEncryptAll, kGenerate, kGeneratePair };
int CiphertextDo(const Context& context, CipherAction action, const CipherOptions& options);

// ---- Audit

struct AuditShowOptions {
  std::uint32_t limit = 50;
  std::string key;
  std::string token;
  std::vector<std::string> context;  // NAME=VALUE
};
int AuditShow(const Context& context, const AuditShowOptions& options);

struct AuditVerifyOptions {
  std::string directory;
  std::string anchor;  // SEQUENCE:CHAIN as an earlier verify printed it; empty: none
  bool allow_pruned = false;
};
// Offline: needs no daemon.
int AuditVerify(const Context& context, const AuditVerifyOptions& options);

// ---- What lies in the HSMs

struct HsmReconcileOptions {
  bool repair = false;     // destroy orphans
  bool leftovers = false;  // and keys of sessions whose application is not connected
  bool nameless = false;   // and keys without id and label
};
struct AdoptOptions {
  std::string token;
  bool dry_run = false;
};
struct HsmMirrorOptions {
  std::string token;
  std::string hsm;
  std::string fingerprint;
  bool lost = false;
};
// Status kRefused when a mirror is not in step.
int HsmMirrorStatus(const Context& context, const HsmMirrorOptions& options);
// Without a fingerprint: only shows the one that the HSM has.
int HsmMirrorAdd(const Context& context, const HsmMirrorOptions& options);
int HsmMirrorRemove(const Context& context, const HsmMirrorOptions& options);
int HsmMirrorCatchUp(const Context& context, const HsmMirrorOptions& options);
// Takes over the keys that live in the token's HSM already.
int Adopt(const Context& context, const AdoptOptions& options);
int HsmReconcile(const Context& context, const HsmReconcileOptions& options);

// ---- Without a daemon

struct HsmCheckOptions {
  std::string module;
  std::string token_label;  // this or the serial number
  std::string token_serial;
  std::string pin_file;                  // its first line; empty: the token needs no login
  std::string library_options;           // pReserved of C_Initialize
  std::vector<std::string> environment;  // NAME=VALUE, all that the module's process gets
  bool serialise = false;
};
// Status kRefused when cmkd cannot use the device.
int HsmCheck(const Context& context, const HsmCheckOptions& options);

// `code`: a name such as KEY_DISABLED or CKR_PIN_INCORRECT, or a number; empty: everything there is.
int Explain(const Context& context, const std::string& code);

struct InitOptions {
  std::string directory;
};
// Writes a commented cmkd.toml for a private daemon; never over an existing one.
int Init(const Context& context, const InitOptions& options);

int Version(const Context& context);

}  // namespace cmkd::tools

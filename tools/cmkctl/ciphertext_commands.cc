// Managed ciphertexts and data keys: what is in a header (without a daemon), and making and opening them.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "common/file.h"
#include "pkcs11/spec/encryption_context.h"
#include "pkcs11/spec/managed_ciphertext.h"
#include "tools/cmkctl/application.h"
#include "tools/cmkctl/commands.h"
#include "tools/cmkctl/pins.h"

namespace cmkd::tools {

namespace {

using spec::CallId;
using spec::ManagedHeader;

constexpr int kDone = static_cast<int>(ExitStatus::kDone);
// No managed ciphertext and no text that may become one is longer; one byte more tells what is too long.
constexpr std::size_t kReadMax = CMKD_MANAGED_PLAINTEXT_MAX + CMKD_MANAGED_OVERHEAD + 1;

// ---- Files

// The file's bytes, at most kReadMax of them. "-" is the standard input. What is read may be a secret.
Outcome<SecretBytes> ReadFile(const std::string& name) {
  const File file(name == "-" ? ::dup(STDIN_FILENO) : ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file.valid()) return UsageProblem("Cannot read " + name + ": " + std::strerror(errno) + ".");
  SecretBytes content(kReadMax);
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = ::read(file.get(), content.bytes().data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return UsageProblem("Cannot read " + name + ": " + std::strerror(errno) + ".");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  content.Truncate(size);
  return content;
}

// Writes for the owner alone: it may be a secret. "-" is the standard output.
Outcome<void> WriteFile(const std::string& name, ByteView content) {
  const File file(name == "-" ? ::dup(STDOUT_FILENO)
                              : ::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600));
  if (!file.valid()) return UsageProblem("Cannot write " + name + ": " + std::strerror(errno) + ".");
  while (!content.empty()) {
    const ssize_t put = ::write(file.get(), content.data(), content.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return UsageProblem("Cannot write " + name + ": " + std::strerror(errno) + ".");
    content = content.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

// ---- The mechanism

// NAME=VALUE pairs in the canonical form.
Outcome<Bytes> ContextFrom(const std::vector<std::string>& pairs) {
  spec::EncryptionContext context;
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) return UsageProblem("A context is NAME=VALUE, not " + pair + ".");
    if (!context.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second)
      return UsageProblem("The context has " + pair.substr(0, equals) + " twice.");
  }
  const auto encoded = spec::EncodeContext(context);
  if (!encoded) return UsageProblem("The context is longer than 8192 bytes.");
  return *encoded;
}

class ManagedMechanism {
 public:
  explicit ManagedMechanism(Bytes context) : context_(std::move(context)) {
    parameters_ = {context_.data(), context_.size()};
  }
  ManagedMechanism(const ManagedMechanism&) = delete;
  ManagedMechanism& operator=(const ManagedMechanism&) = delete;
  CK_MECHANISM_PTR pointer() { return &mechanism_; }

 private:
  Bytes context_;
  CK_CMKD_MANAGED_PARAMS parameters_{};
  CK_MECHANISM mechanism_{CKM_CMKD_AES_MANAGED, &parameters_, sizeof parameters_};
};

Outcome<void> Begin(const Context& context, Application& application, const CipherOptions& options) {
  const std::string token = !options.token.empty() ? options.token : SplitKey(options.key).token;
  RETURN_IF_ERROR(application.Open(token));
  ASSIGN_OR_RETURN(SecretBytes pin, ReadPin({options.pin_file, "CMKD_PIN", "user PIN"}, context.screen));
  return application.Login(pin);
}

// With --token a name may have a slash of its own.
std::string NameIn(const CipherOptions& options, const std::string& key) {
  return options.token.empty() ? SplitKey(key).name : key;
}

// ---- Headers

std::optional<ManagedHeader> HeaderOf(ByteView ciphertext) { return spec::ReadManagedHeader(ciphertext); }

Object DescribeHeader(const ManagedHeader& header, std::size_t bytes) {
  return std::move(Object()
                       .Set("format", std::uint64_t{1})
                       .Set("algorithm", spec::Name(header.algorithm))
                       .Set("key_id", Hex(header.key_id))
                       .Set("key_version", std::uint64_t{header.key_version})
                       .Set("iv", Hex(header.iv))
                       .Set("commitment", Hex(header.commitment))
                       .Set("plaintext_bytes", std::uint64_t{bytes - CMKD_MANAGED_OVERHEAD}));
}

std::string HeaderText(const ManagedHeader& header, std::size_t bytes) {
  Facts facts;
  facts.Add("algorithm", std::string(spec::Name(header.algorithm)));
  facts.Add("key id", Hex(header.key_id));
  facts.Add("key version", std::to_string(header.key_version));
  facts.Add("iv", Hex(header.iv));
  facts.Add("commitment", Hex(header.commitment));
  facts.Add("plaintext", std::to_string(bytes - CMKD_MANAGED_OVERHEAD) + " bytes");
  return facts.Print(false);
}

std::string KeyText(ByteView ciphertext) {
  const auto header = HeaderOf(ciphertext);
  if (!header) return "a key";
  return "key " + Hex(header->key_id) + ", version " + std::to_string(header->key_version);
}

Outcome<ByteView> LongEnough(const SecretBytes& input, const std::string& name) {
  if (input.size() < CMKD_MANAGED_OVERHEAD || !HeaderOf(input.view())) {
    return Refused("CIPHERTEXT_UNREADABLE", name + " is no managed ciphertext.",
                   "It begins with the header that docs/ciphertext.md describes.");
  }
  return input.view();
}

// The ciphertext that was made, in its file and on the screen.
Outcome<void> Finish(const Context& context, const CipherOptions& options, ByteView ciphertext,
                     const std::string& done) {
  RETURN_IF_ERROR(WriteFile(options.output, ciphertext));
  Object result;
  if (const auto header = HeaderOf(ciphertext)) result = DescribeHeader(*header, ciphertext.size());
  result.Set("ciphertext", Hex(ciphertext)).Set("file", options.output);
  if (options.output != "-") context.screen.Show(result.ToValue(), done + " under " + KeyText(ciphertext) + ".\n");
  return {};
}

int StatusOf(const Context& context, const Outcome<void>& outcome) {
  return outcome ? kDone : Report(context.screen, outcome.error());
}

// ---- What each command does

Outcome<void> Encrypt(const Context& context, const CipherOptions& options) {
  ASSIGN_OR_RETURN(Bytes encoded, ContextFrom(options.context));
  ASSIGN_OR_RETURN(SecretBytes plain, ReadFile(options.input));
  if (plain.size() > CMKD_MANAGED_PLAINTEXT_MAX) {
    return Refused("TOO_LONG", options.input + " is longer than 4096 bytes.",
                   "The managed mechanism takes what is as small as a key.",
                   "Make a data key (cmkctl data-key generate) and encrypt the file with that.");
  }
  Application application(context.socket);
  RETURN_IF_ERROR(Begin(context, application, options));
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE key, application.FindKey(NameIn(options, options.key)));
  ManagedMechanism mechanism(std::move(encoded));
  Bytes sealed(plain.size() + CMKD_MANAGED_OVERHEAD);
  CK_ULONG length = sealed.size();
  spec::Call<CallId::EncryptManaged> call;
  call.mechanism.value = mechanism.pointer();
  call.key.value = key;
  call.input = {plain.bytes().data(), plain.size()};
  call.output = {sealed.data(), &length};
  RETURN_IF_ERROR(application.Do(call));
  return Finish(context, options, ByteView(sealed).first(length), options.input + " is encrypted");
}

Outcome<void> Decrypt(const Context& context, const CipherOptions& options) {
  ASSIGN_OR_RETURN(Bytes encoded, ContextFrom(options.context));
  ASSIGN_OR_RETURN(SecretBytes sealed, ReadFile(options.input));
  RETURN_IF_ERROR(LongEnough(sealed, options.input));
  Application application(context.socket);
  RETURN_IF_ERROR(Begin(context, application, options));
  ManagedMechanism mechanism(std::move(encoded));
  SecretBytes plain(sealed.size());
  CK_ULONG length = plain.size();
  spec::Call<CallId::DecryptManaged> call;
  call.mechanism.value = mechanism.pointer();
  call.input = {sealed.bytes().data(), sealed.size()};
  call.output = {plain.bytes().data(), &length};
  if (!options.key.empty()) {
    ASSIGN_OR_RETURN(call.key.value, application.FindKey(NameIn(options, options.key)));
  }
  RETURN_IF_ERROR(application.Do(call));
  plain.Truncate(length);
  RETURN_IF_ERROR(WriteFile(options.output, plain.view()));
  if (options.output != "-") {
    const Object result =
        std::move(DescribeHeader(*HeaderOf(sealed.view()), sealed.size()).Set("file", options.output));
    context.screen.Show(result.ToValue(), options.input + " is decrypted; " + KeyText(sealed.view()) + ".\n");
  }
  return {};
}

// ---- Many files: each has a result of its own, and is replaced whole or stays as it is.

// On disk before it is told: the version that the old content needs may be destroyed next.
Outcome<void> ToDisk(const std::string& name, int flags) {
  const File file(::open(name.c_str(), flags | O_CLOEXEC | O_NOCTTY));
  if (file.valid() && ::fsync(file.get()) == 0) return {};
  return UsageProblem("Cannot write " + name + " to disk: " + std::strerror(errno) + ".");
}

Outcome<void> PutBeside(const std::string& name, const std::string& beside, ByteView content) {
  RETURN_IF_ERROR(WriteFile(beside, content));
  struct stat old {};
  if (::stat(name.c_str(), &old) != 0 || ::chmod(beside.c_str(), old.st_mode & 07777) != 0)
    return UsageProblem("Cannot keep the mode of " + name + ": " + std::strerror(errno) + ".");
  RETURN_IF_ERROR(ToDisk(beside, O_RDONLY));
  if (std::rename(beside.c_str(), name.c_str()) == 0) return {};
  return UsageProblem("Cannot replace " + name + ": " + std::strerror(errno) + ".");
}

Outcome<void> ReplaceFile(const std::string& name, ByteView content) {
  const std::string beside = name + ".cmkctl-new";
  if (const auto put = PutBeside(name, beside, content); !put) {
    ::unlink(beside.c_str());
    return put;
  }
  const std::size_t slash = name.rfind('/');
  return ToDisk(slash == std::string::npos ? "." : name.substr(0, slash + 1), O_RDONLY | O_DIRECTORY);
}

// What a ciphertext becomes under `to_key`; a dry run asks whether the keys allow it.
Outcome<Bytes> Moved(Application& application, const CipherOptions& options, CK_OBJECT_HANDLE to_key,
                     const std::string& name, bool dry_run) {
  ASSIGN_OR_RETURN(Bytes old_context, ContextFrom(options.context));
  ASSIGN_OR_RETURN(Bytes new_context, ContextFrom(options.new_context.empty() ? options.context : options.new_context));
  ASSIGN_OR_RETURN(SecretBytes sealed, ReadFile(name));
  RETURN_IF_ERROR(LongEnough(sealed, name));
  ManagedMechanism from(std::move(old_context)), to(std::move(new_context));
  Bytes moved(sealed.size());
  CK_ULONG length = moved.size();
  spec::Call<CallId::ReEncrypt> call;
  call.from_mechanism.value = from.pointer();
  call.to_mechanism.value = to.pointer();
  call.to_key.value = to_key;
  call.input = {sealed.bytes().data(), sealed.size()};
  call.output = {dry_run ? nullptr : moved.data(), &length};
  RETURN_IF_ERROR(application.Do(call));
  moved.resize(dry_run ? 0 : length);
  return moved;
}

// In place; a dry run leaves the file alone.
Outcome<void> Renew(Application& application, const CipherOptions& options, CK_OBJECT_HANDLE to_key,
                    const std::string& name, bool dry_run) {
  ASSIGN_OR_RETURN(const Bytes moved, Moved(application, options, to_key, name, dry_run));
  return dry_run ? Outcome<void>() : ReplaceFile(name, moved);
}

int ReEncryptAll(const Context& context, const CipherOptions& options) {
  Application application(context.socket);
  if (const auto begun = Begin(context, application, options); !begun) return Report(context.screen, begun.error());
  const auto to_key = application.FindKey(NameIn(options, options.key));
  if (!to_key) return Report(context.screen, to_key.error());
  Table table({{"FILE"}, {"RESULT"}});
  std::vector<Object> results;
  bool all_done = true;
  for (const std::string& name : options.files) {
    const Outcome<void> done = Renew(application, options, *to_key, name, context.dry_run);
    all_done = all_done && done;
    const std::string result = !done ? done.error().code : context.dry_run ? "would be encrypted anew" : "done";
    table.Add({Harmless(name), {result, done ? Tone::kGood : Tone::kBad}});
    Object row;
    row.Set("file", name).Set("done", bool{done} && !context.dry_run).Set("result", done ? "" : done.error().code);
    results.push_back(std::move(row));
  }
  Object whole;
  whole.Set("files", results).Set("dry_run", context.dry_run);
  context.screen.Show(whole.ToValue(), table.Print(context.screen.colour));
  return all_done ? kDone : static_cast<int>(ExitStatus::kRefused);
}

Outcome<void> ReEncryptFile(const Context& context, const CipherOptions& options) {
  Application application(context.socket);
  RETURN_IF_ERROR(Begin(context, application, options));
  ASSIGN_OR_RETURN(const CK_OBJECT_HANDLE to_key, application.FindKey(NameIn(options, options.key)));
  ASSIGN_OR_RETURN(const Bytes moved, Moved(application, options, to_key, options.input, false));
  return Finish(context, options, moved, options.input + " is encrypted anew");
}

Outcome<void> GenerateKey(const Context& context, const CipherOptions& options) {
  ASSIGN_OR_RETURN(Bytes encoded, ContextFrom(options.context));
  Application application(context.socket);
  RETURN_IF_ERROR(Begin(context, application, options));
  ManagedMechanism mechanism(std::move(encoded));
  SecretBytes plain(options.bytes);
  Bytes sealed(options.bytes + CMKD_MANAGED_OVERHEAD);
  CK_ULONG plain_length = plain.size(), length = sealed.size();
  spec::Call<CallId::GenerateDataKey> call;
  call.mechanism.value = mechanism.pointer();
  // Without a name it is the token's default key.
  if (!options.key.empty()) {
    ASSIGN_OR_RETURN(call.key.value, application.FindKey(NameIn(options, options.key)));
  }
  call.bytes.value = options.bytes;
  if (!options.plaintext.empty()) {
    call.plaintext.data = plain.bytes().data();
    call.plaintext.length = &plain_length;
  }
  call.ciphertext = {sealed.data(), &length};
  RETURN_IF_ERROR(application.Do(call));
  if (!options.plaintext.empty()) RETURN_IF_ERROR(WriteFile(options.plaintext, plain.view()));
  return Finish(context, options, ByteView(sealed).first(length),
                "A data key of " + std::to_string(options.bytes) + " bytes is made, and encrypted");
}

// The key pairs that a data key may be: how each is made.
struct PairRow {
  std::string_view spec;
  CK_MECHANISM_TYPE generator;
  CK_ULONG modulus_bits;
  std::string_view parameters;  // CKA_EC_PARAMS
};
constexpr PairRow kPairs[] = {
    {"RSA-2048", CKM_RSA_PKCS_KEY_PAIR_GEN, 2048, {}},
    {"RSA-3072", CKM_RSA_PKCS_KEY_PAIR_GEN, 3072, {}},
    {"RSA-4096", CKM_RSA_PKCS_KEY_PAIR_GEN, 4096, {}},
    {"EC-P256", CKM_EC_KEY_PAIR_GEN, 0, {"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10}},
    {"EC-P384", CKM_EC_KEY_PAIR_GEN, 0, {"\x06\x05\x2b\x81\x04\x00\x22", 7}},
    {"EC-P521", CKM_EC_KEY_PAIR_GEN, 0, {"\x06\x05\x2b\x81\x04\x00\x23", 7}},
};

Outcome<void> GeneratePair(const Context& context, const CipherOptions& options) {
  const PairRow* row = nullptr;
  for (const PairRow& each : kPairs) {
    if (each.spec == options.spec) row = &each;
  }
  if (row == nullptr) return UsageProblem("There is no key pair " + options.spec + ".");
  ASSIGN_OR_RETURN(Bytes encoded, ContextFrom(options.context));
  Application application(context.socket);
  RETURN_IF_ERROR(Begin(context, application, options));
  ManagedMechanism mechanism(std::move(encoded));
  CK_MECHANISM generator{row->generator, nullptr, 0};
  CK_ULONG bits = row->modulus_bits;
  CK_BYTE exponent[] = {1, 0, 1};
  Bytes parameters = ToBytes(AsBytes(row->parameters));
  CK_ATTRIBUTE rsa[] = {{CKA_MODULUS_BITS, &bits, sizeof bits}, {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}};
  CK_ATTRIBUTE curve[] = {{CKA_EC_PARAMS, parameters.data(), parameters.size()}};
  Bytes public_key(1024), sealed(CMKD_MANAGED_PLAINTEXT_MAX + CMKD_MANAGED_OVERHEAD);
  SecretBytes plain(CMKD_MANAGED_PLAINTEXT_MAX);
  CK_ULONG public_length = public_key.size(), plain_length = plain.size(), length = sealed.size();
  spec::Call<CallId::GenerateDataKeyPair> call;
  call.mechanism.value = mechanism.pointer();
  if (!options.key.empty()) {
    ASSIGN_OR_RETURN(call.key.value, application.FindKey(NameIn(options, options.key)));
  }
  call.generator.value = &generator;
  if (bits != 0) {
    call.attributes = {rsa, std::size(rsa)};
  } else {
    call.attributes = {curve, std::size(curve)};
  }
  call.public_key = {public_key.data(), &public_length};
  if (!options.plaintext.empty()) {
    call.plaintext.data = plain.bytes().data();
    call.plaintext.length = &plain_length;
  }
  call.ciphertext = {sealed.data(), &length};
  RETURN_IF_ERROR(application.Do(call));
  RETURN_IF_ERROR(WriteFile(options.public_key, ByteView(public_key).first(public_length)));
  if (!options.plaintext.empty()) RETURN_IF_ERROR(WriteFile(options.plaintext, plain.view().first(plain_length)));
  return Finish(context, options, ByteView(sealed).first(length),
                "A key pair " + options.spec + " is made, and its private key encrypted");
}

}  // namespace

int CiphertextShow(const Context& context, const CipherOptions& options) {
  const auto content = ReadFile(options.input);
  if (!content) return Report(context.screen, content.error());
  const auto sealed = LongEnough(*content, options.input);
  if (!sealed) return Report(context.screen, sealed.error());
  if (sealed->size() == kReadMax) {
    return Report(context.screen,
                  Refused("CIPHERTEXT_UNREADABLE", options.input + " is longer than any managed ciphertext.").error);
  }
  const auto header = HeaderOf(*sealed);
  context.screen.Show(DescribeHeader(*header, sealed->size()).ToValue(), HeaderText(*header, sealed->size()));
  return kDone;
}

int CiphertextDo(const Context& context, CipherAction action, const CipherOptions& options) {
  switch (action) {
    case CipherAction::kEncrypt: return StatusOf(context, Encrypt(context, options));
    case CipherAction::kDecrypt: return StatusOf(context, Decrypt(context, options));
    case CipherAction::kReEncrypt: return StatusOf(context, ReEncryptFile(context, options));
    case CipherAction::kReEncryptAll: return ReEncryptAll(context, options);
    case CipherAction::kGenerate: return StatusOf(context, GenerateKey(context, options));
    case CipherAction::kGeneratePair: return StatusOf(context, GeneratePair(context, options));
  }
  return kDone;
}

}  // namespace cmkd::tools

// cmkd-sim: what is done to a simulated device at its own connector, while nobody else has it switched on: to see how
// it is, have it tested or attested, to read its audit, destroy its keys, update it, back it up. docs/firmware_sim.md
// explains each.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>

#include "firmware_sim/device.h"
#include "firmware_sim/file.h"
#include "firmware_sim/firmware_sim.h"
#include "firmware_sim/image_seal.h"
#include "firmware_sim/primitives.h"
#include "firmware_sim/signing.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::sim {

const std::uint64_t kImagePolicy = kSealedImage;

namespace {

using Arguments = std::vector<std::string>;

std::optional<Bytes> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  const std::string text(std::istreambuf_iterator<char>(file), {});
  return ToBytes(AsBytes(text));
}

Fallible<Bytes> NeedFile(const std::string& path) {
  auto content = ReadFile(path);
  if (!content) return Fail(CKR_ARGUMENTS_BAD, path + " cannot be read");
  return std::move(*content);
}

// Never over a file that is there.
Status WriteFile(const std::string& path, ByteView content) {
  const File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0 || !WriteAll(file.get(), content) || ::fsync(file.get()) != 0)
    return Fail(CKR_ARGUMENTS_BAD, path + " cannot be written");
  return {};
}

std::optional<Bytes> FromHex(std::string_view text) {
  Bytes bytes;
  if (text.size() % 2 != 0) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    std::uint8_t byte = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    if (error != std::errc() || end != text.data() + i + 2) return std::nullopt;
    bytes.push_back(byte);
  }
  return bytes;
}
Fallible<Bytes> NeedHex(std::string_view text) {
  auto bytes = FromHex(text);
  if (!bytes) return Fail(CKR_ARGUMENTS_BAD, "expected hexadecimal digits, two for a byte");
  return std::move(*bytes);
}

Fallible<std::uint64_t> NeedNumber(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return Fail(CKR_ARGUMENTS_BAD, "expected a number");
  return value;
}

std::uint64_t Now() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

Device& TheDevice() { return *Device::Current(); }

// ---- Requests and approvals as files. A request file is the very text that is signed.

Fallible<Request> ParseRequest(ByteView file) {
  Request request;
  const std::string text(AsText(file));
  std::map<std::string, std::string> fields;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const std::size_t blank = line.find(' ');
    if (blank != line.npos) fields[line.substr(0, blank)] = line.substr(blank + 1);
    begin = end + 1;
  }
  request.serial = fields["serial"];
  request.command = fields["command"];
  ASSIGN_OR_RETURN(request.argument, NeedHex(fields["argument"]));
  ASSIGN_OR_RETURN(request.expires, NeedNumber(fields["expires"]));
  ASSIGN_OR_RETURN(request.nonce, NeedHex(fields["nonce"]));
  if (TextOf(request) != text) return Fail(CKR_ARGUMENTS_BAD, "not a request");
  return request;
}

Fallible<Approved> ReadApproved(const Arguments& files) {
  Approved approved;
  for (const std::string& name : files) {
    ASSIGN_OR_RETURN(const Bytes file, NeedFile(name));
    if (&name == &files.front()) {
      ASSIGN_OR_RETURN(approved.request, ParseRequest(file));
      continue;
    }
    const std::string text(AsText(file));
    const std::size_t line = text.find('\n');
    if (line == text.npos || !text.ends_with('\n')) return Fail(CKR_ARGUMENTS_BAD, name + " is no approval");
    Approval approval;
    ASSIGN_OR_RETURN(approval.custodian, NeedHex(text.substr(0, line)));
    ASSIGN_OR_RETURN(approval.signature, NeedHex(text.substr(line + 1, text.size() - line - 2)));
    approved.approvals.push_back(std::move(approval));
  }
  return approved;
}

Arguments From(const Arguments& arguments, std::size_t first) {
  return arguments.size() <= first ? Arguments()
                                   : Arguments(arguments.begin() + static_cast<long>(first), arguments.end());
}

// ---- Commands of a device

Status ShowStatus(const Arguments&) {
  Device& device = TheDevice();
  std::printf("simulation  yes, not validated\nstate       %s\n", std::string(NameOf(device.state())).c_str());
  if (!device.trouble().empty()) std::printf("because     %s\n", device.trouble().c_str());
  if (const std::string failure = device.last_failure(); !failure.empty())
    std::printf("last failure  %s\n", failure.c_str());
  if (device.state() != DeviceState::kOperational) return {};
  const Token::Info token = device.token().info();
  const Quorum quorum = device.maintenance().quorum();
  std::printf("serial      %s\ntoken       %s\nfirmware    %llu\ncounter     %llu\n", token.serial.c_str(),
              token.initialized ? token.label.c_str() : "not initialised",
              static_cast<unsigned long long>(device.maintenance().firmware().version),
              static_cast<unsigned long long>(device.counter().last()));
  std::printf("quorum      %u of %zu\nPIN tries   SO %llu, user %llu, auditor %llu\n", quorum.needed,
              quorum.custodians.size(), static_cast<unsigned long long>(token.so_tries),
              static_cast<unsigned long long>(token.user_tries), static_cast<unsigned long long>(token.auditor_tries));
  return {};
}

Status RunTests(const Arguments&) {
  RETURN_IF_ERROR(TheDevice().SelfTest());
  std::puts("all self-tests passed");
  return {};
}

Status Attest(const Arguments& a) {
  ASSIGN_OR_RETURN(const Bytes nonce, NeedHex(a[0]));
  ASSIGN_OR_RETURN(const Maintenance::Quote quote, TheDevice().Attest(nonce));
  std::printf("%ssignature %s\npublic-key %s\n", quote.text.c_str(), Hex(quote.signature).c_str(),
              Hex(quote.public_key).c_str());
  return {};
}

// ---- The auditor

// The first line of a file.
Fallible<SecretBytes> ReadPin(const std::string& path) {
  ASSIGN_OR_RETURN(Bytes file, NeedFile(path));
  const auto end = std::find(file.begin(), file.end(), std::uint8_t{'\n'});
  SecretBytes pin(ByteView(file).first(static_cast<std::size_t>(end - file.begin())));
  Wipe(file);
  return pin;
}

// Somebody logged in for the length of one command.
template <class Work>
auto LoggedIn(Role role, const std::string& pin_file, Work work) -> decltype(work(TheDevice())) {
  Device& device = TheDevice();
  RETURN_IF_ERROR(device.Permit(Command::kAuthenticate));
  ASSIGN_OR_RETURN(const SecretBytes pin, ReadPin(pin_file));
  ASSIGN_OR_RETURN(const SessionPtr session, device.OpenSession(CKF_SERIAL_SESSION | CKF_RW_SESSION));
  RETURN_IF_ERROR(device.Login(role, pin.view()));
  auto done = work(device);
  device.CloseSession(*session);
  return done;
}

Status SetAuditor(const Arguments& a) {
  ASSIGN_OR_RETURN(const SecretBytes pin, ReadPin(a[1]));
  return LoggedIn(Role::kSecurityOfficer, a[0], [&](Device& device) { return device.SetAuditorPin(pin.view()); });
}

Status ShowAudit(const Arguments& a) {
  ASSIGN_OR_RETURN(const Maintenance::Quote audit,
                   LoggedIn(Role::kAuditor, a[0], [](Device& device) { return device.ReadAudit(); }));
  std::printf("%ssignature %s\npublic-key %s\n", audit.text.c_str(), Hex(audit.signature).c_str(),
              Hex(audit.public_key).c_str());
  return {};
}

// What ShowAudit printed: signed by this key, and whole.
Status CheckAudit(const Arguments& a) {
  ASSIGN_OR_RETURN(const Bytes file, NeedFile(a[0]));
  ASSIGN_OR_RETURN(const Bytes key, NeedHex(a[1]));
  const std::string_view text = AsText(file);
  const std::size_t at = text.rfind("\nsignature ");
  const std::size_t head = text.find('\n');
  if (at == text.npos || head > at) return Fail(CKR_DATA_INVALID, a[0] + " is no audit");
  const std::string_view line = text.substr(at + 11, text.find('\n', at + 11) - at - 11);
  ASSIGN_OR_RETURN(const Bytes signature, NeedHex(line));
  RETURN_IF_ERROR(VerifyText(key, AsBytes(text.substr(0, at + 1)), signature));
  RETURN_IF_ERROR(AuditRing::Check(text.substr(head + 1, at - head)));
  std::puts("the audit is signed and whole");
  return {};
}

Status Zeroize(const Arguments&) {
  RETURN_IF_ERROR(TheDevice().Zeroize(false));
  std::puts("all keys are destroyed");
  return {};
}

Status SetVendor(const Arguments& a) {
  RETURN_IF_ERROR(TheDevice().Permit(Command::kUse));
  ASSIGN_OR_RETURN(const Bytes key, NeedHex(a[0]));
  return TheDevice().maintenance().SetVendor(key);
}

Status Update(const Arguments& a) {
  RETURN_IF_ERROR(TheDevice().Permit(Command::kUse));
  ASSIGN_OR_RETURN(const Bytes file, NeedFile(a[0]));
  ASSIGN_OR_RETURN(const Approved approved, ReadApproved(From(a, 1)));
  return TheDevice().maintenance().Update(file, approved, Now());
}

Fallible<Quorum> ParseQuorum(const Arguments& a) {
  Quorum quorum;
  ASSIGN_OR_RETURN(const std::uint64_t needed, NeedNumber(a[0]));
  quorum.needed = static_cast<std::uint32_t>(std::min<std::uint64_t>(needed, kCustodiansMax + 1));
  for (std::size_t i = 1; i < a.size() && a[i] != "--"; ++i) {
    ASSIGN_OR_RETURN(Bytes key, NeedHex(a[i]));
    quorum.custodians.push_back(std::move(key));
  }
  return quorum;
}

Status SetQuorum(const Arguments& a) {
  RETURN_IF_ERROR(TheDevice().Permit(Command::kUse));
  ASSIGN_OR_RETURN(const Quorum quorum, ParseQuorum(a));
  const std::size_t dashes = 1 + quorum.custodians.size();
  ASSIGN_OR_RETURN(const Approved approved, ReadApproved(From(a, dashes + 1)));
  return TheDevice().maintenance().SetQuorum(quorum, approved, Now());
}

Status SetDomain(const Arguments& a) {
  RETURN_IF_ERROR(TheDevice().Permit(Command::kUse));
  std::vector<SecretBytes> parts;
  for (const std::string& name : a) {
    ASSIGN_OR_RETURN(Bytes part, NeedFile(name));
    parts.emplace_back(part);
    Wipe(part);
  }
  return TheDevice().maintenance().SetDomain(parts);
}

Status Backup(const Arguments& a) {
  ASSIGN_OR_RETURN(const Approved approved, ReadApproved(From(a, 1)));
  ASSIGN_OR_RETURN(const Bytes backup, TheDevice().Backup(approved, Now()));
  return WriteFile(a[0], backup);
}

Status Restore(const Arguments& a) {
  ASSIGN_OR_RETURN(const Bytes backup, NeedFile(a[0]));
  ASSIGN_OR_RETURN(const Approved approved, ReadApproved(From(a, 1)));
  ASSIGN_OR_RETURN(const std::size_t added, TheDevice().Restore(backup, approved, Now()));
  std::printf("%zu objects added\n", added);
  return {};
}

// For "quorum" FILE has its arguments, one a line.
Status MakeRequest(const Arguments& a) {
  RETURN_IF_ERROR(TheDevice().Permit(Command::kUse));
  Request request;
  request.serial = TheDevice().token().info().serial;
  request.command = a[0];
  Bytes argument;
  if (a[1] != "-") {
    ASSIGN_OR_RETURN(argument, NeedFile(a[1]));
  }
  if (request.command == "quorum") {
    Arguments lines;
    const std::string text(AsText(argument));
    for (std::size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1) {
      if (text.find('\n', begin) == text.npos) return Fail(CKR_ARGUMENTS_BAD, a[1] + " does not end in a line's end");
      lines.push_back(text.substr(begin, text.find('\n', begin) - begin));
    }
    if (lines.empty()) return Fail(CKR_ARGUMENTS_BAD, a[1] + " is empty");
    ASSIGN_OR_RETURN(const Quorum quorum, ParseQuorum(lines));
    argument = Maintenance::QuorumArgument(quorum);
  }
  ASSIGN_OR_RETURN(request.argument, DigestOf(argument));
  ASSIGN_OR_RETURN(const std::uint64_t hours, NeedNumber(a[2]));
  request.expires = Now() + std::min<std::uint64_t>(hours, 1000) * 3600;
  request.nonce.resize(kNonceBytes);
  RETURN_IF_ERROR(RandomBytes(request.nonce));
  return WriteFile(a[3], AsBytes(TextOf(request)));
}

// ---- Commands of people

Status MakeKey(const Arguments& a) {
  ASSIGN_OR_RETURN(const SecretBytes key, MakeSigningKey());
  ASSIGN_OR_RETURN(const Bytes public_half, PublicHalf(key.view()));
  RETURN_IF_ERROR(WriteFile(a[0], key.view()));
  std::puts(Hex(public_half).c_str());
  return {};
}

Status Approve(const Arguments& a) {
  ASSIGN_OR_RETURN(const Bytes file, NeedFile(a[0]));
  ASSIGN_OR_RETURN(const Request request, ParseRequest(file));
  ASSIGN_OR_RETURN(const Bytes key, NeedFile(a[1]));
  ASSIGN_OR_RETURN(const Bytes public_half, PublicHalf(key));
  ASSIGN_OR_RETURN(const Bytes signature, SignText(key, AsBytes(TextOf(request))));
  return WriteFile(a[2], AsBytes(Hex(public_half) + '\n' + Hex(signature) + '\n'));
}

Status SignFirmware(const Arguments& a) {
  ASSIGN_OR_RETURN(const std::uint64_t version, NeedNumber(a[0]));
  ASSIGN_OR_RETURN(const Bytes image, NeedFile(a[1]));
  ASSIGN_OR_RETURN(const Bytes key, NeedFile(a[2]));
  ASSIGN_OR_RETURN(const Bytes signature, SignText(key, Maintenance::SignedPart(version, image)));
  return WriteFile(a[3], Maintenance::ImageFile(version, image, signature));
}

Status Seal(const Arguments& a) { return SealImage(a[0]); }

struct CommandRow {
  std::string_view name;
  std::string_view arguments;  // as people read them
  std::size_t least;           // how many it takes
  bool device;
  Status (*run)(const Arguments&);
  std::string_view does;
};
constexpr CommandRow kCommands[] = {
    {"status", "", 0, true, ShowStatus, "how the device is"},
    {"self-test", "", 0, true, RunTests, "run all self-tests"},
    {"attest", "NONCE", 1, true, Attest, "a signed statement of what it is; NONCE: 32 to 128 hexadecimal digits"},
    {"zeroize", "", 0, true, Zeroize, "destroy all keys, objects and PINs"},
    {"auditor", "SO-PIN-FILE PIN-FILE", 2, true, SetAuditor, "the SO sets the auditor's PIN"},
    {"audit", "PIN-FILE", 1, true, ShowAudit, "the auditor reads the device's audit, signed"},
    {"vendor", "PUBLIC", 1, true, SetVendor, "whose firmware it takes; once"},
    {"update", "FILE [REQUEST APPROVAL...]", 1, true, Update, "new firmware, from the next power-on"},
    {"quorum", "M [PUBLIC...] [-- REQUEST APPROVAL...]", 1, true, SetQuorum,
     "M custodians must approve update, backup, restore and quorum"},
    {"domain", "PART PART...", 2, true, SetDomain, "the key of its backups, from files of 32 bytes"},
    {"backup", "OUT [REQUEST APPROVAL...]", 1, true, Backup, "all token objects, wrapped under the domain key"},
    {"restore", "FILE [REQUEST APPROVAL...]", 1, true, Restore, "the objects of a backup that it does not have"},
    {"request", "COMMAND FILE HOURS OUT", 4, true, MakeRequest,
     "what custodians are to approve; FILE: what the command is given, - for backup"},
    {"key", "OUT", 1, false, MakeKey, "make a signing key; prints its public half"},
    {"approve", "REQUEST KEY OUT", 3, false, Approve, "approve a request"},
    {"sign", "VERSION IMAGE KEY OUT", 4, false, SignFirmware, "make a firmware file"},
    {"seal", "IMAGE", 1, false, Seal, "write the seal of a module or program that is a device beside it"},
    {"check-audit", "FILE PUBLIC", 2, false, CheckAudit, "whether a file has an audit of that device, whole"},
};

std::string Help() {
  std::string text = "usage: cmkd-sim [--directory DIR] COMMAND [ARGUMENT...]\n";
  for (const bool device : {true, false}) {
    text += device ? "What is done to the device in DIR, which nobody else may have switched on:\n"
                   : "What people do, without a device:\n";
    for (const CommandRow& row : kCommands) {
      if (row.device != device) continue;
      text += "  " + std::string(row.name) + (row.arguments.empty() ? "" : " ") + std::string(row.arguments) +
              "\n      " + std::string(row.does) + '\n';
    }
  }
  return text;
}

int Say(const Error& error) {
  std::fprintf(stderr, "cmkd-sim: %s (%s)\n", error.why.c_str(), spec::ReturnValueName(error.rv).c_str());
  return 1;
}

int Usage() {
  std::fputs(Help().c_str(), stderr);
  return 2;
}

int Main(Arguments arguments) {
  std::string directory;
  if (arguments.size() >= 2 && arguments[0] == "--directory") {
    directory = arguments[1];
    arguments.erase(arguments.begin(), arguments.begin() + 2);
  }
  if (arguments.empty()) return Usage();
  if (arguments[0] == "--help") {
    std::fputs(Help().c_str(), stdout);
    return 0;
  }
  const auto* row = std::begin(kCommands);
  while (row != std::end(kCommands) && row->name != arguments[0]) ++row;
  arguments.erase(arguments.begin());
  if (row == std::end(kCommands) || arguments.size() < row->least || row->device == directory.empty()) return Usage();
  if (row->device) {
    // A mistyped name must not make a new device.
    struct stat status {};
    if (::stat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
      return Say({CKR_ARGUMENTS_BAD, "there is no device in " + directory, 0});
    Configure(directory);
    if (const CK_RV rv = FunctionList()->C_Initialize(nullptr); rv != CKR_OK)
      return Say({rv, "the device does not start", 0});
  }
  const Status done = row->run(arguments);
  if (row->device) (void)FunctionList()->C_Finalize(nullptr);
  return done.ok() ? 0 : Say(done.error());
}

}  // namespace
}  // namespace cmkd::sim

int main(int argc, char** argv) { return cmkd::sim::Main({argv + 1, argv + argc}); }

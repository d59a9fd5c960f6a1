// The root key's file: who wrapped it, under which key, and the wrapped bytes.
#include "daemon/startup/root_key.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "daemon/crypto/random.h"
#include "pkcs11/wire/reader.h"
#include "pkcs11/wire/socket.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::daemon {

namespace {

constexpr std::string_view kMagic = "cmkd root key 1\n";
constexpr std::size_t kRootBytes = 32;
constexpr std::size_t kFileBytesMax = 65536;

std::string ReadyPath(const std::string& directory) { return directory + "/root.key"; }
std::string PendingPath(const std::string& directory) { return directory + "/root.key.pending"; }

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::string Reason(const std::string& what) { return what + ": " + std::strerror(errno); }

bool SyncDirectory(const std::string& directory) {
  const wire::Socket file(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return file.valid() && ::fsync(file.fd()) == 0;
}

Result<void, std::string> WriteFile(const std::string& path, ByteView content) {
  const wire::Socket file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return Failure{Reason("cannot write " + path)};
  while (!content.empty()) {
    const ssize_t written = ::write(file.fd(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return Failure{Reason("cannot write " + path)};
    content = content.subspan(static_cast<std::size_t>(written));
  }
  if (::fsync(file.fd()) != 0) return Failure{Reason("cannot make " + path + " durable")};
  return {};
}

Result<Bytes, std::string> ReadFile(const std::string& path) {
  const wire::Socket file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return Failure{Reason("cannot read " + path)};
  Bytes content(kFileBytesMax);
  std::size_t have = 0;
  for (;;) {
    const ssize_t got = ::read(file.fd(), content.data() + have, content.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failure{Reason("cannot read " + path)};
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
    if (have == content.size()) return Failure{path + " is too long to be a root key"};
  }
  content.resize(have);
  return content;
}

Result<SecretBytes, std::string> ReadRoot(Backend& backend, const KeyMaterial& key, const KeyName& name) {
  const CK_ATTRIBUTE_TYPE value[] = {CKA_VALUE};
  const auto parts = backend.ReadSecret(name, key, value);
  backend.Forget(name);
  if (!parts.ok()) return Failure{"HSM \"" + backend.name() + "\" does not open the root key: " + parts.error().why};
  SecretBytes root(parts->View(CKA_VALUE));
  if (root.size() != kRootBytes) return Failure{std::string("the root key has a wrong length")};
  return root;
}

KeyName RootName() {
  KeyName name;
  name.id = RandomId();
  return name;
}

}  // namespace

RootKeyState FindRootKey(const std::string& state_directory) {
  if (Exists(ReadyPath(state_directory))) return RootKeyState::kReady;
  return Exists(PendingPath(state_directory)) ? RootKeyState::kPending : RootKeyState::kNone;
}

Result<SecretBytes, std::string> MakeRootKey(const std::string& state_directory, Backend& backend) {
  const auto under = backend.MakeWrappingKey(0);
  if (!under.ok()) return Failure{"HSM \"" + backend.name() + "\" makes no wrapping key: " + under.error().why};
  const CK_MECHANISM mechanism{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
  const auto made = backend.GenerateKey(mechanism, CKK_GENERIC_SECRET, kRootBytes, *under);
  if (!made.ok()) return Failure{"HSM \"" + backend.name() + "\" makes no root key: " + made.error().why};
  KeyMaterial key;
  key.key_type = CKK_GENERIC_SECRET;
  key.material = made->material;
  key.wrapping_reference = under->reference;
  key.extractable = true;
  wire::Buffer buffer;
  wire::Writer w(buffer);
  w.Raw(AsBytes(kMagic));
  w.Blob(AsBytes(backend.name()));
  w.Blob(under->reference);
  w.U32(key.material.epoch);
  w.U8(static_cast<std::uint8_t>(key.material.kind));
  w.Blob(key.material.blob);
  RETURN_IF_ERROR(WriteFile(PendingPath(state_directory), buffer.view()));
  if (!SyncDirectory(state_directory)) return Failure{Reason("cannot make " + state_directory + " durable")};
  return ReadRoot(backend, key, RootName());
}

Result<SecretBytes, std::string> LoadRootKey(const std::string& state_directory, Backend& backend, RootKeyState state) {
  const std::string path = state == RootKeyState::kReady ? ReadyPath(state_directory) : PendingPath(state_directory);
  ASSIGN_OR_RETURN(const Bytes content, ReadFile(path));
  wire::Reader r(content);
  if (AsText(r.Raw(kMagic.size())) != kMagic) return Failure{path + " is no root key of cmkd"};
  const std::string hsm(AsText(r.Blob()));
  KeyMaterial key;
  key.key_type = CKK_GENERIC_SECRET;
  key.wrapping_reference = ToBytes(r.Blob());
  key.material.epoch = r.U32();
  const std::uint8_t kind = r.U8();
  key.material.blob = ToBytes(r.Blob());
  key.extractable = true;
  if (!r.AtEnd() || kind > static_cast<std::uint8_t>(cmk::Material::Kind::kResident))
    return Failure{path + " is damaged"};
  key.material.kind = static_cast<cmk::Material::Kind>(kind);
  if (hsm != backend.name()) {
    return Failure{"the root key was made in HSM \"" + hsm + "\", but the first HSM of the configuration is \"" +
                   backend.name() + "\""};
  }
  return ReadRoot(backend, key, RootName());
}

Bytes RootKeyReference(const std::string& state_directory) {
  const auto content = ReadFile(ReadyPath(state_directory));
  if (!content.ok()) return {};
  wire::Reader r(*content);
  if (AsText(r.Raw(kMagic.size())) != kMagic) return {};
  (void)r.Blob();
  return ToBytes(r.Blob());
}

Result<void, std::string> ConfirmRootKey(const std::string& state_directory) {
  if (::rename(PendingPath(state_directory).c_str(), ReadyPath(state_directory).c_str()) != 0) {
    return Failure{Reason("cannot keep the root key")};
  }
  if (!SyncDirectory(state_directory)) return Failure{Reason("cannot make " + state_directory + " durable")};
  return {};
}

}  // namespace cmkd::daemon

// The root key's file: who wrapped it, under which key, and the wrapped bytes.
#include "daemon/startup/root_key.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "common/file.h"
#include "daemon/crypto/random.h"
#include "pkcs11/wire/reader.h"
#include "pkcs11/wire/writer.h"

namespace cmkd::daemon {

namespace {

constexpr std::string_view kMagic = "cmkd root key 1\n";
constexpr std::size_t kRootBytes = 32;
constexpr std::size_t kFileBytesMax = 65536;

std::string ReadyPath(const std::string& directory) { return directory + "/root.key"; }
std::string SharedPath(const std::string& directory, const std::string& hsm) {
  return ReadyPath(directory) + "@" + hsm;
}
std::string PendingPath(const std::string& directory) { return directory + "/root.key.pending"; }

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<void, std::string> Sync(const std::string& state_directory) {
  if (SyncFolder(state_directory)) return {};
  return Failure{WithReason("cannot make " + state_directory + " durable")};
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

// What a root key's file says: whose wrapping, and what was wrapped.
struct RootFile {
  std::string hsm;
  KeyMaterial key;
};

KeyMaterial RootMaterial(cmk::Material material, Bytes reference) {
  KeyMaterial key;
  key.key_type = CKK_GENERIC_SECRET;
  key.material = std::move(material);
  key.wrapping_reference = std::move(reference);
  key.extractable = true;
  return key;
}

Bytes Encode(const RootFile& file) {
  wire::Buffer buffer;
  wire::Writer w(buffer);
  w.Raw(AsBytes(kMagic));
  w.Blob(AsBytes(file.hsm));
  w.Blob(file.key.wrapping_reference);
  w.U32(file.key.material.epoch);
  w.U8(static_cast<std::uint8_t>(file.key.material.kind));
  w.Blob(file.key.material.blob);
  return ToBytes(buffer.view());
}

Result<void, std::string> WriteRootFile(const std::string& path, const RootFile& file) {
  if (ReplaceFile(path, Encode(file))) return {};
  return Failure{WithReason("cannot write " + path)};
}

Result<RootFile, std::string> ReadRootFile(const std::string& path) {
  const std::optional<Bytes> content = ReadFile(path, kFileBytesMax);
  if (!content) return Failure{WithReason("cannot read " + path)};
  wire::Reader r(*content);
  if (AsText(r.Raw(kMagic.size())) != kMagic) return Failure{path + " is no root key of cmkd"};
  RootFile file;
  file.hsm = std::string(AsText(r.Blob()));
  Bytes reference = ToBytes(r.Blob());
  cmk::Material material;
  material.epoch = r.U32();
  const std::uint8_t kind = r.U8();
  material.blob = ToBytes(r.Blob());
  if (!r.AtEnd() || kind > static_cast<std::uint8_t>(cmk::Material::Kind::kResident))
    return Failure{path + " is damaged"};
  material.kind = static_cast<cmk::Material::Kind>(kind);
  file.key = RootMaterial(std::move(material), std::move(reference));
  return file;
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
  const RootFile file{backend.name(), RootMaterial(made->material, under->reference)};
  RETURN_IF_ERROR(WriteRootFile(PendingPath(state_directory), file));
  return ReadRoot(backend, file.key, RootName());
}

Result<SecretBytes, std::string> LoadRootKey(const std::string& state_directory, Backend& backend, RootKeyState state) {
  const std::string shared = SharedPath(state_directory, backend.name());
  std::string path = state == RootKeyState::kReady ? ReadyPath(state_directory) : PendingPath(state_directory);
  if (state == RootKeyState::kReady && Exists(shared)) path = shared;
  ASSIGN_OR_RETURN(const RootFile file, ReadRootFile(path));
  if (file.hsm != backend.name()) {
    return Failure{"the root key was made in HSM \"" + file.hsm + "\", but the first HSM of the configuration is \"" +
                   backend.name() + "\""};
  }
  return ReadRoot(backend, file.key, RootName());
}

std::map<std::string, Bytes> RootKeyReferences(const std::string& state_directory) {
  std::map<std::string, Bytes> references;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(state_directory, ignored)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(kDraftEnding) || (name != "root.key" && !name.starts_with("root.key@"))) continue;
    const auto file = ReadRootFile(entry.path());
    if (file.ok()) references[file->hsm] = file->key.wrapping_reference;
  }
  return references;
}

Result<void, std::string> ShareRootKey(const std::string& state_directory, Backend& from, Backend& to) {
  if (RootKeyReferences(state_directory).contains(to.name())) return {};
  ASSIGN_OR_RETURN(const SecretBytes root, LoadRootKey(state_directory, from, RootKeyState::kReady));
  const auto under = to.MakeWrappingKey(0);
  if (!under.ok()) return Failure{"HSM \"" + to.name() + "\" makes no wrapping key: " + under.error().why};
  spec::Attributes key;
  key.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  key.SetUlong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
  key.SetBytes(CKA_VALUE, root.view());
  const auto made = to.Import(key, *under);
  key.Remove(CKA_VALUE);
  if (!made.ok()) return Failure{"HSM \"" + to.name() + "\" does not keep the root key: " + made.error().why};
  const RootFile file{to.name(), RootMaterial(made->material, under->reference)};
  // Seen to open before anybody relies on it.
  ASSIGN_OR_RETURN(const SecretBytes again, ReadRoot(to, file.key, RootName()));
  if (!Equal(again.view(), root.view())) return Failure{"HSM \"" + to.name() + "\" gives back another root key"};
  return WriteRootFile(SharedPath(state_directory, to.name()), file);
}

Result<void, std::string> ConfirmRootKey(const std::string& state_directory) {
  if (::rename(PendingPath(state_directory).c_str(), ReadyPath(state_directory).c_str()) != 0) {
    return Failure{WithReason("cannot keep the root key")};
  }
  return Sync(state_directory);
}

}  // namespace cmkd::daemon

// Folders, tokens and keys for the tests of the HSM back ends.
#include "tests/daemon/hsm_rig.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>

#include "daemon/hsm/device.h"
#include "firmware_sim/firmware_sim.h"
#include "pkcs11/spec/key_facts.h"
#include "tests/common/host_processes.h"

namespace cmkd::daemon {

namespace {

constexpr const char* kSoftHsmModules[] = {
    "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"};
constexpr const char* kNssModules[] = {"/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
                                       "/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so",
                                       "/usr/lib/aarch64-linux-gnu/libsoftokn3.so"};
constexpr const char* kOpencryptokiModules[] = {"/usr/lib/x86_64-linux-gnu/opencryptoki/libopencryptoki.so",
                                                "/usr/lib/aarch64-linux-gnu/opencryptoki/libopencryptoki.so"};
constexpr const char* kSlotDaemon = "/usr/sbin/pkcsslotd";
constexpr const char* kPin = "47110815";  // opencryptoki takes no more than eight

std::string FromEnvironment(const char* name, const std::string& fallback) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : fallback;
}

#ifndef CMKD_BUILD_DIR
#define CMKD_BUILD_DIR "."
#endif

std::string SimulatorModule() {
  return FromEnvironment("CMKD_FIRMWARE_SIM_MODULE", CMKD_BUILD_DIR "/lib/libcmkd-firmware-sim.so");
}

std::string MakeFolder() {
  std::string path = (std::filesystem::temp_directory_path() / "cmkd-hsm-XXXXXX").string();
  EXPECT_NE(::mkdtemp(path.data()), nullptr);
  return path;
}

void WritePrivate(const std::string& path, const std::string& content) {
  std::ofstream(path) << content;
  ::chmod(path.c_str(), 0600);
}

std::string FirstThere(std::span<const char* const> files) {
  const auto found = std::find_if(files.begin(), files.end(), [](const char* f) { return std::filesystem::exists(f); });
  return found == files.end() ? std::string() : *found;
}

// opencryptoki knows its places by heart. The first rig of a test program that needs them gives the program a view of
// the file system of its own, where they are memory; the machine's own tokens and daemon are not in it.
constexpr const char* kOpencryptokiPlaces[] = {"/run", "/dev/shm", "/var/lib/opencryptoki", "/etc/opencryptoki"};

std::string TakePlacesOfOurOwn() {
  static const std::string problem = []() -> std::string {
    if (::unshare(CLONE_NEWNS | CLONE_NEWIPC) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return std::string("opencryptoki needs places of its own, which root may make: ") + std::strerror(errno);
    for (const char* place : kOpencryptokiPlaces) {
      if (::mount("cmkd-test", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0)
        return std::string("cannot make a new ") + place + ": " + std::strerror(errno);
    }
    return {};
  }();
  return problem;
}

void EmptyPlaces() {
  for (const char* place : kOpencryptokiPlaces) {
    for (const auto& entry : std::filesystem::directory_iterator(place)) std::filesystem::remove_all(entry.path());
  }
}

pid_t ForkSlotDaemon() {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::execl(kSlotDaemon, kSlotDaemon, "-f", nullptr);
  ::_exit(127);
}

// Started again when it ends, as systemd would: a client that is killed while it connects takes the slot daemon of
// opencryptoki 3.8 with it at times, and our tests kill many. Ends with SIGTERM.
pid_t StartSlotDaemon() {
  const pid_t keeper = ::fork();
  if (keeper != 0) return keeper;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  sigset_t wanted;
  ::sigemptyset(&wanted);
  for (const int signal : {SIGTERM, SIGCHLD}) ::sigaddset(&wanted, signal);
  ::sigprocmask(SIG_SETMASK, &wanted, nullptr);
  pid_t daemon = ForkSlotDaemon();
  for (int signal = 0; ::sigwait(&wanted, &signal) == 0 && signal != SIGTERM;) {
    if (::waitpid(daemon, nullptr, WNOHANG) != daemon) continue;
    ::usleep(20'000);
    daemon = ForkSlotDaemon();
  }
  ::kill(daemon, SIGTERM);
  ::waitpid(daemon, nullptr, 0);
  ::_exit(0);
}

CK_BYTE_PTR Pointer(ByteView bytes) { return const_cast<CK_BYTE_PTR>(bytes.data()); }

}  // namespace

std::string NameOf(RigKind kind) {
  switch (kind) {
    case RigKind::kSimulatorInside: return "SimulatorInside";
    case RigKind::kSoftHsmHosted: return "SoftHsmHosted";
    case RigKind::kSimulatorHosted: return "SimulatorHosted";
    case RigKind::kNssHosted: return "NssHosted";
    case RigKind::kOpencryptokiHosted: return "OpencryptokiHosted";
  }
  return "";
}

std::string HsmRig::HostProgram() {
#ifdef CMKD_HSM_HOST_PATH
  return FromEnvironment("CMKD_HSM_HOST_PATH", CMKD_HSM_HOST_PATH);
#else
  return FromEnvironment("CMKD_HSM_HOST_PATH", CMKD_BUILD_DIR "/bin/cmkd-hsm-host");
#endif
}

HsmRig::HsmRig(RigKind kind) : kind_(kind), folder_(MakeFolder()) {
  surroundings_.state_directory = folder_;
  surroundings_.simulated = {sim::FunctionList(), sim::Configure};
  config_.name = "test";
  if (kind == RigKind::kSimulatorInside) return;
  config_.kind = HsmKind::kPkcs11;
  config_.token_label = "cmkd test token";
  config_.pin_file = folder_ + "/pin";
  config_.host_program = HostProgram();
  WritePrivate(config_.pin_file, std::string(kPin) + "\n");
  if (!std::filesystem::exists(config_.host_program)) missing_ = config_.host_program + " is not built";
  if (!missing_.empty()) return;
  if (kind == RigKind::kSoftHsmHosted) PrepareSoftHsm();
  if (kind == RigKind::kSimulatorHosted) PrepareHostedSimulator();
  if (kind == RigKind::kNssHosted) PrepareNss();
  if (kind == RigKind::kOpencryptokiHosted) PrepareOpencryptoki();
}

HsmRig::~HsmRig() {
  if (slot_daemon_ > 0) {
    ::kill(slot_daemon_, SIGTERM);
    ::waitpid(slot_daemon_, nullptr, 0);
    EmptyPlaces();
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void HsmRig::PrepareNss() {
  config_.module = FirstThere(kNssModules);
  if (config_.module.empty()) {
    missing_ = "NSS is not installed";
    return;
  }
  const std::string database = folder_ + "/nss";
  std::filesystem::create_directory(database);
  if (std::system(("certutil -N -d sql:" + database + " -f " + config_.pin_file + " >/dev/null 2>&1").c_str()) != 0)
    missing_ = "certutil cannot make a database";
  config_.token_label = "NSS Certificate DB";
  config_.library_options = "configdir='sql:" + database + "' certPrefix='' keyPrefix='' secmod='secmod.db' flags=";
}

void HsmRig::PrepareOpencryptoki() {
  config_.module = FirstThere(kOpencryptokiModules);
  if (config_.module.empty() || !std::filesystem::exists(kSlotDaemon)) {
    missing_ = "opencryptoki is not installed";
    return;
  }
  if (missing_ = TakePlacesOfOurOwn(); !missing_.empty()) return;
  std::filesystem::create_directories("/run/lock/opencryptoki/swtok");
  std::filesystem::create_directories("/var/lib/opencryptoki/swtok/TOK_OBJ");
  std::ofstream("/etc/opencryptoki/opencryptoki.conf")
      << "version opencryptoki-3.1\nslot 3\n{\nstdll = libpkcs11_sw.so\n}\n";
  const std::string open =
      "chgrp -R pkcs11 /run/lock /var/lib/opencryptoki && chmod -R 0770 /run/lock /var/lib/opencryptoki";
  if (std::system(open.c_str()) != 0) missing_ = "opencryptoki's group cannot be given its places";
  slot_daemon_ = StartSlotDaemon();
  for (int wait = 0; wait < 6000 && !std::filesystem::exists("/run/pkcsslotd.socket"); ++wait) ::usleep(10'000);
  // A new token has the maker's PINs, which must be changed before anything else.
  const std::string pin = kPin;
  const std::string commands = "exec >/dev/null 2>&1; echo '" + config_.token_label +
                               "' | pkcsconf -I -c 3 -S 87654321 && pkcsconf -P -c 3 -S 87654321 -n " + pin +
                               " && pkcsconf -u -c 3 -S " + pin + " -n 11112222 && pkcsconf -p -c 3 -U 11112222 -n " +
                               pin;
  if (missing_.empty() && std::system(commands.c_str()) != 0) missing_ = "pkcsconf cannot make a token";
}

void HsmRig::PrepareSoftHsm() {
  config_.module = FirstThere(kSoftHsmModules);
  if (config_.module.empty()) {
    missing_ = "SoftHSM is not installed";
    return;
  }
  const std::string conf = folder_ + "/softhsm2.conf";
  std::filesystem::create_directory(folder_ + "/tokens");
  std::ofstream(conf) << "directories.tokendir = " << folder_ << "/tokens\nlog.level = ERROR\n";
  const std::string command = "SOFTHSM2_CONF=" + conf + " softhsm2-util --init-token --free --label '" +
                              config_.token_label + "' --pin " + kPin + " --so-pin " + kPin + " >/dev/null 2>&1";
  if (std::system(command.c_str()) != 0) missing_ = "softhsm2-util cannot make a token";
  config_.environment = {{"SOFTHSM2_CONF", conf}};
}

void HsmRig::PrepareHostedSimulator() {
  config_.module = SimulatorModule();
  if (!std::filesystem::exists(config_.module)) {
    missing_ = config_.module + " is not built";
    return;
  }
  const std::string flash = folder_ + "/flash";
  sim::Configure(flash);
  const Device device(sim::FunctionList());
  Status made = device.Initialize();
  if (made.ok()) made = device.InitializeToken(config_.token_label, AsBytes(kPin), AsBytes(kPin));
  if (!made.ok()) missing_ = made.error().why;
  (void)device.functions()->C_Finalize(nullptr);
  config_.environment = {{"CMKD_FIRMWARE_SIM_DIR", flash}};
}

std::unique_ptr<Backend> HsmRig::Start() {
  auto backend = StartBackend(config_, surroundings_);
  EXPECT_TRUE(backend.ok()) << (backend.ok() ? "" : backend.error());
  return backend.ok() ? std::move(*backend) : nullptr;
}

int HsmRig::HostPid() {
  const std::vector<int> hosts = tests::HostsOf(::getpid());
  return hosts.empty() ? 0 : hosts.front();
}

KeyMaterial TestKey::PublicMaterial() const {
  KeyMaterial material_of_public;
  material_of_public.object_class = CKO_PUBLIC_KEY;
  material_of_public.key_type = material.key_type;
  material_of_public.public_key = public_attributes.get();
  return material_of_public;
}

KeyName TestKey::PublicName() const {
  KeyName public_name = name;
  public_name.is_public = true;
  return public_name;
}

KeyBench::KeyBench(Backend& backend) : backend_(backend) {
  auto under = backend_.MakeWrappingKey(1);
  EXPECT_TRUE(under.ok()) << (under.ok() ? "" : under.error().why);
  if (under.ok()) under_ = *under;
}

TestKey KeyBench::Keep(CK_OBJECT_CLASS object_class, CK_KEY_TYPE type, Made made, bool extractable) {
  TestKey key;
  const std::uint32_t number = next_++;
  std::memcpy(key.name.id.data(), &number, sizeof number);
  std::memcpy(key.name.id.data() + 12, &number, sizeof number);
  key.name.version = 1;
  key.material.object_class = object_class;
  key.material.key_type = type;
  key.material.material = std::move(made.material);
  key.material.extractable = extractable;
  key.computed = std::move(made.computed);
  return key;
}

TestKey KeyBench::Aes(CK_ULONG bytes, bool extractable) {
  auto made = backend_.GenerateKey(Plain(CKM_AES_KEY_GEN), CKK_AES, bytes, under_);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().why);
  return Keep(CKO_SECRET_KEY, CKK_AES, made.ok() ? std::move(*made) : Made{}, extractable);
}

TestKey KeyBench::Generic(CK_ULONG bytes, bool extractable) {
  auto made = backend_.GenerateKey(Plain(CKM_GENERIC_SECRET_KEY_GEN), CKK_GENERIC_SECRET, bytes, under_);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().why);
  return Keep(CKO_SECRET_KEY, CKK_GENERIC_SECRET, made.ok() ? std::move(*made) : Made{}, extractable);
}

TestKey KeyBench::Rsa() {
  spec::Attributes parameters;
  parameters.SetUlong(CKA_MODULUS_BITS, 2048);
  parameters.SetBytes(CKA_PUBLIC_EXPONENT, Bytes{1, 0, 1});
  auto made = backend_.GenerateKeyPair(Plain(CKM_RSA_PKCS_KEY_PAIR_GEN), CKK_RSA, parameters, under_);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().why);
  if (!made.ok()) return {};
  TestKey key = Keep(CKO_PRIVATE_KEY, CKK_RSA, {made->material, made->private_computed}, false);
  key.public_attributes = std::make_shared<spec::Attributes>(made->public_computed);
  return key;
}

TestKey KeyBench::Curve(CK_MECHANISM_TYPE mechanism, CK_KEY_TYPE type, std::string_view curve) {
  spec::Attributes parameters;
  const spec::Curve* row = spec::FindCurveByName(curve);
  EXPECT_NE(row, nullptr);
  parameters.Set(CKA_EC_PARAMS, AsBytes(row->oid));
  auto made = backend_.GenerateKeyPair(Plain(mechanism), type, parameters, under_);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().why);
  if (!made.ok()) return {};
  TestKey key = Keep(CKO_PRIVATE_KEY, type, {made->material, made->private_computed}, false);
  key.public_attributes = std::make_shared<spec::Attributes>(made->public_computed);
  return key;
}

Fallible<Bytes> KeyBench::Do(const KeyName& name, const KeyMaterial& material, CK_MECHANISM mechanism, ByteView input,
                             Init init, Transform transform) {
  Bytes output;
  RETURN_IF_ERROR(backend_.Run([&](CK_FUNCTION_LIST_PTR f, Backend::Lease& lease) -> CK_RV {
    const auto key = lease.Load(name, material);
    if (!key.ok()) return key.error().rv;
    if (const CK_RV rv = (f->*init)(lease.session(), &mechanism, *key); rv != CKR_OK) return rv;
    output.resize(input.size() + 1024);
    CK_ULONG length = output.size();
    const CK_RV rv = (f->*transform)(lease.session(), Pointer(input), input.size(), output.data(), &length);
    if (rv != CKR_OK) return rv;
    output.resize(length);
    return CKR_OK;
  }));
  return output;
}

Fallible<Bytes> KeyBench::Encrypt(const TestKey& key, CK_MECHANISM mechanism, ByteView input, bool with_public) {
  return Do(with_public ? key.PublicName() : key.name, with_public ? key.PublicMaterial() : key.material, mechanism,
            input, &CK_FUNCTION_LIST::C_EncryptInit, &CK_FUNCTION_LIST::C_Encrypt);
}

Fallible<Bytes> KeyBench::Decrypt(const TestKey& key, CK_MECHANISM mechanism, ByteView input) {
  return Do(key.name, key.material, mechanism, input, &CK_FUNCTION_LIST::C_DecryptInit, &CK_FUNCTION_LIST::C_Decrypt);
}

Fallible<Bytes> KeyBench::Sign(const TestKey& key, CK_MECHANISM mechanism, ByteView input) {
  return Do(key.name, key.material, mechanism, input, &CK_FUNCTION_LIST::C_SignInit, &CK_FUNCTION_LIST::C_Sign);
}

Status KeyBench::Verify(const TestKey& key, CK_MECHANISM mechanism, ByteView input, ByteView signature,
                        bool with_public) {
  const KeyMaterial material = with_public ? key.PublicMaterial() : key.material;
  return backend_.Run([&](CK_FUNCTION_LIST_PTR f, Backend::Lease& lease) -> CK_RV {
    const auto handle = lease.Load(with_public ? key.PublicName() : key.name, material);
    if (!handle.ok()) return handle.error().rv;
    if (const CK_RV rv = f->C_VerifyInit(lease.session(), &mechanism, *handle); rv != CKR_OK) return rv;
    return f->C_Verify(lease.session(), Pointer(input), input.size(), Pointer(signature), signature.size());
  });
}

Fallible<Bytes> KeyBench::Fingerprint(const TestKey& key) {
  CK_BYTE iv[16] = {};
  CK_GCM_PARAMS gcm{iv, 12, 96, nullptr, 0, 128};
  const bool has_gcm = backend_.FindMechanism(CKM_AES_GCM) != nullptr;
  return Encrypt(key, has_gcm ? With(CKM_AES_GCM, gcm) : CK_MECHANISM{CKM_AES_CBC, iv, sizeof iv},
                 AsBytes("sixteen bytes..."));
}

std::size_t KeyBench::CountObjects() {
  const std::optional<std::size_t> count = Count({});
  EXPECT_TRUE(count.has_value());
  return count.value_or(0);
}

std::optional<std::size_t> KeyBench::CountTokenObjects() {
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE token{CKA_TOKEN, &yes, sizeof yes};
  return Count({&token, 1});
}

std::optional<std::size_t> KeyBench::Count(std::span<CK_ATTRIBUTE> wanted) {
  std::size_t count = 0;
  const Status counted = backend_.Run([&](CK_FUNCTION_LIST_PTR f, Backend::Lease& lease) -> CK_RV {
    count = 0;
    if (const CK_RV rv = f->C_FindObjectsInit(lease.session(), wanted.data(), wanted.size()); rv != CKR_OK) return rv;
    CK_OBJECT_HANDLE found[64];
    CK_ULONG got = 0;
    CK_RV rv = CKR_OK;
    do {
      rv = f->C_FindObjects(lease.session(), found, std::size(found), &got);
      count += got;
    } while (rv == CKR_OK && got != 0);
    (void)f->C_FindObjectsFinal(lease.session());
    return rv;
  });
  return counted.ok() ? std::optional(count) : std::nullopt;
}

}  // namespace cmkd::daemon

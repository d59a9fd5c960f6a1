// E: sessions, users, the state machine.
#include <grp.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/attacks/cases.h"
#include "tests/attacks/children.h"

namespace cmkd::attacks {
namespace {

constexpr int kHeldInChild = 0;
constexpr int kBrokenInChild = 3;

Template PrivateKey() { return AesTemplate({CKA_ENCRYPT}).Bool(CKA_PRIVATE, true).Bool(CKA_EXTRACTABLE, false); }

void E01(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0, on_token = 0;
  Bytes value;
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(PrivateKey(), key)) ||
      !trial.Ready("C_GenerateKey", bench.GenerateAes(PrivateKey().Bool(CKA_TOKEN, true), on_token)))
    return;
  for (const CK_OBJECT_HANDLE handle : {key, on_token}) {
    const int status = RunSelf({"--part", "guess", std::to_string(handle)});
    if (status == kBrokenInChild) trial.Broken("another process finds private objects by their handles");
    if (status != kHeldInChild && status != kBrokenInChild) trial.NotApplicable("the other process failed");
  }
  bench.f()->C_Logout(bench.session());
  trial.MustRefuse("C_GetAttributeValue after C_Logout", bench.Get(on_token, CKA_KEY_TYPE, value),
                   {CKR_OBJECT_HANDLE_INVALID}, "a private object is seen without a login");
  CK_SESSION_HANDLE other = 0;
  if (!trial.Ready("C_OpenSession", bench.Open(other))) return;
  bench.f()->C_CloseSession(other);
  CK_SESSION_INFO info{};
  trial.MustRefuse("C_GetSessionInfo after C_CloseSession", bench.f()->C_GetSessionInfo(other, &info),
                   {CKR_SESSION_HANDLE_INVALID}, "a closed session is used");
}

void E02(Bench& bench, Trial& trial) {
  bench.f()->C_Logout(bench.session());
  CK_RV rv = CKR_PIN_INCORRECT;
  int tries = 0;
  for (; tries < 11 && rv == CKR_PIN_INCORRECT; ++tries) rv = bench.Login(bench.session(), CKU_USER, "00000000");
  CK_TOKEN_INFO info{};
  bench.f()->C_GetTokenInfo(bench.slot(), &info);
  const CK_RV right = bench.Login(bench.session(), CKU_USER, bench.pin());
  trial.MustRefuse("C_Login with the right PIN after ten wrong ones", right, {CKR_PIN_LOCKED},
                   "wrong PINs are not counted");
  if (right == CKR_OK) return;
  if ((info.flags & CKF_USER_PIN_LOCKED) == 0) trial.Broken("the token does not show that its PIN is locked");
  // A new process finds it locked as well.
  if (RunSelf({"--part", "login"}) == 0) trial.Broken("another process logs in with the locked PIN");
  if (!trial.Ready("C_Login of the SO", bench.LoginAsSo())) return;
  trial.Ready(
      "C_InitPIN",
      bench.f()->C_InitPIN(bench.session(), reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(bench.pin().data())),
                           bench.pin().size()));
  trial.Ready("C_Login", bench.LoginAsUser());
}

void E03(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0;
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(PrivateKey().Bool(CKA_TOKEN, true), key))) return;
  CK_UTF8CHAR label[32];
  std::memset(label, ' ', sizeof label);
  const char* name = std::getenv("P11_TOKEN");
  std::memcpy(label, name, std::min<std::size_t>(std::strlen(name), sizeof label));
  const auto init = [&](const std::string& pin) {
    return bench.f()->C_InitToken(bench.slot(), reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(pin.data())),
                                  pin.size(), label);
  };
  trial.MustRefuse("C_InitToken with a session", init(bench.so_pin()), {CKR_SESSION_EXISTS}, "a token in use is wiped");
  bench.f()->C_CloseAllSessions(bench.slot());
  trial.MustRefuse("C_InitToken with a wrong PIN", init("00000000"), {CKR_PIN_INCORRECT},
                   "a wrong SO PIN wipes the token");
  if (std::getenv("CMKD_ATTACK_PROFILE") == std::string("managed")) {
    trial.MustRefuse("C_InitToken of a managed token", init(bench.so_pin()), {CKR_TOKEN_WRITE_PROTECTED},
                     "a token with keys is wiped by its SO");
  }
  if (!trial.Ready("C_Login", bench.Begin())) return;
  Bytes value;
  if (bench.Get(key, CKA_KEY_TYPE, value) != CKR_OK && std::getenv("CMKD_SOCKET") != nullptr)
    trial.Broken("the key is gone");
}

void E04(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0;
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(PrivateKey(), key))) return;
  const int status = InFork([&] {
    CK_SESSION_INFO info{};
    Bytes out;
    if (bench.f()->C_GetSessionInfo(bench.session(), &info) == CKR_OK) return kBrokenInChild;
    if (bench.Encrypt(Mechanism::Gcm(Bytes(12, 1)), key, Bytes(16), out) == CKR_OK) return kBrokenInChild;
    return bench.f()->C_GetSessionInfo(bench.session(), &info) == CKR_CRYPTOKI_NOT_INITIALIZED ? kHeldInChild : 4;
  });
  Bytes value;
  if (status == kBrokenInChild) {
    trial.Broken("a forked child works in its parent's session");
  } else if (trial.Through("C_GetSessionInfo in a forked child",
                           status == kHeldInChild ? CK_RV{CKR_CRYPTOKI_NOT_INITIALIZED} : CK_RV{CKR_GENERAL_ERROR},
                           {CKR_CRYPTOKI_NOT_INITIALIZED})) {
    return;
  }
  trial.Ready("C_GetAttributeValue in the parent", bench.Get(key, CKA_KEY_TYPE, value));
}

void E05(Bench& bench, Trial& trial) {
  CK_SESSION_HANDLE reader = 0;
  CK_OBJECT_HANDLE object = 0;
  if (!trial.Ready("C_OpenSession", bench.Open(reader, 0))) return;
  Template data = Template().Ulong(CKA_CLASS, CKO_DATA).Bool(CKA_TOKEN, true).Raw(CKA_VALUE, {1});
  trial.MustRefuse("C_CreateObject", bench.f()->C_CreateObject(reader, data.data(), data.size(), &object),
                   {CKR_SESSION_READ_ONLY}, "a read-only session writes");
  bench.f()->C_Logout(reader);
  trial.MustRefuse("C_Login of the SO", bench.Login(bench.session(), CKU_SO, bench.so_pin()),
                   {CKR_SESSION_READ_ONLY_EXISTS}, "the SO logs in beside a read-only session");
}

// Whether the bytes stand in any file below a directory.
bool StandsBelow(const std::string& directory, const std::string& wanted) {
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, error)) {
    if (!entry.is_regular_file(error) || entry.path().filename() == "hsm.pin") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    if (text.find(wanted) != std::string::npos) return true;
  }
  return false;
}

void E06(Bench& bench, Trial& trial) {
  const auto set = [&](const std::string& pin) {
    return bench.f()->C_SetPIN(
        bench.session(), reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(bench.pin().data())), bench.pin().size(),
        reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(pin.data())), pin.size());
  };
  const std::initializer_list<CK_RV> right = {CKR_PIN_LEN_RANGE, CKR_PIN_INVALID};
  trial.MustRefuse("C_SetPIN of one digit", set("1"), right, "a PIN of one digit");
  trial.MustRefuse("C_SetPIN of 4096 digits", set(std::string(4096, '1')), right, "a PIN of 4096 digits");
  const char* place = std::getenv("CMKD_SANDBOX_DIR");
  if (place == nullptr) return;
  if (StandsBelow(place, bench.pin()) || StandsBelow(place, bench.so_pin())) {
    trial.Broken("a PIN stands in a file of the daemon");
  } else {
    trial.Held("no file of the daemon holds a PIN");
  }
}

void E07(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0;
  Bytes state(4096), part(16, 1), out(64);
  CK_ULONG length = state.size(), made = out.size();
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}), key))) return;
  Mechanism gcm = Mechanism::Gcm(Random(12));
  if (!trial.Ready("C_EncryptInit", bench.f()->C_EncryptInit(bench.session(), gcm.get(), key))) return;
  bench.f()->C_EncryptUpdate(bench.session(), part.data(), part.size(), out.data(), &made);
  trial.MustRefuse("C_GetOperationState", bench.f()->C_GetOperationState(bench.session(), state.data(), &length),
                   {CKR_STATE_UNSAVEABLE, CKR_FUNCTION_NOT_SUPPORTED}, "the state of a GCM encryption can be cloned");
  Bytes forged = Random(256);
  CK_SESSION_HANDLE other = 0;
  if (!trial.Ready("C_OpenSession", bench.Open(other))) return;
  trial.MustRefuse("C_SetOperationState",
                   bench.f()->C_SetOperationState(other, forged.data(), forged.size(), key, CK_INVALID_HANDLE),
                   {CKR_SAVED_STATE_INVALID, CKR_FUNCTION_NOT_SUPPORTED}, "a forged state is taken");
}

void E08(Bench& bench, Trial& trial) {
  constexpr int kMost = 20000;
  CK_RV rv = CKR_OK;
  CK_SESSION_HANDLE session = 0;
  for (int i = 0; i < kMost && rv == CKR_OK; ++i) rv = bench.Open(session);
  const bool bounded = !trial.Through("C_OpenSession", rv, {CKR_SESSION_COUNT, CKR_DEVICE_MEMORY, CKR_HOST_MEMORY});
  rv = CKR_OK;
  CK_OBJECT_HANDLE object = 0;
  const Template data = Template().Ulong(CKA_CLASS, CKO_DATA).Raw(CKA_VALUE, {1});
  for (int i = 0; i < kMost && rv == CKR_OK; ++i) rv = bench.Create(data, object);
  const bool few = !trial.Through("C_CreateObject", rv, {CKR_DEVICE_MEMORY, CKR_HOST_MEMORY});
  if (!bounded) trial.Broken("20,000 sessions of one process");
  if (!few) trial.Broken("20,000 session objects of one process");
  if (RunSelf({"--part", "login"}) != 0) trial.Broken("another process is shut out");
}

void E09(Bench& bench, Trial& trial) {
  CK_OBJECT_HANDLE key = 0;
  Bytes out(256), data(16, 1);
  const auto length = [&] { return CK_ULONG{out.size()}; };
  CK_FUNCTION_LIST* f = bench.f();
  const CK_SESSION_HANDLE s = bench.session();
  if (!trial.Ready("C_GenerateKey", bench.GenerateAes(AesTemplate({CKA_ENCRYPT, CKA_DECRYPT}), key))) return;
  Mechanism gcm = Mechanism::Gcm(Random(12));
  const std::initializer_list<CK_RV> none = {CKR_OPERATION_NOT_INITIALIZED};
  CK_ULONG made = length();
  trial.MustRefuse("C_Encrypt without Init", f->C_Encrypt(s, data.data(), data.size(), out.data(), &made), none,
                   "an operation that was not begun");
  if (!trial.Ready("C_EncryptInit", f->C_EncryptInit(s, gcm.get(), key))) return;
  trial.MustRefuse("C_EncryptInit twice", f->C_EncryptInit(s, gcm.get(), key), {CKR_OPERATION_ACTIVE},
                   "an operation is begun over another");
  made = length();
  if (!trial.Ready("C_Encrypt", f->C_Encrypt(s, data.data(), data.size(), out.data(), &made))) return;
  made = length();
  trial.MustRefuse("C_EncryptFinal after C_Encrypt", f->C_EncryptFinal(s, out.data(), &made), none,
                   "an operation that has ended goes on");
  // A failed call ends the operation.
  if (!trial.Ready("C_DecryptInit", f->C_DecryptInit(s, gcm.get(), key))) return;
  made = length();
  if (f->C_Decrypt(s, data.data(), data.size(), out.data(), &made) == CKR_OK) trial.Broken("garbage is decrypted");
  made = length();
  trial.MustRefuse("C_Decrypt after an error", f->C_Decrypt(s, data.data(), data.size(), out.data(), &made), none,
                   "a failed operation goes on");
  // A key that is gone is not used.
  if (!trial.Ready("C_DestroyObject", f->C_DestroyObject(s, key))) return;
  trial.MustRefuse("C_EncryptInit of a destroyed key", f->C_EncryptInit(s, gcm.get(), key),
                   {CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID}, "a destroyed key is used");
}

void E10(Bench& bench, Trial& trial) {
  Bytes seed(32, 0), one(32), two(32);
  CK_FUNCTION_LIST* f = bench.f();
  const CK_RV seeded = f->C_SeedRandom(bench.session(), seed.data(), seed.size());
  if (trial.Through("C_SeedRandom", seeded, {CKR_RANDOM_SEED_NOT_SUPPORTED})) {
    f->C_GenerateRandom(bench.session(), one.data(), one.size());
    f->C_SeedRandom(bench.session(), seed.data(), seed.size());
    f->C_GenerateRandom(bench.session(), two.data(), two.size());
    if (one == two) {
      trial.Broken("the seed decides the numbers");
    } else {
      trial.Held("a seed is mixed in and decides nothing");
    }
  }
  trial.MustRefuse("C_GenerateRandom into NULL", f->C_GenerateRandom(bench.session(), nullptr, CK_ULONG{1} << 31),
                   {CKR_ARGUMENTS_BAD}, "2^31 bytes into NULL");
}

// Another user of the machine, with all that this process has in its memory.
void E11(Bench& bench, Trial& trial) {
  if (std::getenv("CMKD_SOCKET") == nullptr) return trial.NotApplicable("there is no daemon");
  if (::getuid() != 0) return trial.NotApplicable("only root can become another user");
  (void)bench;
  const int status = InFork([] {
    constexpr uid_t kNobody = 65534;
    if (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) return 5;
    Bench other;
    CK_SESSION_HANDLE session = 0;
    if (!other.trouble().empty()) return kHeldInChild;
    return other.Open(session) == CKR_OK ? kBrokenInChild : kHeldInChild;
  });
  if (status == kBrokenInChild) {
    trial.Broken("another user gets a session");
  } else if (status == kHeldInChild) {
    trial.Held("another user finds no token behind the socket");
  } else {
    trial.NotApplicable("the other user's process failed");
  }
}

constexpr Case kCases[] = {
    {"E01", "guesses handles", E01},
    {"E02", "guesses the PIN", E02},
    {"E03", "wipes the token", E03},
    {"E04", "goes on in a forked child", E04},
    {"E05", "writes in a read-only session", E05},
    {"E06", "sets odd PINs, looks for PINs in files", E06},
    {"E07", "clones or forges the state of an operation", E07},
    {"E08", "floods with sessions and objects", E08, nullptr, true},
    {"E09", "calls in the wrong order", E09},
    {"E10", "seeds the random numbers", E10, nullptr, true},
    {"E11", "comes as another user", E11, "only root can become another user"},
};

}  // namespace

std::span<const Case> SessionCases() { return kCases; }

}  // namespace cmkd::attacks

// Loading, logging in, and the keys of the cases.
#include "tests/bench/token.h"

#include <dlfcn.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <thread>

namespace cmkd::bench {

namespace {

CK_BBOOL g_true = CK_TRUE;
CK_BBOOL g_false = CK_FALSE;

CK_ATTRIBUTE Text(CK_ATTRIBUTE_TYPE type, std::string_view text) {
  return {type, const_cast<char*>(text.data()), text.size()};
}
template <class T>
CK_ATTRIBUTE Value(CK_ATTRIBUTE_TYPE type, T& value) {
  return {type, &value, sizeof value};
}

// Modules that make no key of the kind leave out the cases that want one.
template <class Make>
void MakeIfMissing(const Token& token, CK_SESSION_HANDLE session, CK_OBJECT_CLASS object_class, std::string_view label,
                   Make make) {
  if (FindByLabel(token, session, object_class, label) != CK_INVALID_HANDLE) return;
  try {
    make();
  } catch (const NotOffered&) {
  }
}

void MakeHmacKey(const Token& token, CK_SESSION_HANDLE session) {
  CK_MECHANISM mechanism{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
  CK_ULONG bytes = 32;
  CK_ATTRIBUTE attributes[] = {Value(CKA_TOKEN, g_true),     Text(CKA_LABEL, kHmacLabel), Value(CKA_VALUE_LEN, bytes),
                               Value(CKA_SENSITIVE, g_true), Value(CKA_PRIVATE, g_true),  Value(CKA_SIGN, g_true),
                               Value(CKA_VERIFY, g_true)};
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  Check(token->C_GenerateKey(session, &mechanism, attributes, std::size(attributes), &key), "C_GenerateKey (HMAC)");
}

void MakePair(const Token& token, CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type, CK_ATTRIBUTE parameter,
              std::string_view label) {
  CK_MECHANISM mechanism{type, nullptr, 0};
  CK_BYTE exponent[] = {1, 0, 1};
  CK_ATTRIBUTE of_public[] = {Value(CKA_TOKEN, g_true), Text(CKA_LABEL, label), Value(CKA_VERIFY, g_true), parameter,
                              Value(CKA_PUBLIC_EXPONENT, exponent)};
  CK_ATTRIBUTE of_private[] = {Value(CKA_TOKEN, g_true), Text(CKA_LABEL, label), Value(CKA_PRIVATE, g_true),
                               Value(CKA_SENSITIVE, g_true), Value(CKA_SIGN, g_true)};
  const CK_ULONG public_count = std::size(of_public) - (parameter.type == CKA_EC_PARAMS ? 1 : 0);
  CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE private_key = CK_INVALID_HANDLE;
  Check(token->C_GenerateKeyPair(session, &mechanism, of_public, public_count, of_private, std::size(of_private),
                                 &public_key, &private_key),
        "C_GenerateKeyPair");
}

}  // namespace

void Check(CK_RV rv, const char* call) {
  if (rv == CKR_OK) return;
  char code[24];
  std::snprintf(code, sizeof code, "0x%lx", rv);
  const std::string what = std::string(call) + " answered " + code;
  if (rv == CKR_MECHANISM_INVALID || rv == CKR_FUNCTION_NOT_SUPPORTED || rv == CKR_TOKEN_WRITE_PROTECTED)
    throw NotOffered(what);
  throw Trouble(what);
}

Token::Token(const TokenOptions& options) {
  library_ = ::dlopen(options.module.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) throw Trouble(::dlerror());
  const auto list = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library_, "C_GetFunctionList"));
  if (list == nullptr) throw Trouble(options.module + " is no PKCS#11 module");
  Check(list(&functions_), "C_GetFunctionList");
  // SoftHSM2 may see no token, or one without a PIN, while another process begins to use it.
  constexpr int kTries = 100;
  for (int i = 1;; ++i) {
    Initialize(options.init_string);
    const bool found = FindSlot(options.label);
    const CK_RV rv = found ? LogIn(options.pin) : CKR_OK;
    if (found && rv != CKR_USER_PIN_NOT_INITIALIZED) {
      Check(rv, "C_Login");
      return;
    }
    functions_->C_Finalize(nullptr);
    if (i == kTries) throw Trouble("there is no token " + options.label + " with a PIN");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

CK_RV Token::LogIn(const std::string& pin) {
  if (pin.empty()) return CKR_OK;
  const CK_SESSION_HANDLE session = OpenSession();  // stays open: it holds the login
  auto* bytes = reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(pin.data()));
  const CK_RV rv = functions_->C_Login(session, CKU_USER, bytes, pin.size());
  return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

void Token::Initialize(const std::string& init_string) {
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  // NSS has its own opinion of what stands in front of pReserved.
  struct {
    CK_CREATEMUTEX create;
    CK_DESTROYMUTEX destroy;
    CK_LOCKMUTEX lock;
    CK_UNLOCKMUTEX unlock;
    CK_FLAGS flags;
    const char* parameters;
    void* reserved;
  } nss{nullptr, nullptr, nullptr, nullptr, CKF_OS_LOCKING_OK, init_string.c_str(), nullptr};
  Check(functions_->C_Initialize(init_string.empty() ? static_cast<void*>(&arguments) : &nss), "C_Initialize");
}

Token::~Token() {
  // Not unloaded: some modules leave threads or handlers behind.
  if (functions_ != nullptr) functions_->C_Finalize(nullptr);
}

bool Token::FindSlot(const std::string& label) {
  CK_SLOT_ID slots[64];
  CK_ULONG count = std::size(slots);
  Check(functions_->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_TOKEN_INFO info{};
    if (functions_->C_GetTokenInfo(slots[i], &info) != CKR_OK) continue;
    std::string found(reinterpret_cast<const char*>(info.label), sizeof info.label);
    found.erase(found.find_last_not_of(' ') + 1);
    if (label.empty() ? (info.flags & CKF_TOKEN_INITIALIZED) == 0 : found != label) continue;
    slot_ = slots[i];
    return true;
  }
  return false;
}

CK_SESSION_HANDLE Token::OpenSession() const {
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  Check(functions_->C_OpenSession(slot_, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session),
        "C_OpenSession");
  return session;
}

CK_OBJECT_HANDLE FindByLabel(const Token& token, CK_SESSION_HANDLE session, CK_OBJECT_CLASS object_class,
                             std::string_view label) {
  CK_ATTRIBUTE wanted[] = {Value(CKA_CLASS, object_class), Text(CKA_LABEL, label)};
  CK_OBJECT_HANDLE found = CK_INVALID_HANDLE;
  CK_ULONG count = 0;
  Check(token->C_FindObjectsInit(session, wanted, std::size(wanted)), "C_FindObjectsInit");
  Check(token->C_FindObjects(session, &found, 1, &count), "C_FindObjects");
  Check(token->C_FindObjectsFinal(session), "C_FindObjectsFinal");
  return count == 0 ? CK_INVALID_HANDLE : found;
}

CK_OBJECT_HANDLE MakeAesKey(const Token& token, CK_SESSION_HANDLE session, std::string_view label, bool wrapping,
                            bool on_token) {
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  CK_ULONG bytes = 32;
  CK_ATTRIBUTE attributes[] = {Value(CKA_TOKEN, on_token ? g_true : g_false),
                               Text(CKA_LABEL, label),
                               Value(CKA_VALUE_LEN, bytes),
                               Value(CKA_PRIVATE, g_true),
                               Value(CKA_SENSITIVE, g_true),
                               Value(CKA_ENCRYPT, wrapping ? g_false : g_true),
                               Value(CKA_DECRYPT, wrapping ? g_false : g_true),
                               Value(CKA_WRAP, wrapping ? g_true : g_false),
                               Value(CKA_UNWRAP, wrapping ? g_true : g_false)};
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  Check(token->C_GenerateKey(session, &mechanism, attributes, std::size(attributes), &key), "C_GenerateKey (AES)");
  return key;
}

void MakeKeys(const Token& token) {
  const CK_SESSION_HANDLE session = token.OpenSession();
  MakeIfMissing(token, session, CKO_SECRET_KEY, kAesLabel, [&] { MakeAesKey(token, session, kAesLabel); });
  MakeIfMissing(token, session, CKO_SECRET_KEY, kWrapLabel, [&] { MakeAesKey(token, session, kWrapLabel, true); });
  MakeIfMissing(token, session, CKO_SECRET_KEY, kHmacLabel, [&] { MakeHmacKey(token, session); });
  MakeIfMissing(token, session, CKO_PRIVATE_KEY, kEcLabel, [&] {
    CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    MakePair(token, session, CKM_EC_KEY_PAIR_GEN, Value(CKA_EC_PARAMS, p256), kEcLabel);
  });
  MakeIfMissing(token, session, CKO_PRIVATE_KEY, kRsaLabel, [&] {
    CK_ULONG bits = 2048;
    MakePair(token, session, CKM_RSA_PKCS_KEY_PAIR_GEN, Value(CKA_MODULUS_BITS, bits), kRsaLabel);
  });
  token->C_CloseSession(session);
}

std::string FillLabel(std::size_t number) { return "bench-fill-" + std::to_string(number); }

void Fill(const Token& token, std::size_t count) {
  const CK_SESSION_HANDLE session = token.OpenSession();
  // The last one that is there, by halving.
  std::size_t have = 0;
  for (std::size_t beyond = count; have < beyond;) {
    const std::size_t middle = have + (beyond - have) / 2;
    const bool there = FindByLabel(token, session, CKO_SECRET_KEY, FillLabel(middle)) != CK_INVALID_HANDLE;
    (there ? have : beyond) = there ? middle + 1 : middle;
  }
  for (; have < count; ++have) MakeAesKey(token, session, FillLabel(have));
  token->C_CloseSession(session);
}

std::vector<CK_BYTE> SealManaged(const Token& token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  CK_MECHANISM mechanism{CKM_CMKD_AES_MANAGED, nullptr, 0};
  CK_BYTE plain[32] = {1, 2, 3};
  std::vector<CK_BYTE> sealed(sizeof plain + CMKD_MANAGED_OVERHEAD);
  CK_ULONG length = sealed.size();
  Check(token->C_EncryptInit(session, &mechanism, key), "C_EncryptInit");
  Check(token->C_Encrypt(session, plain, sizeof plain, sealed.data(), &length), "C_Encrypt");
  sealed.resize(length);
  return sealed;
}

std::string RotatedLabel(std::size_t versions) { return "bench-rotated-" + std::to_string(versions); }

void KeepSealed(const Token& token, const std::string& label, const std::string& path) {
  if (std::ifstream(path).good()) return;
  const CK_SESSION_HANDLE session = token.OpenSession();
  const CK_OBJECT_HANDLE key = FindByLabel(token, session, CKO_SECRET_KEY, label);
  if (key == CK_INVALID_HANDLE) throw Trouble("there is no key " + label);
  const std::vector<CK_BYTE> sealed = SealManaged(token, session, key);
  token->C_CloseSession(session);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(sealed.data()), static_cast<std::streamsize>(sealed.size()));
  if (!file.flush()) throw Trouble("cannot write " + path);
}

std::vector<CK_BYTE> ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Trouble("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace cmkd::bench

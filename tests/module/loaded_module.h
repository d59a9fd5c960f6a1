// The module as an application sees it: loaded by path, called through its function list, with short names for the
// usual sequences. Nothing of ours is linked into what happens here.
#pragma once

#include <dlfcn.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "pkcs11/spec/call_table.h"
#include "pkcs11/spec/owned_template.h"
#include "pkcs11/spec/vendor.h"

namespace cmkd::tests {

// A file of the build tree; the environment's CMKD_BUILD_DIR comes before the tree that this program was built in.
inline std::string BuiltFile(const std::string& name) {
  const char* other = std::getenv("CMKD_BUILD_DIR");
  return std::string(other != nullptr ? other : CMKD_BUILD_DIR) + '/' + name;
}

// Runs cmkctl and returns its exit status; what it printed is appended to `output`.
inline int Cmkctl(const std::string& arguments, std::string* output = nullptr) {
  FILE* pipe = ::popen(("'" + BuiltFile("bin/cmkctl") + "' " + arguments + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return -1;
  char block[4096];
  for (std::size_t got = 0; (got = ::fread(block, 1, sizeof block, pipe)) != 0;) {
    if (output != nullptr) output->append(block, got);
  }
  const int status = ::pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

using Template = spec::OwnedTemplate;

class LoadedModule {
 public:
  LoadedModule() { Load(); }
  ~LoadedModule() { Unload(); }
  LoadedModule(const LoadedModule&) = delete;
  LoadedModule& operator=(const LoadedModule&) = delete;

  void Load() {
    const char* path = std::getenv("P11_MODULE");
    library_ = ::dlopen(path != nullptr ? path : BuiltFile("lib/libcmkd-pkcs11.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr) return;
    const auto get_list = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library_, "C_GetFunctionList"));
    if (get_list != nullptr) get_list(&list_);
    newest_ = Interface(3, 2);
  }
  // The function list of that version through C_GetInterface, or nullptr.
  CK_FUNCTION_LIST_3_2* Interface(CK_BYTE major, CK_BYTE minor) const {
    const auto get = reinterpret_cast<decltype(&::C_GetInterface)>(::dlsym(library_, "C_GetInterface"));
    CK_VERSION version{major, minor};
    CK_INTERFACE_PTR found = nullptr;
    CK_UTF8CHAR name[] = "PKCS 11";
    if (get == nullptr || get(name, &version, &found, 0) != CKR_OK) return nullptr;
    return static_cast<CK_FUNCTION_LIST_3_2*>(found->pFunctionList);
  }
  // The functions that cmkd adds, or nullptr.
  CK_CMKD_FUNCTION_LIST* Own() const {
    const auto get = reinterpret_cast<decltype(&::C_GetInterface)>(::dlsym(library_, "C_GetInterface"));
    CK_INTERFACE_PTR found = nullptr;
    CK_UTF8CHAR name[] = CMKD_INTERFACE;
    if (get == nullptr || get(name, nullptr, &found, 0) != CKR_OK) return nullptr;
    return static_cast<CK_CMKD_FUNCTION_LIST*>(found->pFunctionList);
  }
  // What 3.0 and 3.2 add to the list.
  CK_FUNCTION_LIST_3_2* newest() const { return newest_; }
  void* library() const { return library_; }
  void Unload() {
    if (library_ == nullptr) return;
    list_->C_Finalize(nullptr);
    ::dlclose(library_);
    library_ = nullptr;
    list_ = nullptr;
    newest_ = nullptr;
  }

  CK_FUNCTION_LIST* operator->() const { return list_; }
  bool loaded() const { return list_ != nullptr; }

  std::optional<CK_SLOT_ID> FindToken(const std::string& label) const {
    CK_SLOT_ID slots[64];
    CK_ULONG count = 64;
    if (list_->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK) return std::nullopt;
    std::string padded = label;
    padded.resize(32, ' ');
    for (CK_ULONG i = 0; i < count; ++i) {
      CK_TOKEN_INFO info{};
      if (list_->C_GetTokenInfo(slots[i], &info) == CKR_OK && std::memcmp(info.label, padded.data(), 32) == 0)
        return slots[i];
    }
    return std::nullopt;
  }
  CK_RV Open(CK_SLOT_ID slot, CK_SESSION_HANDLE& session) const {
    return list_->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session);
  }
  CK_RV Login(CK_SESSION_HANDLE session, const std::string& pin) const {
    return list_->C_Login(session, CKU_USER, reinterpret_cast<CK_UTF8CHAR_PTR>(const_cast<char*>(pin.data())),
                          pin.size());
  }
  // The handles that the template finds; empty also when searching itself fails.
  std::vector<CK_OBJECT_HANDLE> Find(CK_SESSION_HANDLE session, Template wanted) const {
    CK_OBJECT_HANDLE found[64];
    CK_ULONG count = 0;
    if (list_->C_FindObjectsInit(session, wanted.data(), wanted.size()) != CKR_OK) return {};
    const CK_RV rv = list_->C_FindObjects(session, found, 64, &count);
    list_->C_FindObjectsFinal(session);
    return rv == CKR_OK ? std::vector<CK_OBJECT_HANDLE>(found, found + count) : std::vector<CK_OBJECT_HANDLE>();
  }
  CK_RV GenerateAes(CK_SESSION_HANDLE session, Template attributes, CK_OBJECT_HANDLE& key) const {
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    attributes.Ulong(CKA_VALUE_LEN, 32);
    return list_->C_GenerateKey(session, &mechanism, attributes.data(), attributes.size(), &key);
  }

 private:
  void* library_ = nullptr;
  CK_FUNCTION_LIST* list_ = nullptr;
  CK_FUNCTION_LIST_3_2* newest_ = nullptr;
};

inline CK_BYTE_PTR BytePtr(const Bytes& bytes) { return const_cast<CK_BYTE_PTR>(bytes.data()); }

// AES-GCM with a fixed nonce: each key here protects one message or a few that nobody keeps.
struct Gcm {
  CK_BYTE nonce[12] = {1, 2, 3};
  CK_GCM_PARAMS parameters{nonce, sizeof nonce, 96, nullptr, 0, 128};
  CK_MECHANISM mechanism{CKM_AES_GCM, &parameters, sizeof parameters};
};

}  // namespace cmkd::tests

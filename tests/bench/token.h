// Token: any PKCS#11 module, loaded by path and initialised, and one of its tokens, as an ordinary program uses them.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "pkcs11/spec/vendor.h"

namespace cmkd::bench {

// A call failed or a thing is not there; `what` is a sentence.
struct Trouble : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// The module does not do this; the case is left out.
struct NotOffered : Trouble {
  using Trouble::Trouble;
};

// Throws NotOffered for codes that say "not this module", Trouble for all others but CKR_OK.
void Check(CK_RV rv, const char* call);

struct TokenOptions {
  std::string module;
  std::string label;        // empty: the first token that is initialised
  std::string pin;          // empty: no login
  std::string init_string;  // NSS: what C_Initialize takes as LibraryParameters
};

class Token {
 public:
  explicit Token(const TokenOptions& options);
  ~Token();
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;

  CK_FUNCTION_LIST_PTR operator->() const { return functions_; }
  CK_SLOT_ID slot() const { return slot_; }
  // A read/write session; belongs to the caller.
  CK_SESSION_HANDLE OpenSession() const;

 private:
  void Initialize(const std::string& init_string);
  bool FindSlot(const std::string& label);
  CK_RV LogIn(const std::string& pin);

  void* library_ = nullptr;
  CK_FUNCTION_LIST_PTR functions_ = nullptr;
  CK_SLOT_ID slot_ = 0;
};

// The handle of the object with this class and label, or CK_INVALID_HANDLE.
CK_OBJECT_HANDLE FindByLabel(const Token& token, CK_SESSION_HANDLE session, CK_OBJECT_CLASS object_class,
                             std::string_view label);

// An AES key of 32 bytes with this label, either for data or for wrapping, on the token or of the session.
CK_OBJECT_HANDLE MakeAesKey(const Token& token, CK_SESSION_HANDLE session, std::string_view label,
                            bool wrapping = false, bool on_token = true);

// The keys that the cases use, made where they are missing.
void MakeKeys(const Token& token);
// AES keys on the token, labelled FillLabel(0) to FillLabel(count - 1).
void Fill(const Token& token, std::size_t count);
std::string FillLabel(std::size_t number);

// 32 bytes sealed by CKM_CMKD_AES_MANAGED, and the same in a file, unless it is there: of the version that is now the
// newest of that key.
std::vector<CK_BYTE> SealManaged(const Token& token, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key);
void KeepSealed(const Token& token, const std::string& label, const std::string& path);
std::vector<CK_BYTE> ReadWhole(const std::string& path);

inline constexpr std::string_view kAesLabel = "bench-aes";
inline constexpr std::string_view kWrapLabel = "bench-wrap";
inline constexpr std::string_view kHmacLabel = "bench-hmac";
inline constexpr std::string_view kEcLabel = "bench-ec";
inline constexpr std::string_view kRsaLabel = "bench-rsa";
// Of the key that has so many versions.
std::string RotatedLabel(std::size_t versions);

}  // namespace cmkd::bench

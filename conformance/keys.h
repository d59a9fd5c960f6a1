// Keys for the cases: session objects made in the module when first asked for, and shared by the cases that follow.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "common/result.h"
#include "conformance/domain.h"
#include "conformance/module.h"

namespace cmkd::conformance {

// What a key may do. One purpose a key, since careful modules do not let one key do everything.
enum class Purpose { kCipher, kSign, kRecover, kWrap, kDerive, kNothing };

// A secret key has the same handle twice.
struct MadeKey {
  CK_OBJECT_HANDLE first = 0;   // public or secret
  CK_OBJECT_HANDLE second = 0;  // private or secret
};

class Keys {
 public:
  explicit Keys(const Module& module) : p11_(module) {}

  // Where keys are made from now on; logged in.
  void Use(CK_SESSION_HANDLE session) { session_ = session; }
  // The session is gone, and its objects with it.
  void Forget();

  // A key of this type (RSA 2048, P-256, Ed25519, X25519, DSA and DH of 2048 bits, AES 256). Errors: why the module
  // cannot make one.
  Result<MadeKey, std::string> Get(CK_KEY_TYPE type, Purpose purpose);

  // A new one each time, in the given session, which the caller may destroy; `more` goes into the (private) template.
  // `generator` 0: the usual mechanism for keys of this type.
  Result<MadeKey, std::string> Make(CK_SESSION_HANDLE session, CK_KEY_TYPE type, Purpose purpose,
                                    const Template& more = {}, CK_MECHANISM_TYPE generator = 0) const;

 private:
  const Module& p11_;
  CK_SESSION_HANDLE session_ = 0;
  std::map<std::pair<CK_KEY_TYPE, Purpose>, Result<MadeKey, std::string>> made_;
};

}  // namespace cmkd::conformance

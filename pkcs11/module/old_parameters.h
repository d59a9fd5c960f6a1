// Parameters as the standard had them once and as programs still send them.
#pragma once

#include <sys/uio.h>
#include <unistd.h>

#include <cstring>

#include "pkcs11/remote/client.h"

namespace cmkd::module {

// CK_PKCS5_PBKD2_PARAMS of 2.20, which NSS sends, is as long as CK_PKCS5_PBKD2_PARAMS2 and has a pointer to the
// password's length where that has the length. No password is as long as an address is high. While this lives the
// call's mechanism says the length itself.
class NewPasswordLength {
 public:
  explicit NewPasswordLength(spec::Call<spec::CallId::C_GenerateKey>& call)
      : call_(call), given_(call.mechanism.value) {
    if (given_ == nullptr || given_->mechanism != CKM_PKCS5_PBKD2 || given_->pParameter == nullptr ||
        given_->ulParameterLen != sizeof parameter_) {
      return;
    }
    std::memcpy(&parameter_, given_->pParameter, sizeof parameter_);
    constexpr CK_ULONG kPageBytes = 4096;
    if (parameter_.ulPasswordLen < kPageBytes || !ReadOwn(parameter_.ulPasswordLen, parameter_.ulPasswordLen)) return;
    mechanism_ = {given_->mechanism, &parameter_, sizeof parameter_};
    call_.mechanism.value = &mechanism_;
  }
  ~NewPasswordLength() { call_.mechanism.value = given_; }
  NewPasswordLength(const NewPasswordLength&) = delete;
  NewPasswordLength& operator=(const NewPasswordLength&) = delete;

 private:
  // What this process has at an address, if anything: the kernel looks, so that a length that lies is no crash.
  static bool ReadOwn(CK_ULONG address, CK_ULONG& value) {
    CK_ULONG found = 0;
    const iovec to{&found, sizeof found};
    const iovec from{reinterpret_cast<void*>(address), sizeof found};
    if (::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) != static_cast<ssize_t>(sizeof found)) return false;
    value = found;
    return true;
  }

  spec::Call<spec::CallId::C_GenerateKey>& call_;
  CK_MECHANISM* given_;
  CK_PKCS5_PBKD2_PARAMS2 parameter_{};
  CK_MECHANISM mechanism_{};
};

}  // namespace cmkd::module

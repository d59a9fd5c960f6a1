// RemoteModule: the function list of a module that runs in an HSM host, for code of the daemon that drives any function
// list.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "pkcs11/remote/client.h"
#include "pkcs11/spec/cryptoki.h"

namespace cmkd::daemon {

// At most this many exist at once: C's functions have no room for "which module", so each has a function list of its
// own.
inline constexpr int kRemoteModulesMax = 8;

class RemoteModule {
 public:
  // Where the host of now listens; empty while there is none. Each host process listens elsewhere, so that what was
  // meant for one never reaches the next.
  using SocketPath = std::function<std::string()>;

  // C_Initialize of the function list connects to the host of now, and C_Finalize disconnects; both stay on this side,
  // for the host initialises its module itself. When the host has gone, every call gives CKR_DEVICE_REMOVED until
  // C_Initialize is called again.
  // A call that takes longer than the deadline (five times that, if it makes keys) gives CKR_DEVICE_ERROR.
  explicit RemoteModule(SocketPath socket_path, std::chrono::seconds call_deadline = std::chrono::seconds(60));
  // Nobody may be in a call.
  ~RemoteModule();
  RemoteModule(const RemoteModule&) = delete;
  RemoteModule& operator=(const RemoteModule&) = delete;

  // nullptr when kRemoteModulesMax exist already.
  CK_FUNCTION_LIST_PTR functions() const { return functions_; }

 private:
  int index_ = -1;
  CK_FUNCTION_LIST_PTR functions_ = nullptr;
};

}  // namespace cmkd::daemon

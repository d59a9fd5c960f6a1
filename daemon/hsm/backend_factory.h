// Starts the back end that an [[hsm]] table of the configuration describes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "daemon/config/config.h"
#include "daemon/hsm/backend.h"

namespace cmkd::daemon {

// The simulated device that main has linked: its function list, and how it is told where its flash is.
struct SimulatedDevice {
  CK_FUNCTION_LIST_PTR functions = nullptr;
  std::function<void(const std::string& flash_directory)> configure;
};

// What a back end needs besides its own table.
struct BackendSurroundings {
  std::string state_directory;  // exists, mode 0700
  // Where the sockets of HSM hosts go: exists, ours alone; empty: the state directory.
  std::string runtime_directory;
  std::size_t cache_entries = 4096;
  SimulatedDevice simulated;
  // kind pkcs11: whether the back end starts although its token is not there, and waits for it.
  bool may_be_away = false;
};

// kind firmware_sim: the device's flash is config.directory, or <state_directory>/hsm-<name>; a new device is
// initialised with random PINs, which are kept beside it in <flash directory>.pin. There is one such device in a
// process: a second is refused. kind pkcs11: starts a cmkd-hsm-host for the module and drives it. The error is a
// sentence that says what to do.
Result<std::unique_ptr<Backend>, std::string> StartBackend(const HsmConfig& config,
                                                           const BackendSurroundings& surroundings);

}  // namespace cmkd::daemon

// The simulated HSM: a PKCS#11 module over OpenSSL that models a device with one slot, flash, PINs and self-tests. It
// is a simulation and not validated: it protects against mistakes and through its API, not against who can read its
// files or memory.
//
// The same device is a library for the daemon (this header) and a module for anything else (libcmkd-firmware-sim.so).
#pragma once

#include <string>

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::sim {

// The function list (2.40; 3.0 and 3.2 through C_GetInterface of its C_GetFunctionList's module). Lives for ever. Any
// thread.
CK_FUNCTION_LIST_PTR FunctionList();

// Where the device keeps its flash; made on first use, mode 0700. Counts from the next C_Initialize on. Without it the
// environment variable CMKD_FIRMWARE_SIM_DIR is read. One process at a time may use a directory.
void Configure(const std::string& flash_directory);

// A script of faults for a device that was configured (docs/faults.md); empty: none. Counts from the next C_Initialize
// on. A module that nobody configures reads the environment variable CMKD_FIRMWARE_SIM_FAULTS. A power cut ends the
// process.
void ConfigureFaults(const std::string& script);

}  // namespace cmkd::sim

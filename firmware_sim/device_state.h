// The device's states and what each does with each command: a pure table. A device that is not fit to work does nothing
// but say how it is and destroy its keys (ISO/IEC 19790 sections 7.9 and 7.10).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "pkcs11/spec/cryptoki.h"

namespace cmkd::sim {

enum class DeviceState : std::uint8_t {
  kOff,
  kTesting,  // self-tests run; no service yet
  kOperational,
  kSoftError,  // a test failed while working; passing all tests again leads out
  kHardError,  // damaged memory, or tests that failed at power-on; only switching off leads out
  kZeroizing,  // keys are being destroyed; a power cut does not stop it, only delay it
  kZeroized,   // as from the factory, until the next power-on
  kTampered,   // the case was opened: keys are gone, and it remembers
};
inline constexpr std::size_t kDeviceStateCount = 8;

enum class Command : std::uint8_t {
  // What happens to the device.
  kPowerOn,
  kPowerOff,
  kTestsPass,
  kTestsFail,
  kMemoryDamaged,      // the flash cannot be read or is not what was written
  kWorkingTestFailed,  // noise source, new key pair, or the periodic test
  kTamperSensed,
  kMarkFound,  // at power-on: a destruction that was begun, or an opened case
  kZeroizeDone,
  kTamperZeroizeDone,
  // What is asked of it.
  kStatus,  // information on slot, token, mechanisms and this state
  kSelfTest,
  kZeroize,
  kInitialise,    // C_InitToken
  kEndSession,    // leaving: closing sessions and logging out
  kAuthenticate,  // sessions, PINs, logging in
  kUse,           // objects, keys, random numbers
};
inline constexpr std::size_t kCommandCount = 17;

struct Outcome {
  DeviceState next;
  CK_RV rv;  // CKR_OK: it is done; otherwise the answer, and the device stays as it is
  constexpr bool allowed() const { return rv == CKR_OK; }
};

// What a command does in a state, by the table. Pure.
Outcome Decide(DeviceState state, Command command);

// As they stand in the audit and in what the tool shows.
std::string_view NameOf(DeviceState state);
std::string_view NameOf(Command command);

}  // namespace cmkd::sim

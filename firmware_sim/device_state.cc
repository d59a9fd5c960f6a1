// See device_state.h.
#include "firmware_sim/device_state.h"

namespace cmkd::sim {
namespace {

using S = DeviceState;
using C = Command;

// What a state answers to services that it does not have, and which it has. Events are below.
struct Services {
  DeviceState state;
  CK_RV refusal;
  bool status, self_test, zeroize, end_session, work;
};
constexpr std::array<Services, kDeviceStateCount> kServices = {{
    {S::kOff, CKR_CRYPTOKI_NOT_INITIALIZED, false, false, false, false, false},
    {S::kTesting, CKR_FIPS_SELF_TEST_FAILED, true, false, false, false, false},
    {S::kOperational, CKR_GENERAL_ERROR, true, true, true, true, true},
    {S::kSoftError, CKR_DEVICE_ERROR, true, true, true, true, false},
    {S::kHardError, CKR_DEVICE_ERROR, true, false, true, true, false},
    {S::kZeroizing, CKR_DEVICE_ERROR, true, false, true, false, false},
    {S::kZeroized, CKR_DEVICE_ERROR, true, false, true, true, false},
    {S::kTampered, CKR_DEVICE_ERROR, true, false, true, true, false},
}};

struct Transition {
  DeviceState state;
  Command event;
  DeviceState next;
};
// Every other event leaves the state as it is: it has no meaning there.
constexpr Transition kTransitions[] = {
    {S::kOff, C::kPowerOn, S::kTesting},
    {S::kTesting, C::kTestsPass, S::kOperational},
    {S::kTesting, C::kTestsFail, S::kHardError},
    {S::kTesting, C::kMemoryDamaged, S::kHardError},
    {S::kTesting, C::kMarkFound, S::kZeroizing},
    {S::kOperational, C::kSelfTest, S::kOperational},
    {S::kOperational, C::kTestsFail, S::kSoftError},
    {S::kOperational, C::kMemoryDamaged, S::kHardError},
    {S::kOperational, C::kWorkingTestFailed, S::kSoftError},
    {S::kSoftError, C::kTestsPass, S::kOperational},
    {S::kSoftError, C::kMemoryDamaged, S::kHardError},
    {S::kZeroizing, C::kZeroizeDone, S::kZeroized},
    {S::kZeroizing, C::kTamperZeroizeDone, S::kTampered},
};

constexpr const Services& ServicesOf(DeviceState state) { return kServices[static_cast<std::size_t>(state)]; }

constexpr bool IsInOrder() {
  for (std::size_t i = 0; i < kDeviceStateCount; ++i) {
    if (static_cast<std::size_t>(kServices[i].state) != i) return false;
  }
  return true;
}
static_assert(IsInOrder());

constexpr bool IsEvent(Command command) { return command < C::kStatus; }

Outcome Happen(DeviceState state, Command event) {
  if (event == C::kPowerOff) return {S::kOff, CKR_OK};
  // An opened case destroys the keys whatever the device is doing, as long as there may be keys.
  if (event == C::kTamperSensed && state != S::kOff && state != S::kTampered) return {S::kZeroizing, CKR_OK};
  for (const Transition& row : kTransitions) {
    if (row.state == state && row.event == event) return {row.next, CKR_OK};
  }
  return {state, CKR_OK};
}

}  // namespace

Outcome Decide(DeviceState state, Command command) {
  if (IsEvent(command)) return Happen(state, command);
  const Services& services = ServicesOf(state);
  const bool allowed = command == C::kStatus       ? services.status
                       : command == C::kSelfTest   ? services.self_test
                       : command == C::kZeroize    ? services.zeroize
                       : command == C::kEndSession ? services.end_session
                                                   : services.work;
  if (!allowed) return {state, services.refusal};
  return {command == C::kZeroize ? S::kZeroizing : state, CKR_OK};
}

std::string_view NameOf(DeviceState state) {
  static constexpr std::array<std::string_view, kDeviceStateCount> kNames = {
      "off", "testing", "operational", "soft error", "hard error", "zeroizing", "zeroized", "tampered"};
  return kNames[static_cast<std::size_t>(state)];
}

std::string_view NameOf(Command command) {
  static constexpr std::array<std::string_view, kCommandCount> kNames = {"power on",
                                                                         "power off",
                                                                         "tests pass",
                                                                         "tests fail",
                                                                         "memory damaged",
                                                                         "working test failed",
                                                                         "tamper",
                                                                         "mark found",
                                                                         "zeroize done",
                                                                         "tamper zeroize done",
                                                                         "status",
                                                                         "self-test",
                                                                         "zeroize",
                                                                         "initialise",
                                                                         "end session",
                                                                         "authenticate",
                                                                         "use"};
  return kNames[static_cast<std::size_t>(command)];
}

}  // namespace cmkd::sim

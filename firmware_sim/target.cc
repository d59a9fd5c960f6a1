// See target.h. Also the two local calls and the function list.
#include "firmware_sim/target.h"

#include <cstdlib>

#include "firmware_sim/firmware_sim.h"
#include "firmware_sim/noise_source.h"
#include "firmware_sim/primitives.h"
#include "pkcs11/entry/function_lists.h"

namespace cmkd::sim {
namespace {

std::mutex& DirectoryMutex() {
  static std::mutex* const mutex = new std::mutex;
  return *mutex;
}

std::string& ConfiguredDirectory() {
  static std::string* const directory = new std::string;
  return *directory;
}

std::string& ConfiguredScript() {
  static std::string* const script = new std::string;
  return *script;
}

std::string FromEnvironment(const char* name) {
  const char* value = ::secure_getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// The environment counts only for a module that nobody has configured: what a daemon inherits must not break its own
// device.
struct Places {
  std::string flash;
  std::string script;
};
Places FindPlaces() {
  const std::lock_guard lock(DirectoryMutex());
  if (!ConfiguredDirectory().empty()) return {ConfiguredDirectory(), ConfiguredScript()};
  return {FromEnvironment("CMKD_FIRMWARE_SIM_DIR"), FromEnvironment("CMKD_FIRMWARE_SIM_FAULTS")};
}

// C_Initialize in a rehearsal.
CK_RV StartDevice() {
  const Places places = FindPlaces();
  if (Device::Current() != nullptr) return CKR_CRYPTOKI_ALREADY_INITIALIZED;
  if (const Status started = Rehearsal::Start(places.script, places.flash); !started.ok()) return started.error().rv;
  Rehearsal* const rehearsal = Rehearsal::Current();
  if (rehearsal == nullptr) return Device::Start(places.flash);
  const faults::Decision fault = rehearsal->AtCall(CallId::C_Initialize);
  if (fault.before.power_cut) Rehearsal::CutPower();
  if (fault.refuse != CKR_OK) return fault.refuse;
  const CK_RV rv = Device::Start(places.flash);
  if (rv == CKR_OK && fault.after.any()) Device::Current()->Apply(fault.after);
  return rv == CKR_OK ? fault.answer : rv;
}

bool EndsOperation(const spec::CallRow& row) {
  return row.phase == Phase::kSingle || row.phase == Phase::kPart || row.phase == Phase::kFinal;
}

// PKCS#11 3.2 section 5.4, C_Initialize: locking functions all or none; this device locks with the operating system's,
// so a caller who can only offer his own is refused.
CK_RV CheckInitializeArguments(const CK_C_INITIALIZE_ARGS* arguments) {
  if (arguments == nullptr) return CKR_OK;
  if (arguments->pReserved != nullptr) return CKR_ARGUMENTS_BAD;
  const int given = (arguments->CreateMutex != nullptr) + (arguments->DestroyMutex != nullptr) +
                    (arguments->LockMutex != nullptr) + (arguments->UnlockMutex != nullptr);
  if (given != 0 && given != 4) return CKR_ARGUMENTS_BAD;
  if (given == 4 && (arguments->flags & CKF_OS_LOCKING_OK) == 0) return CKR_CANT_LOCK;
  return CKR_OK;
}

}  // namespace

SessionGate EnterSession(Device& device, CK_SESSION_HANDLE handle, const spec::CallRow& row) {
  SessionGate entered;
  // A test that fails ends the work, which the state then says.
  if (device.state() == DeviceState::kOperational) (void)device.TestIfDue();
  if (device.state() != DeviceState::kOperational) [[unlikely]] {
    if (const Status permitted = device.Permit(CommandOf(row)); !permitted.ok()) {
      entered.rv = permitted.error().rv;
      return entered;
    }
  }
  entered.session = device.sessions().Find(handle);
  if (entered.session == nullptr) {
    entered.rv = CKR_SESSION_HANDLE_INVALID;
    return entered;
  }
  entered.lock = std::unique_lock(entered.session->mutex());
  entered.session->FollowLogin(device.login_epoch());
  if (entered.session->closed)
    entered.rv = CKR_SESSION_HANDLE_INVALID;
  else if (row.gate == spec::Gate::kReadWriteSession && !entered.session->read_write())
    entered.rv = CKR_SESSION_READ_ONLY;
  else if (!device.May(ServiceOf(row)))
    entered.rv = CKR_USER_NOT_LOGGED_IN;
  return entered;
}

CK_RV Conclude(Device& device, Session* session, const spec::CallRow& row, const Status& answer) {
  if (answer.ok()) return CKR_OK;
  const CK_RV rv = answer.error().rv;
  // A test that fails while working ends all work, not only this call.
  const bool faulty = rv == CKR_DEVICE_ERROR && answer.error().detail == kFaultyComputation;
  if (rv == CKR_FIPS_SELF_TEST_FAILED || faulty || NoiseSource::Get().alarmed())
    device.WorkingTestFailed(answer.error().why);
  if (session == nullptr) return rv;
  session->device_error = answer.error().detail;
  // "…always terminates the active operation unless it returns CKR_BUFFER_TOO_SMALL" (PKCS#11 3.2 section 5.2 and each
  // function).
  if (rv != CKR_BUFFER_TOO_SMALL && EndsOperation(row)) session->operation(row.operation).reset();
  return rv;
}

CK_RV Target::Initialize(CK_VOID_PTR arguments) noexcept {
  try {
    if (const CK_RV rv = CheckInitializeArguments(static_cast<CK_C_INITIALIZE_ARGS*>(arguments)); rv != CKR_OK)
      return rv;
    return StartDevice();
  } catch (const std::bad_alloc&) {
    return CKR_HOST_MEMORY;
  } catch (...) {
    return CKR_GENERAL_ERROR;
  }
}

CK_RV Target::Finalize(CK_VOID_PTR reserved) noexcept {
  if (reserved != nullptr) return CKR_ARGUMENTS_BAD;
  const CK_RV rv = Device::Stop();
  Rehearsal::Stop();
  return rv;
}

// The slot's token is never removed, so nothing ever happens.
CK_RV Target::WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID*, CK_VOID_PTR reserved) noexcept {
  if (Device::Current() == nullptr) return CKR_CRYPTOKI_NOT_INITIALIZED;
  if (reserved != nullptr) return CKR_ARGUMENTS_BAD;
  return (flags & CKF_DONT_BLOCK) != 0 ? CKR_NO_EVENT : CKR_FUNCTION_NOT_SUPPORTED;
}

void Configure(const std::string& flash_directory) {
  const std::lock_guard lock(DirectoryMutex());
  ConfiguredDirectory() = flash_directory;
}

void ConfigureFaults(const std::string& script) {
  const std::lock_guard lock(DirectoryMutex());
  ConfiguredScript() = script;
}

CK_FUNCTION_LIST_PTR FunctionList() { return entry::FunctionLists<Target>::V240(); }

}  // namespace cmkd::sim

// The device: power, states, self-tests and destruction; what it says of itself. Its logins and what it keeps have
// files of their own.
#include "firmware_sim/device.h"

#include <sys/mman.h>
#include <time.h>

#include "firmware_sim/device_clock.h"
#include "firmware_sim/image_seal.h"
#include "firmware_sim/last_failure.h"
#include "firmware_sim/noise_source.h"
#include "firmware_sim/primitives.h"
#include "firmware_sim/record.h"
#include "firmware_sim/rehearsal.h"
#include "firmware_sim/self_test.h"
#include "firmware_sim/signing.h"
#include "firmware_sim/zeroize.h"

namespace cmkd::sim {
namespace {

// The current device, in a page that a forked child finds empty: it has to call C_Initialize itself (PKCS#11 3.2
// section 5.6.1).
struct Slot {
  std::atomic<Device*> device{nullptr};
};

Slot& CurrentSlot() {
  static Slot* const slot = [] {
    void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) throw std::bad_alloc();
    (void)::madvise(page, 4096, MADV_WIPEONFORK);
    return new (page) Slot;
  }();
  return *slot;
}

// Asked with each call: the clock that costs next to nothing.
std::int64_t Seconds() {
  timespec now{};
  (void)::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec;
}

// The noise first: some known answers need random bytes on the way.
Status RunAllTests() {
  RETURN_IF_ERROR(NoiseSource::Get().Start());
  return RunSelfTests();
}

std::mutex& PowerMutex() {
  static std::mutex* const mutex = new std::mutex;
  return *mutex;
}

}  // namespace

Device* Device::Current() { return CurrentSlot().device.load(std::memory_order_acquire); }

CK_RV Device::Start(const std::string& flash_directory) {
  const std::lock_guard lock(PowerMutex());
  if (Current() != nullptr) return CKR_CRYPTOKI_ALREADY_INITIALIZED;
  auto device = PowerOn(flash_directory);
  if (!device.ok()) return device.error().rv;
  CurrentSlot().device.store(device->release(), std::memory_order_release);
  return CKR_OK;
}

CK_RV Device::Stop() {
  const std::lock_guard lock(PowerMutex());
  const std::unique_ptr<Device> device(CurrentSlot().device.exchange(nullptr));
  return device == nullptr ? CKR_CRYPTOKI_NOT_INITIALIZED : CKR_OK;
}

Fallible<std::unique_ptr<Device>> Device::PowerOn(const std::string& flash_directory) {
  std::unique_ptr<Device> device(new Device);
  device->flash_directory_ = flash_directory;
  device->Happen(Command::kPowerOn);
  // Destruction does not wait for tests.
  const Fallible<Mark> mark = FindMark(flash_directory);
  if (!mark.ok()) {
    device->Happen(Command::kMemoryDamaged, mark.error().why);
    return device;
  }
  if (*mark != Mark::kNone) {
    device->Happen(Command::kMarkFound, *mark == Mark::kZeroizing ? "zeroized" : "the case was opened");
    if (Status done = FinishZeroize(flash_directory); !done.ok())
      device->Happen(Command::kMemoryDamaged, done.error().why);
    else
      device->Happen(*mark == Mark::kZeroizing ? Command::kZeroizeDone : Command::kTamperZeroizeDone);
    return device;
  }
  Status tested = CheckImage();
  if (tested.ok()) tested = RunAllTests();
  if (!tested.ok()) {
    KeepLastFailure(flash_directory, tested.error().why);
    return Failure{tested.error()};
  }
  device->tested_.store(Seconds());
  if (Status loaded = device->Load(flash_directory); !loaded.ok()) {
    device->Happen(Command::kMemoryDamaged, loaded.error().why);
  } else if (!ImageHolds()) {
    device->Happen(Command::kTestsFail, "the image is not what was built");
  } else {
    device->Happen(Command::kTestsPass);
  }
  return device;
}

void Device::Happen(Command event, const std::string& why) {
  bool failed = false;
  {
    const std::lock_guard lock(trouble_mutex_);
    const DeviceState next = Decide(state(), event).next;
    trouble_ = next == DeviceState::kOperational ? std::string() : why.empty() ? trouble_ : why;
    failed = next != state() && (next == DeviceState::kSoftError || next == DeviceState::kHardError);
    state_.store(next, std::memory_order_release);
  }
  if (!failed) return;
  KeepLastFailure(flash_directory_, why);
  if (audit_ != nullptr) audit_->Note({NameOf(login()), NameOf(event), CKR_DEVICE_ERROR, why});
}

std::string Device::last_failure() const { return ReadLastFailure(flash_directory_); }

std::string Device::trouble() const {
  const std::lock_guard lock(trouble_mutex_);
  return trouble_;
}

Status Device::PermitOtherwise(Command command) {
  Outcome outcome = Decide(state(), command);
  // Who wants to work again has the device test itself first.
  if (!outcome.allowed() && command == Command::kAuthenticate && Decide(state(), Command::kSelfTest).allowed()) {
    RETURN_IF_ERROR(SelfTest());
    outcome = Decide(state(), command);
  }
  if (outcome.allowed()) return {};
  return Fail(outcome.rv, std::string(NameOf(state())) + ": " + trouble());
}

void Device::WorkingTestFailed(const std::string& why) { Happen(Command::kWorkingTestFailed, why); }

bool Device::TestIsDue() const { return Seconds() - tested_.load() >= test_interval_.load(); }

Status Device::TestAgain() {
  const std::lock_guard lock(self_test_mutex_);
  return TestIsDue() ? SelfTestLocked() : Status();
}

Status Device::SelfTest() {
  const std::lock_guard lock(self_test_mutex_);
  return SelfTestLocked();
}

Status Device::SelfTestLocked() {
  if (const Outcome outcome = Decide(state(), Command::kSelfTest); !outcome.allowed())
    return Fail(outcome.rv, trouble());
  const Status passed = RunAllTests();
  if (audit_ != nullptr) audit_->Note({NameOf(login()), "self-test", passed.ok() ? CKR_OK : passed.error().rv});
  tested_.store(Seconds());
  if (passed.ok())
    Happen(Command::kTestsPass);
  else
    Happen(Command::kTestsFail, passed.error().why);
  return passed;
}

Status Device::Zeroize(bool tampered) {
  const std::lock_guard zeroize_lock(zeroize_mutex_);
  const Command command = tampered ? Command::kTamperSensed : Command::kZeroize;
  const std::string directory = flash_directory_;
  {
    const std::lock_guard lock(trouble_mutex_);
    if (state() == DeviceState::kTampered && !tampered) {
      // Its keys are gone already; what is left to forget is that it was opened.
      RETURN_IF_ERROR(ClearTampered(directory));
    } else {
      const Outcome outcome = Decide(state(), command);
      if (!outcome.allowed()) return Fail(outcome.rv, trouble_);
      if (tampered && outcome.next != DeviceState::kZeroizing) return {};
      RETURN_IF_ERROR(MarkForZeroize(directory, tampered));
    }
    trouble_ = tampered ? "the case was opened" : "zeroized";
    state_.store(DeviceState::kZeroizing, std::memory_order_release);
  }
  if (flash_ != nullptr) flash_->Forget();
  DropSessions();
  for (const CK_OBJECT_HANDLE handle : objects_.Select([](const Object&) { return true; })) objects_.Remove(handle);
  if (token_ != nullptr) token_->Forget();
  RETURN_IF_ERROR(FinishZeroize(directory));
  Happen(tampered ? Command::kTamperZeroizeDone : Command::kZeroizeDone);
  return {};
}

void Device::DropSessions() {
  for (const CK_SESSION_HANDLE handle : sessions_.Handles()) {
    const SessionPtr session = sessions_.Find(handle);
    if (session == nullptr) continue;
    const std::lock_guard lock(session->mutex());
    CloseSession(*session);
  }
}

void Device::Apply(const faults::Effects& effects) {
  if (effects.drop_sessions) DropSessions();
  if (effects.logout) (void)Logout();
  if (effects.tamper) (void)Zeroize(true);
  if (effects.power_cut) Rehearsal::CutPower();
}

Device::~Device() {
  if (audit_ != nullptr) (void)audit_->Flush();
  if (flash_ == nullptr || state() != DeviceState::kOperational) return;
  const auto left = [](const Object& object) {
    return object.is_token() && object.usage() != nullptr && object.usage()->HasLeftOver();
  };
  for (const CK_OBJECT_HANDLE handle : objects_.Select(left)) {
    const ObjectPtr object = objects_.Find(handle);
    (void)WriteSpent(*object, object->usage()->spent());
  }
}

Fallible<Maintenance::Quote> Device::Attest(ByteView nonce) {
  RETURN_IF_ERROR(Permit(Command::kUse));
  const Token::Info token = token_->info();
  RecordWriter configuration;
  configuration.Number(token.initialized);
  configuration.Number(token.user_pin_set);
  configuration.String(AsBytes(token.label));
  configuration.String(Maintenance::QuorumArgument(maintenance_->quorum()));
  ASSIGN_OR_RETURN(const Bytes digest, DigestOf(configuration.bytes()));
  return maintenance_->Attest(nonce, NameOf(state()), digest, counter_->last());
}

}  // namespace cmkd::sim

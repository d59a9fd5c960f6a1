// See device.h.
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

constexpr char kObjectPrefix[] = "object-";
// Stays when the key goes: a backup of the key does not bring its uses back.
constexpr char kUsePrefix[] = "use-";

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

Status Device::Load(const std::string& flash_directory) {
  ASSIGN_OR_RETURN(flash_, Flash::Open(flash_directory));
  token_ = std::make_unique<Token>(*flash_);
  RETURN_IF_ERROR(token_->Load());
  counter_ = std::make_unique<Counter>(*flash_);
  RETURN_IF_ERROR(counter_->Load());
  // One that is damaged is left as it is.
  auto audit = std::make_unique<AuditRing>(*flash_);
  RETURN_IF_ERROR(audit->Load());
  audit_ = std::move(audit);
  audit_->Note({NameOf(Identity::kNobody), "power on"});
  maintenance_ = std::make_unique<Maintenance>(*flash_, token_->info().serial, *audit_);
  RETURN_IF_ERROR(maintenance_->Load());
  ASSIGN_OR_RETURN(const std::vector<std::string> names, flash_->List(kObjectPrefix));
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const std::optional<SecretBytes> record, flash_->Read(name));
    if (!record) continue;
    std::string id = name.substr(std::strlen(kObjectPrefix));
    ASSIGN_OR_RETURN(const std::optional<Spent> spent, ReadSpent(id));
    ASSIGN_OR_RETURN(ObjectPtr object, Object::Decode(record->view(), std::move(id), spent.value_or(Spent())));
    if (!spent && object->usage() != nullptr && object->usage()->limits().any())
      return Fail(CKR_DEVICE_ERROR, "flash: the counters of " + name + " are missing");
    objects_.Add(std::move(object));
  }
  return {};
}

Status Device::InitToken(ByteView so_pin, ByteView label) {
  const std::lock_guard lock(login_mutex_);
  if (sessions_.open() != 0) return Fail(CKR_SESSION_EXISTS, "close all sessions first");
  return Audited("initialise token", token_->Initialize(so_pin, label, [this] { return DestroyTokenObjects(); }));
}

Status Device::DestroyTokenObjects() {
  const std::lock_guard lock(object_change_mutex_);
  for (const CK_OBJECT_HANDLE handle : objects_.Select([](const Object& object) { return object.is_token(); })) {
    RETURN_IF_ERROR(flash_->Remove(kObjectPrefix + objects_.Find(handle)->name()));
    objects_.Remove(handle);
  }
  return {};
}

Fallible<SessionPtr> Device::OpenSession(CK_FLAGS flags) {
  RETURN_IF_ERROR(TestIfDue());
  const std::lock_guard lock(login_mutex_);
  if ((flags & CKF_RW_SESSION) == 0 && login() == Identity::kSecurityOfficer) {
    return Fail(CKR_SESSION_READ_WRITE_SO_EXISTS, "the security officer is logged in");
  }
  if (sessions_.open() >= kSessionsMax) return Fail(CKR_SESSION_COUNT, "the device has no room for more sessions");
  return sessions_.Open(flags, login_epoch());
}

void Device::CloseSession(Session& session) {
  const std::lock_guard lock(login_mutex_);
  if (!sessions_.Close(session.handle())) return;
  session.closed = true;
  session.CancelAll();
  if (session.owns_objects) {
    const auto own = [&](const Object& object) { return object.owner() == session.handle(); };
    for (const CK_OBJECT_HANDLE handle : objects_.Select(own)) objects_.Remove(handle);
  }
  if (sessions_.open() == 0 && login() != Identity::kNobody) {
    audit_->Note({NameOf(login()), "logout"});
    login_.store(Identity::kNobody, std::memory_order_release);
    login_epoch_.fetch_add(1);
  }
}

Status Device::Login(Role role, ByteView pin) {
  const std::lock_guard lock(login_mutex_);
  const Identity wanted = role == Role::kUser      ? Identity::kUser
                          : role == Role::kAuditor ? Identity::kAuditor
                                                   : Identity::kSecurityOfficer;
  if (login() == wanted) return Fail(CKR_USER_ALREADY_LOGGED_IN, "logged in already");
  if (login() != Identity::kNobody) return Fail(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "the other role is logged in");
  if (role == Role::kSecurityOfficer && sessions_.read_write() != sessions_.open()) {
    return Fail(CKR_SESSION_READ_ONLY_EXISTS, "a read-only session is open");
  }
  RETURN_IF_ERROR(Audited("login", token_->CheckPin(role, pin), NameOf(wanted)));
  login_.store(wanted, std::memory_order_release);
  return {};
}

// PKCS#11 3.2, C_Logout: private session objects are destroyed, and handles of private token objects are not valid any
// more, also after the next login.
Status Device::Logout() {
  const std::lock_guard lock(login_mutex_);
  if (login() == Identity::kNobody) return Fail(CKR_USER_NOT_LOGGED_IN, "nobody is logged in");
  audit_->Note({NameOf(login()), "logout"});
  login_.store(Identity::kNobody, std::memory_order_release);
  login_epoch_.fetch_add(1);
  const std::lock_guard change_lock(object_change_mutex_);
  for (const CK_OBJECT_HANDLE handle : objects_.Select([](const Object& object) { return object.is_private(); })) {
    const ObjectPtr object = objects_.Remove(handle);
    if (object != nullptr && object->is_token()) objects_.Add(object);
  }
  return {};
}

ObjectPtr Device::FindObject(CK_OBJECT_HANDLE handle) const {
  ObjectPtr object = objects_.Find(handle);
  if (object != nullptr && object->is_private() && !May(Service::kPrivateWork)) return nullptr;
  return object;
}

Fallible<CK_OBJECT_HANDLE> Device::AddObject(ObjectPtr object) {
  if (!object->is_token()) return objects_.Add(std::move(object));
  const std::lock_guard lock(object_change_mutex_);
  RETURN_IF_ERROR(BeginUsage(*object));
  RETURN_IF_ERROR(flash_->Write(kObjectPrefix + object->name(), object->Encode().view()));
  if (object->key() != nullptr) {
    if (Status recorded = Audit("make key", CKR_OK, object->name()); !recorded.ok()) {
      (void)flash_->Remove(kObjectPrefix + object->name());
      return Failure{recorded.error()};
    }
  }
  return objects_.Add(std::move(object));
}

Status Device::ReplaceObject(CK_OBJECT_HANDLE handle, const ObjectPtr& expected, ObjectPtr changed) {
  const std::lock_guard lock(object_change_mutex_);
  if (objects_.Find(handle) != expected)
    return Fail(CKR_OBJECT_HANDLE_INVALID, "the object has gone or changed meanwhile");
  if (changed->is_token()) RETURN_IF_ERROR(flash_->Write(kObjectPrefix + changed->name(), changed->Encode().view()));
  if (!objects_.Replace(handle, expected, std::move(changed)))
    return Fail(CKR_OBJECT_HANDLE_INVALID, "the object has gone");
  return {};
}

Status Device::DestroyObject(CK_OBJECT_HANDLE handle) {
  const ObjectPtr object = objects_.Find(handle);
  if (object == nullptr) return Fail(CKR_OBJECT_HANDLE_INVALID, "no such object");
  if (object->is_token()) {
    const std::lock_guard lock(object_change_mutex_);
    RETURN_IF_ERROR(flash_->Remove(kObjectPrefix + object->name()));
    objects_.Remove(handle);
    return object->key() == nullptr ? Status() : Audit("destroy key", CKR_OK, object->name());
  }
  if (objects_.Remove(handle) == nullptr) return Fail(CKR_OBJECT_HANDLE_INVALID, "no such object");
  return {};
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

Status Device::WriteSpent(const Object& object, const Spent& spent) {
  return flash_->Write(kUsePrefix + object.name(), spent.Encode());
}

Fallible<std::optional<Spent>> Device::ReadSpent(const std::string& name) const {
  ASSIGN_OR_RETURN(const std::optional<SecretBytes> record, flash_->Read(kUsePrefix + name));
  if (!record) return std::optional<Spent>();
  ASSIGN_OR_RETURN(const Spent spent, Spent::Decode(record->view()));
  return std::optional<Spent>(spent);
}

Status Device::BeginUsage(const Object& object) {
  if (object.usage() == nullptr || !object.usage()->limits().any()) return {};
  return WriteSpent(object, object.usage()->reserved());
}

Status Device::Charge(const Object& object, const Amount& amount) {
  if (object.usage() == nullptr) return {};
  const std::uint64_t before = object.usage()->gcm_put_aside();
  const auto persist = [&](const Spent& more) -> Status {
    if (!object.is_token()) return {};
    RETURN_IF_ERROR(WriteSpent(object, more));
    if (before >= kGcmWarning || more.gcm < kGcmWarning) return {};
    return Audit("key is half spent: rotate it", CKR_OK, object.name());
  };
  Status charged = object.usage()->Charge(amount, DeviceTime, persist);
  if (!charged.ok() && charged.error().rv == CKR_KEY_EXHAUSTED)
    audit_->Note({NameOf(login()), "use key", CKR_KEY_EXHAUSTED, object.name()});
  return charged;
}

Status Device::Authorize(Service service) const {
  if (May(service)) return {};
  return Fail(CKR_USER_NOT_LOGGED_IN, std::string(NameOf(service)) + " is not for " + std::string(NameOf(login())));
}

Status Device::Audit(std::string_view what, CK_RV rv, std::string_view detail) {
  return audit_->Record({NameOf(login()), what, rv, detail});
}

Status Device::Audited(std::string_view what, Status answer, std::string_view detail) {
  const Status recorded = Audit(what, answer.ok() ? CKR_OK : answer.error().rv, detail);
  return answer.ok() ? recorded : answer;
}

Status Device::Confirm(ByteView pin) { return Audited("confirm", token_->CheckPin(Role::kUser, pin)); }

Status Device::SetUserPin(ByteView pin) {
  RETURN_IF_ERROR(Authorize(Service::kSetUserPin));
  return Audited("set user PIN", token_->SetPin(Role::kUser, pin));
}

Status Device::SetAuditorPin(ByteView pin) {
  RETURN_IF_ERROR(Authorize(Service::kSetAuditorPin));
  return Audited("set auditor PIN", token_->SetPin(Role::kAuditor, pin));
}

// PKCS#11 3.2, C_SetPIN: the PIN of who is logged in; the user's when nobody is.
Status Device::ChangeOwnPin(ByteView old_pin, ByteView new_pin) {
  const Role role = login() == Identity::kSecurityOfficer ? Role::kSecurityOfficer
                    : login() == Identity::kAuditor       ? Role::kAuditor
                                                          : Role::kUser;
  if (new_pin.size() < kPinBytesMin || new_pin.size() > kPinBytesMax) return Fail(CKR_PIN_LEN_RANGE, "PIN length");
  Status changed = token_->CheckPin(role, old_pin);
  if (changed.ok()) changed = token_->SetPin(role, new_pin);
  return Audited("change PIN", std::move(changed));
}

Fallible<Maintenance::Quote> Device::ReadAudit() {
  RETURN_IF_ERROR(Permit(Command::kUse));
  RETURN_IF_ERROR(Authorize(Service::kReadAudit));
  RETURN_IF_ERROR(Audit("read audit"));
  return maintenance_->Sign("serial " + token_->info().serial + '\n' + audit_->Text());
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

Fallible<Bytes> Device::Backup(const Approved& approved, std::uint64_t now) {
  RETURN_IF_ERROR(Permit(Command::kUse));
  const std::lock_guard lock(object_change_mutex_);
  std::vector<ObjectRecord> records;
  for (const CK_OBJECT_HANDLE handle : objects_.Select([](const Object& object) { return object.is_token(); })) {
    const ObjectPtr object = objects_.Find(handle);
    if (object == nullptr) continue;
    const Spent spent = object->usage() == nullptr ? Spent() : object->usage()->reserved();
    records.push_back({object->name(), object->Encode(), spent.Encode()});
  }
  return maintenance_->Backup(records, approved, now);
}

Fallible<std::size_t> Device::Restore(ByteView backup, const Approved& approved, std::uint64_t now) {
  RETURN_IF_ERROR(Permit(Command::kUse));
  ASSIGN_OR_RETURN(const Maintenance::Backed backed, maintenance_->OpenBackup(backup, approved, now));
  std::vector<ObjectPtr> objects;
  for (const ObjectRecord& record : backed.objects) {
    // Whatever the key was used for after the backup, here or on its clone, has been counted.
    ASSIGN_OR_RETURN(Spent spent, Spent::Decode(record.spent));
    if (spent.gcm != 0) spent = After(spent, {.gcm = kGcmBlock}, 0);
    ASSIGN_OR_RETURN(const std::optional<Spent> known, ReadSpent(record.name));
    if (known) spent = Latest(spent, *known);
    ASSIGN_OR_RETURN(ObjectPtr object, Object::Decode(record.record.view(), record.name, spent, backed.serial));
    objects.push_back(std::move(object));
  }
  const std::lock_guard lock(object_change_mutex_);
  std::size_t added = 0;
  for (ObjectPtr& object : objects) {
    const auto same = [&](const Object& other) { return other.is_token() && other.name() == object->name(); };
    if (!objects_.Select(same).empty()) continue;
    if (const Object::UsagePtr& usage = object->usage();
        usage != nullptr && (usage->limits().any() || usage->spent().gcm != 0))
      RETURN_IF_ERROR(WriteSpent(*object, usage->reserved()));
    RETURN_IF_ERROR(flash_->Write(kObjectPrefix + object->name(), object->Encode().view()));
    objects_.Add(std::move(object));
    ++added;
  }
  return added;
}

Fallible<std::string> Device::NewObjectName(bool token) {
  if (!token) return "session-" + std::to_string(next_session_object_.fetch_add(1));
  std::array<std::uint8_t, 12> name{};
  RETURN_IF_ERROR(RandomBytes(name));
  return Hex(name);
}

}  // namespace cmkd::sim

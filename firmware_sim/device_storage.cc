// What the device keeps: objects, and how much of each key is spent, in its flash; and all of it in a backup.
#include "firmware_sim/device.h"
#include "firmware_sim/device_clock.h"
#include "firmware_sim/primitives.h"

namespace cmkd::sim {
namespace {

constexpr char kObjectPrefix[] = "object-";
// Stays when the key goes: a backup of the key does not bring its uses back.
constexpr char kUsePrefix[] = "use-";

}  // namespace

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

Status Device::DestroyTokenObjects() {
  const std::lock_guard lock(object_change_mutex_);
  for (const CK_OBJECT_HANDLE handle : objects_.Select([](const Object& object) { return object.is_token(); })) {
    RETURN_IF_ERROR(flash_->Remove(kObjectPrefix + objects_.Find(handle)->name()));
    objects_.Remove(handle);
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

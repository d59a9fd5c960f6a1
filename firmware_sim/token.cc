// See token.h.
#include "firmware_sim/token.h"

#include <algorithm>

#include "firmware_sim/primitives.h"
#include "firmware_sim/record.h"

namespace cmkd::sim {
namespace {

constexpr char kTokenFile[] = "token";
constexpr std::uint64_t kRecordVersion = 2;  // 1 had no auditor

template <std::size_t n>
bool ReadArray(RecordReader& reader, std::array<std::uint8_t, n>& out) {
  const ByteView bytes = reader.String();
  if (bytes.size() != n) return false;
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return true;
}

std::size_t Index(Role role) { return static_cast<std::size_t>(role); }

}  // namespace

Status Token::Load() {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const std::optional<SecretBytes> stored, flash_.Read(kTokenFile));
  if (!stored) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, flash_.List(""));
    if (!names.empty()) return Fail(CKR_DEVICE_ERROR, "flash: the token record is missing");
    std::array<std::uint8_t, 8> serial{};
    RETURN_IF_ERROR(RandomBytes(serial));
    Record fresh;
    fresh.serial = Hex(serial);
    return Commit(fresh);
  }
  RecordReader reader(stored->view());
  Record record;
  const std::uint64_t version = reader.Number();
  bool good = version == kRecordVersion || version == 1;
  record.initialized = reader.Number() != 0;
  record.label = AsText(reader.String());
  record.serial = AsText(reader.String());
  for (Pin& pin : record.pins) {
    if (version == 1 && &pin == &record.pins[Index(Role::kAuditor)]) continue;
    pin.set = reader.Number() != 0;
    pin.tries = reader.Number();
    good = good && pin.tries <= kPinTries && ReadArray(reader, pin.salt) && ReadArray(reader, pin.hash);
  }
  good = good && reader.AtEnd() && record.label.size() == 32 && record.serial.size() == 16;
  if (!good) return Fail(CKR_DEVICE_ERROR, "flash: the token record is malformed");
  record_ = std::move(record);
  return {};
}

Token::Info Token::info() const {
  const std::lock_guard lock(mutex_);
  const Pin& so = record_.pins[Index(Role::kSecurityOfficer)];
  const Pin& user = record_.pins[Index(Role::kUser)];
  const Pin& auditor = record_.pins[Index(Role::kAuditor)];
  return {record_.initialized, user.set, so.tries, user.tries, auditor.tries, record_.label, record_.serial};
}

void Token::Forget() {
  const std::lock_guard lock(mutex_);
  for (Pin& pin : record_.pins) Wipe(pin.hash);
  record_ = Record();
}

Status Token::Commit(const Record& record) {
  RecordWriter writer;
  writer.Number(kRecordVersion);
  writer.Number(record.initialized);
  writer.String(AsBytes(record.label));
  writer.String(AsBytes(record.serial));
  for (const Pin& pin : record.pins) {
    writer.Number(pin.set);
    writer.Number(pin.tries);
    writer.String(pin.salt);
    writer.String(pin.hash);
  }
  RETURN_IF_ERROR(flash_.Write(kTokenFile, writer.bytes()));
  record_ = record;
  return {};
}

Status Token::CheckLength(ByteView pin) {
  if (pin.size() < kPinBytesMin || pin.size() > kPinBytesMax) return Fail(CKR_PIN_LEN_RANGE, "PIN length");
  return {};
}

Fallible<Token::Pin> Token::MakePin(ByteView text) {
  Pin pin;
  pin.set = true;
  RETURN_IF_ERROR(RandomBytes(pin.salt));
  RETURN_IF_ERROR(HashPin(text, pin.salt, pin.hash));
  return pin;
}

Status Token::CheckPin(Role role, ByteView pin) {
  const std::lock_guard lock(mutex_);
  return CheckPinLocked(role, pin);
}

Status Token::CheckPinLocked(Role role, ByteView text) {
  const Pin& pin = record_.pins[Index(role)];
  if (!pin.set) return Fail(CKR_USER_PIN_NOT_INITIALIZED, "this role has no PIN");
  if (pin.tries == 0) return Fail(CKR_PIN_LOCKED, "no tries left");
  // The try is spent before it is judged: pulling the plug after a wrong answer gives no second one.
  Record spent = record_;
  --spent.pins[Index(role)].tries;
  RETURN_IF_ERROR(Commit(spent));
  std::array<std::uint8_t, 32> hash{};
  RETURN_IF_ERROR(HashPin(text, pin.salt, hash));
  const bool equal = ConstantTimeEqual(hash, pin.hash);
  Wipe(hash);
  if (!equal) return Fail(CKR_PIN_INCORRECT, "wrong PIN");
  Record cleared = record_;
  cleared.pins[Index(role)].tries = kPinTries;
  return Commit(cleared);
}

Status Token::SetPin(Role role, ByteView text) {
  RETURN_IF_ERROR(CheckLength(text));
  const std::lock_guard lock(mutex_);
  Record changed = record_;
  ASSIGN_OR_RETURN(changed.pins[Index(role)], MakePin(text));
  return Commit(changed);
}

Status Token::InitializeLocked(ByteView so_pin, ByteView label) {
  Record changed;
  changed.initialized = true;
  changed.label = AsText(label);
  changed.serial = record_.serial;
  changed.pins[Index(Role::kAuditor)] = record_.pins[Index(Role::kAuditor)];
  ASSIGN_OR_RETURN(changed.pins[Index(Role::kSecurityOfficer)], MakePin(so_pin));
  return Commit(changed);
}

}  // namespace cmkd::sim

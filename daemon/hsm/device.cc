// Finding a token, making one, and reading objects.
#include "daemon/hsm/device.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "pkcs11/spec/attribute_table.h"
#include "pkcs11/spec/return_values.h"

namespace cmkd::daemon {

namespace {

// Information fields are padded with blanks; some modules end them with a zero byte instead.
template <std::size_t n>
std::string_view Trim(const CK_UTF8CHAR (&field)[n]) {
  std::string_view text(reinterpret_cast<const char*>(field), n);
  if (const std::size_t end = text.find('\0'); end != std::string_view::npos) text = text.substr(0, end);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

bool Fits(const CK_TOKEN_INFO& info, const TokenChoice& choice) {
  if (!choice.serial.empty() && Trim(info.serialNumber) != choice.serial) return false;
  return choice.label.empty() || Trim(info.label) == choice.label;
}

CK_BYTE_PTR Pointer(ByteView bytes) { return const_cast<CK_BYTE_PTR>(bytes.data()); }

}  // namespace

Failure<Error> DeviceRefused(std::string_view call, CK_RV rv) {
  return Fail(rv, std::string(call) + ": " + spec::ReturnValueName(rv));
}

Status Device::Initialize() const {
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  const CK_RV rv = f_->C_Initialize(&arguments);
  if (rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) return {};
  return DeviceRefused("C_Initialize", rv);
}

Fallible<FoundToken> Device::FindToken(const TokenChoice& choice) const {
  std::vector<CK_SLOT_ID> slots;
  for (CK_RV rv = CKR_BUFFER_TOO_SMALL; rv == CKR_BUFFER_TOO_SMALL;) {
    CK_ULONG count = 0;
    if (rv = f_->C_GetSlotList(CK_TRUE, nullptr, &count); rv != CKR_OK) return DeviceRefused("C_GetSlotList", rv);
    slots.resize(count + 1);
    count = slots.size();
    rv = f_->C_GetSlotList(CK_TRUE, slots.data(), &count);
    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) return DeviceRefused("C_GetSlotList", rv);
    if (rv == CKR_OK) slots.resize(std::min<std::size_t>(count, slots.size()));
  }
  std::vector<FoundToken> found;
  for (const CK_SLOT_ID slot : slots) {
    FoundToken token{slot, {}};
    if (f_->C_GetTokenInfo(slot, &token.info) != CKR_OK || (token.info.flags & CKF_TOKEN_INITIALIZED) == 0) continue;
    if (Fits(token.info, choice)) found.push_back(token);
  }
  const std::string wanted =
      choice.serial.empty() ? "label \"" + choice.label + "\"" : "serial number " + choice.serial;
  if (found.empty()) return Fail(CKR_TOKEN_NOT_PRESENT, "no token with " + wanted);
  if (found.size() > 1) return Fail(CKR_TOKEN_NOT_RECOGNIZED, "several tokens with " + wanted);
  return found.front();
}

Status Device::InitializeToken(const std::string& label, ByteView so_pin, ByteView user_pin) const {
  CK_SLOT_ID slot = 0;
  if (const Fallible<FoundToken> half_made = FindToken({label, ""}); half_made.ok()) {
    if ((half_made->info.flags & CKF_USER_PIN_INITIALIZED) != 0) return {};
    slot = half_made->slot;
  } else {
    CK_SLOT_ID slots[16];
    CK_ULONG count = std::size(slots);
    if (const CK_RV rv = f_->C_GetSlotList(CK_TRUE, slots, &count); rv != CKR_OK)
      return DeviceRefused("C_GetSlotList", rv);
    CK_ULONG i = 0;
    for (; i < count; ++i) {
      CK_TOKEN_INFO info{};
      if (f_->C_GetTokenInfo(slots[i], &info) == CKR_OK && (info.flags & CKF_TOKEN_INITIALIZED) == 0) break;
    }
    if (i == count) return Fail(CKR_TOKEN_NOT_PRESENT, "the device has no slot with an uninitialised token");
    slot = slots[i];
    CK_UTF8CHAR padded[32];
    std::memset(padded, ' ', sizeof padded);
    std::memcpy(padded, label.data(), std::min(label.size(), sizeof padded));
    const CK_RV rv = f_->C_InitToken(slot, Pointer(so_pin), so_pin.size(), padded);
    if (rv != CKR_OK) return DeviceRefused("C_InitToken", rv);
    // Some devices move the token to a slot of its own.
    ASSIGN_OR_RETURN(const FoundToken made, FindToken({label, ""}));
    slot = made.slot;
  }
  ASSIGN_OR_RETURN(const CK_SESSION_HANDLE session, OpenSession(slot));
  Status status = Login(session, CKU_SO, so_pin);
  if (status.ok()) {
    const CK_RV rv = f_->C_InitPIN(session, Pointer(user_pin), user_pin.size());
    if (rv != CKR_OK) status = DeviceRefused("C_InitPIN", rv);
    (void)f_->C_Logout(session);
  }
  CloseSession(session);
  return status;
}

Fallible<CK_SESSION_HANDLE> Device::OpenSession(CK_SLOT_ID slot) const {
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  const CK_RV rv = f_->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session);
  if (rv != CKR_OK) return DeviceRefused("C_OpenSession", rv);
  return session;
}

Status Device::Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, ByteView pin) const {
  CK_RV rv = f_->C_Login(session, user, Pointer(pin), pin.size());
  if (rv == CKR_USER_ANOTHER_ALREADY_LOGGED_IN) {
    (void)f_->C_Logout(session);
    rv = f_->C_Login(session, user, Pointer(pin), pin.size());
  }
  if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN) return {};
  return DeviceRefused("C_Login", rv);
}

Status Device::BeginSearch(CK_SESSION_HANDLE session, CK_ATTRIBUTE* wanted, CK_ULONG count) const {
  CK_RV rv = f_->C_FindObjectsInit(session, wanted, count);
  // One that was begun and not ended, since the device failed in the middle of it, is in nobody's way.
  if (rv == CKR_OPERATION_ACTIVE) {
    (void)f_->C_FindObjectsFinal(session);
    rv = f_->C_FindObjectsInit(session, wanted, count);
  }
  if (rv == CKR_OK) return {};
  return DeviceRefused("C_FindObjectsInit", rv);
}

Fallible<std::vector<CK_OBJECT_HANDLE>> Device::FindById(CK_SESSION_HANDLE session, CK_OBJECT_CLASS object_class,
                                                         ByteView id) const {
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE wanted[] = {
      {CKA_CLASS, &object_class, sizeof object_class}, {CKA_TOKEN, &yes, sizeof yes}, {CKA_ID, Pointer(id), id.size()}};
  RETURN_IF_ERROR(BeginSearch(session, wanted, std::size(wanted)));
  std::vector<CK_OBJECT_HANDLE> found(8);
  CK_ULONG count = 0;
  const CK_RV rv = f_->C_FindObjects(session, found.data(), found.size(), &count);
  (void)f_->C_FindObjectsFinal(session);
  if (rv != CKR_OK) return DeviceRefused("C_FindObjects", rv);
  found.resize(std::min<std::size_t>(count, found.size()));
  return found;
}

Fallible<CK_OBJECT_HANDLE> Device::FindOne(CK_SESSION_HANDLE session, CK_OBJECT_CLASS object_class, ByteView id) const {
  ASSIGN_OR_RETURN(const std::vector<CK_OBJECT_HANDLE> found, FindById(session, object_class, id));
  if (found.empty()) return Fail(CKR_OBJECT_HANDLE_INVALID, "the device has no object with CKA_ID " + Hex(id));
  // A random id that stands on two objects was put there by somebody; neither is to be trusted.
  if (found.size() > 1) return Fail(CKR_OBJECT_HANDLE_INVALID, "the device has several objects with CKA_ID " + Hex(id));
  return found.front();
}

Status Device::DestroyById(CK_SESSION_HANDLE session, CK_OBJECT_CLASS object_class, ByteView id) const {
  ASSIGN_OR_RETURN(const std::vector<CK_OBJECT_HANDLE> found, FindById(session, object_class, id));
  for (const CK_OBJECT_HANDLE object : found) {
    const CK_RV rv = f_->C_DestroyObject(session, object);
    if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID) return DeviceRefused("C_DestroyObject", rv);
  }
  if (found.empty()) return {};
  ASSIGN_OR_RETURN(const std::vector<CK_OBJECT_HANDLE> left, FindById(session, object_class, id));
  if (!left.empty()) return Fail(CKR_DEVICE_ERROR, "the device still has an object that it said it destroyed");
  return {};
}

Fallible<spec::Attributes> Device::ReadAttributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                                                  std::span<const CK_ATTRIBUTE_TYPE> types) const {
  // One call: room for the longest real value of each, RSA-16384 with its SubjectPublicKeyInfo.
  constexpr std::size_t kRoom = 4096;
  if (types.empty()) return spec::Attributes{};
  const auto memory = std::make_unique_for_overwrite<std::uint8_t[]>(kRoom * types.size());
  std::vector<CK_ATTRIBUTE> wanted;
  for (const CK_ATTRIBUTE_TYPE type : types) wanted.push_back({type, memory.get() + kRoom * wanted.size(), kRoom});
  const CK_RV rv = f_->C_GetAttributeValue(session, object, wanted.data(), wanted.size());
  if (rv == CKR_BUFFER_TOO_SMALL || rv == CKR_ATTRIBUTE_TYPE_INVALID) {
    // NSS gives a number only where there is room for just that, and has no code for it.
    for (CK_ATTRIBUTE& attribute : wanted) {
      const spec::AttributeRow* row = spec::FindAttribute(attribute.type);
      if (attribute.ulValueLen != CK_UNAVAILABLE_INFORMATION || row == nullptr ||
          row->kind != spec::AttributeKind::kUlong)
        continue;
      CK_ATTRIBUTE number{attribute.type, attribute.pValue, sizeof(CK_ULONG)};
      if (f_->C_GetAttributeValue(session, object, &number, 1) == CKR_OK) attribute.ulValueLen = number.ulValueLen;
    }
  }
  spec::Attributes read;
  const bool answered =
      rv == CKR_OK || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_BUFFER_TOO_SMALL;
  if (answered) {
    for (const CK_ATTRIBUTE& attribute : wanted) {
      // A device that refused need not have touched them all: what is as long as its room was not filled.
      const bool untouched = rv != CKR_OK && attribute.ulValueLen == kRoom;
      if (attribute.ulValueLen <= kRoom && !untouched) read.Set(attribute.type, spec::ValueOf(attribute));
    }
  }
  // Only what was written: to wipe all the room would take as long as the call.
  for (const CK_ATTRIBUTE& attribute : wanted) {
    const bool told = rv == CKR_OK && attribute.ulValueLen <= kRoom;
    Wipe({static_cast<std::uint8_t*>(attribute.pValue), told ? attribute.ulValueLen : kRoom});
  }
  if (!answered) return DeviceRefused("C_GetAttributeValue", rv);
  return read;
}

Fallible<Bytes> Device::WrapKey(CK_SESSION_HANDLE session, const CK_MECHANISM& mechanism, CK_OBJECT_HANDLE wrapping,
                                CK_OBJECT_HANDLE key) const {
  CK_MECHANISM copy = mechanism;
  std::uint8_t room[2048];
  CK_ULONG length = sizeof room;
  CK_RV rv = f_->C_WrapKey(session, &copy, wrapping, key, room, &length);
  if (rv == CKR_OK && length <= sizeof room) return ToBytes({room, length});
  if (rv == CKR_BUFFER_TOO_SMALL) {
    if (length <= sizeof room) rv = f_->C_WrapKey(session, &copy, wrapping, key, nullptr, &length);
    if (rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) return DeviceRefused("C_WrapKey", rv);
    Bytes wrapped(std::min<std::size_t>(length, std::size_t{1} << 20));
    length = wrapped.size();
    rv = f_->C_WrapKey(session, &copy, wrapping, key, wrapped.data(), &length);
    if (rv == CKR_OK && length <= wrapped.size()) {
      wrapped.resize(length);
      return wrapped;
    }
  }
  if (rv != CKR_OK) return DeviceRefused("C_WrapKey", rv);
  return Fail(CKR_DEVICE_ERROR, "C_WrapKey gave more than its buffer holds");
}

}  // namespace cmkd::daemon

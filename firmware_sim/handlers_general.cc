// General purpose, slot, token and random number functions (PKCS#11 3.2 sections 5.4, 5.5 and 5.20).
#include <algorithm>

#include "firmware_sim/handlers.h"
#include "pkcs11/spec/product.h"

namespace cmkd::sim {
namespace {

constexpr CK_SLOT_ID kSlot = 0;

Status CheckSlot(CK_SLOT_ID slot) {
  if (slot != kSlot) return Fail(CKR_SLOT_ID_INVALID, "the device has slot 0 only");
  return {};
}

Status ToStatus(CK_RV rv, const char* why) {
  if (rv != CKR_OK) return Fail(rv, why);
  return {};
}

// The tries that are left, as the standard shows them: some used, one left, none left.
CK_FLAGS TryFlags(std::uint64_t tries, CK_FLAGS some, CK_FLAGS last, CK_FLAGS locked) {
  CK_FLAGS flags = 0;
  if (tries < kPinTries) flags |= some;
  if (tries == 1) flags |= last;
  if (tries == 0) flags |= locked;
  return flags;
}

CK_FLAGS TokenFlags(const Token::Info& info) {
  CK_FLAGS flags = CKF_RNG | CKF_LOGIN_REQUIRED;
  if (info.initialized) flags |= CKF_TOKEN_INITIALIZED;
  if (info.user_pin_set) flags |= CKF_USER_PIN_INITIALIZED;
  flags |= TryFlags(info.so_tries, CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED);
  return flags | TryFlags(info.user_tries, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED);
}

CK_ULONG ShownSize(const spec::MechanismRow& row, std::uint32_t bits) {
  if (row.shown_in == spec::SizeUnit::kNone) return 0;
  return row.shown_in == spec::SizeUnit::kBytes ? bits / 8 : bits;
}

}  // namespace

Status Handle(Context&, spec::Call<CallId::C_GetInfo>& call) {
  spec::FillInfo(*call.info.value);
  spec::PadText(call.info.value->libraryDescription, "simulated HSM, not validated");
  return {};
}

Status Handle(Context&, spec::Call<CallId::C_GetSlotList>& call) {
  return ToStatus(call.slots.Put({&kSlot, 1}), "one slot");
}

Status Handle(Context&, spec::Call<CallId::C_GetSlotInfo>& call) {
  RETURN_IF_ERROR(CheckSlot(call.slot.value));
  CK_SLOT_INFO& info = *call.info.value;
  info = {};
  spec::PadText(info.slotDescription, "cmkd simulated HSM, not validated");
  spec::PadText(info.manufacturerID, spec::kManufacturer);
  info.flags = CKF_TOKEN_PRESENT;
  info.firmwareVersion = info.hardwareVersion = spec::kLibraryVersion;
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_GetTokenInfo>& call) {
  RETURN_IF_ERROR(CheckSlot(call.slot.value));
  CK_TOKEN_INFO& info = *call.info.value;
  info = {};
  spec::PadText(info.label, "");
  spec::PadText(info.serialNumber, "");
  spec::PadText(info.manufacturerID, "cmkd (simulation, not validated)");
  spec::PadText(info.model, "firmware-sim");
  spec::PadText(info.utcTime, "");
  info.firmwareVersion = info.hardwareVersion = spec::kLibraryVersion;
  info.ulMaxSessionCount = info.ulMaxRwSessionCount = kSessionsMax;
  info.ulTotalPublicMemory = info.ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
  info.ulTotalPrivateMemory = info.ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
  info.ulMaxPinLen = kPinBytesMax;
  info.ulMinPinLen = kPinBytesMin;
  info.ulSessionCount = context.device.sessions().open();
  info.ulRwSessionCount = context.device.sessions().read_write();
  if (context.device.state() != DeviceState::kOperational) {
    info.flags = CKF_ERROR_STATE;
    return {};
  }
  const Token::Info token = context.device.token().info();
  const std::uint64_t firmware = context.device.maintenance().firmware().version;
  if (firmware != 0) info.firmwareVersion = {static_cast<CK_BYTE>(firmware >> 8), static_cast<CK_BYTE>(firmware)};
  spec::PadText(info.label, token.label);
  spec::PadText(info.serialNumber, token.serial);
  info.flags = TokenFlags(token);
  return {};
}

Status Handle(Context&, spec::Call<CallId::C_GetMechanismList>& call) {
  RETURN_IF_ERROR(CheckSlot(call.slot.value));
  std::vector<CK_ULONG> types;
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    if (!spec::IsMadeHere(row)) types.push_back(row.type);
  }
  return ToStatus(call.mechanisms.Put(types), "mechanism list");
}

Status Handle(Context&, spec::Call<CallId::C_GetMechanismInfo>& call) {
  RETURN_IF_ERROR(CheckSlot(call.slot.value));
  const spec::MechanismRow* row = spec::FindMechanism(call.type.value);
  if (row == nullptr || spec::IsMadeHere(*row)) return Fail(CKR_MECHANISM_INVALID, "not a mechanism of this device");
  *call.info.value = {ShownSize(*row, row->key_bits_min), ShownSize(*row, row->key_bits_max), row->operations};
  return {};
}

Status Handle(Context& context, spec::Call<CallId::C_InitToken>& call) {
  RETURN_IF_ERROR(CheckSlot(call.slot.value));
  return context.device.InitToken(call.so_pin.view(), call.label.view());
}

Status Handle(Context&, spec::Call<CallId::C_SeedRandom>& call) {
  SeedRandom(call.input.view());
  return {};
}

Status Handle(Context&, spec::Call<CallId::C_GenerateRandom>& call) { return RandomBytesForCaller(call.output.view()); }

}  // namespace cmkd::sim

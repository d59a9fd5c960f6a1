// General purpose, slot and token management (PKCS#11 sections 5.4 and 5.5).
#include <algorithm>

#include "daemon/service/access.h"
#include "daemon/service/handlers.h"
#include "daemon/service/key_use.h"
#include "daemon/service/pins.h"
#include "pkcs11/spec/mechanism_table.h"
#include "pkcs11/spec/product.h"

namespace cmkd::daemon {

using spec::CallId;

namespace {

// What a slot shows when it has no token yet.
bool IsFreeSlot(const Invocation& invocation, CK_SLOT_ID slot) {
  if (!invocation.daemon.config.tokens.create_by_init_token) return false;
  const auto free = invocation.daemon.records.FreeSlot();
  return free.ok() && *free == slot;
}

Status CheckSlot(const Invocation& invocation, CK_SLOT_ID slot) {
  if (IsFreeSlot(invocation, slot)) return {};
  const auto token = invocation.daemon.records.GetTokenBySlot(slot);
  if (!token.ok()) return Failure{token.error()};
  return {};
}

CK_FLAGS PinFlags(const store::PinRecord& pin, std::uint32_t limit, CK_FLAGS low, CK_FLAGS final_try, CK_FLAGS locked) {
  if (pin.failures >= limit) return locked;
  if (pin.failures + 1 == limit) return low | final_try;
  return pin.failures > 0 ? low : 0;
}

void FillTokenInfo(const Invocation& invocation, const store::TokenRecord* token, CK_TOKEN_INFO& info) {
  info = {};
  const Config& config = invocation.daemon.config;
  spec::PadText(info.manufacturerID, spec::kManufacturer);
  spec::PadText(info.model, spec::kModel);
  spec::PadText(info.label, token == nullptr ? "" : token->label);
  spec::PadText(info.serialNumber, token == nullptr ? "" : token->serial);
  info.flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_RESTORE_KEY_NOT_NEEDED | CKF_DUAL_CRYPTO_OPERATIONS;
  info.ulMaxSessionCount = config.limits.sessions_per_application;
  info.ulMaxRwSessionCount = config.limits.sessions_per_application;
  info.ulMaxPinLen = kPinBytesMax;
  info.ulMinPinLen = config.tokens.pin_bytes_min;
  info.ulTotalPublicMemory = info.ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
  info.ulTotalPrivateMemory = info.ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
  info.hardwareVersion = info.firmwareVersion = spec::kLibraryVersion;
  spec::PadText(info.utcTime, "");
  if (token == nullptr) return;
  if (IsInitialised(*token)) info.flags |= CKF_TOKEN_INITIALIZED;
  if (!token->user_pin.verifier.empty()) info.flags |= CKF_USER_PIN_INITIALIZED;
  const std::uint32_t limit = config.limits.login_retry_limit;
  info.flags |= PinFlags(token->user_pin, limit, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED);
  info.flags |= PinFlags(token->so_pin, limit, CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED);
  const Application::Count count = invocation.application->CountSessions(token->id);
  info.ulSessionCount = count.all;
  info.ulRwSessionCount = count.read_write;
}

}  // namespace

Status Handle(Invocation&, spec::Call<CallId::C_GetInfo>& call) {
  spec::FillInfo(*call.info.value);
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_GetSlotList>& call) {
  ASSIGN_OR_RETURN(const auto tokens, invocation.daemon.records.ListTokens());
  std::vector<CK_SLOT_ID> slots;
  for (const auto& token : tokens) slots.push_back(token->slot);
  // The free slot holds a token that is not initialised, so it counts as one with a token present: programs that make
  // tokens look for it there.
  if (invocation.daemon.config.tokens.create_by_init_token) {
    ASSIGN_OR_RETURN(const CK_SLOT_ID free, invocation.daemon.records.FreeSlot());
    slots.push_back(free);
  }
  const CK_RV rv = call.slots.Put(slots);
  if (rv != CKR_OK) return Fail(rv, "the list is too short");
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_GetSlotInfo>& call) {
  RETURN_IF_ERROR(CheckSlot(invocation, call.slot.value));
  CK_SLOT_INFO& info = *call.info.value;
  info = {};
  spec::PadText(info.slotDescription, "cmkd slot " + std::to_string(call.slot.value));
  spec::PadText(info.manufacturerID, spec::kManufacturer);
  info.flags = CKF_TOKEN_PRESENT;
  info.hardwareVersion = info.firmwareVersion = spec::kLibraryVersion;
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_GetTokenInfo>& call) {
  if (IsFreeSlot(invocation, call.slot.value)) {
    FillTokenInfo(invocation, nullptr, *call.info.value);
    return {};
  }
  ASSIGN_OR_RETURN(const auto token, invocation.daemon.records.GetTokenBySlot(call.slot.value));
  invocation.audit.token_id = token->id.bytes;
  FillTokenInfo(invocation, token.get(), *call.info.value);
  return {};
}

namespace {

// The token of a slot with its device; a free slot has no token yet and the default device.
struct SlotView {
  Records::TokenPtr token;
  const Backend* backend = nullptr;
  bool offers(const spec::MechanismRow& row) const { return IsOffered(token.get(), *backend, row); }
};

Fallible<SlotView> ViewSlot(const Invocation& invocation, CK_SLOT_ID slot) {
  SlotView view;
  const Backends& backends = invocation.daemon.backends;
  if (IsFreeSlot(invocation, slot)) {
    ASSIGN_OR_RETURN(view.backend, backends.Get(invocation.daemon.config.tokens.default_hsm));
    return view;
  }
  ASSIGN_OR_RETURN(view.token, invocation.daemon.records.GetTokenBySlot(slot));
  ASSIGN_OR_RETURN(view.backend, backends.Of(*view.token));
  return view;
}

}  // namespace

Status Handle(Invocation& invocation, spec::Call<CallId::C_GetMechanismList>& call) {
  ASSIGN_OR_RETURN(const SlotView slot, ViewSlot(invocation, call.slot.value));
  std::vector<CK_MECHANISM_TYPE> types;
  for (const spec::MechanismRow& row : spec::Mechanisms()) {
    if (slot.offers(row)) types.push_back(row.type);
  }
  const CK_RV rv = call.mechanisms.Put(types);
  if (rv != CKR_OK) return Fail(rv, "the list is too short");
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_GetMechanismInfo>& call) {
  ASSIGN_OR_RETURN(const SlotView slot, ViewSlot(invocation, call.slot.value));
  const spec::MechanismRow* row = spec::FindMechanism(call.type.value);
  if (row == nullptr || !slot.offers(*row))
    return Fail(CKR_MECHANISM_INVALID, "the token does not have this mechanism");
  const bool alone = spec::IsMadeHere(*row) && row->recipe != spec::Recipe::kHotp;
  const CK_MECHANISM_INFO* device =
      alone ? nullptr : slot.backend->FindMechanism(*MechanismOnDevice(*slot.backend, *row));
  const std::uint32_t unit = row->shown_in == spec::SizeUnit::kBytes ? 8 : 1;
  CK_MECHANISM_INFO& info = *call.info.value;
  info.ulMinKeySize = row->shown_in == spec::SizeUnit::kNone ? 0 : row->key_bits_min / unit;
  info.ulMaxKeySize = row->shown_in == spec::SizeUnit::kNone ? 0 : row->key_bits_max / unit;
  // The row narrowed by what the device says of sizes, where it says something in the same unit.
  if (device != nullptr && device->ulMaxKeySize != 0 && info.ulMaxKeySize != 0) {
    info.ulMinKeySize = std::max(info.ulMinKeySize, std::min(device->ulMinKeySize, info.ulMaxKeySize));
    info.ulMaxKeySize = std::max(info.ulMinKeySize, std::min(info.ulMaxKeySize, device->ulMaxKeySize));
  }
  info.flags = ServedOperations(*slot.backend, *row);
  if (!slot.backend->software()) info.flags |= CKF_HW;
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_InitToken>& call) {
  Daemon& daemon = invocation.daemon;
  if (!IsAcceptablePin(call.so_pin.view(), daemon.config.tokens.pin_bytes_min))
    return Fail(CKR_PIN_LEN_RANGE, "the SO PIN's length");
  std::string label(AsText(call.label.view()));
  label.erase(label.find_last_not_of(' ') + 1);
  if (!IsFreeSlot(invocation, call.slot.value)) {
    ASSIGN_OR_RETURN(const auto token, daemon.records.GetTokenBySlot(call.slot.value));
    invocation.audit.token_id = token->id.bytes;
    // An operator's reservation is the operator's to complete: anybody else could choose its PINs.
    if (!IsInitialised(*token) && !IsOperator(invocation))
      return Fail(CKR_TOKEN_WRITE_PROTECTED, "the token was reserved by an operator, who initialises it",
                  spec::kDenied);
    for (const ApplicationPtr& application : daemon.registry.All()) {
      if (application->CountSessions(token->id).all != 0)
        return Fail(CKR_SESSION_EXISTS, "the token has open sessions");
    }
    if (IsInitialised(*token)) RETURN_IF_ERROR(CheckTokenPin(daemon, *token, Pin::kSo, call.so_pin.view()));
  }
  Bytes verifier = MakePinVerifier(call.so_pin.view());
  if (verifier.empty()) return Fail(CKR_DEVICE_MEMORY, "no memory for a PIN verifier");
  invocation.changed = true;
  invocation.audit_text = label;
  RETURN_IF_ERROR(daemon.custodian.InitToken(call.slot.value, label, std::move(verifier)));
  if (const auto made = daemon.records.GetTokenBySlot(call.slot.value); made.ok())
    invocation.audit.token_id = (*made)->id.bytes;
  return {};
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_InitPIN>& call) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  if (LoggedIn(invocation, *token) != CKU_SO) return Fail(CKR_USER_NOT_LOGGED_IN, "C_InitPIN needs the SO");
  return ChangePin(invocation, *token, Pin::kUser, call.pin.view());
}

Status Handle(Invocation& invocation, spec::Call<CallId::C_SetPIN>& call) {
  ASSIGN_OR_RETURN(const auto token, TokenOf(invocation));
  const Pin pin = LoggedIn(invocation, *token) == CKU_SO ? Pin::kSo : Pin::kUser;
  if (pin == Pin::kUser && token->user_pin.verifier.empty())
    return Fail(CKR_USER_PIN_NOT_INITIALIZED, "there is no user PIN yet");
  RETURN_IF_ERROR(CheckTokenPin(invocation.daemon, *token, pin, call.old_pin.view()));
  return ChangePin(invocation, *token, pin, call.new_pin.view());
}

}  // namespace cmkd::daemon

// C_InitToken, C_OpenSession, C_Login, C_InitPIN and back, through the daemon.
#include "tools/cmkctl/token_setup.h"

#include <array>

#include "pkcs11/spec/product.h"

namespace cmkd::tools {

namespace {

using spec::CallId;

template <class Shape>
void SetPinBytes(Shape& shape, SecretBytes& pin) {
  shape.data = pin.bytes().data();
  shape.length = pin.size();
}

template <CallId id>
Outcome<void> OnSession(Administrator& daemon, CK_SESSION_HANDLE session) {
  spec::Call<id> call;
  call.session.value = session;
  return daemon.Do(call);
}

Outcome<void> SetUserPin(Administrator& daemon, CK_SESSION_HANDLE session, SecretBytes& so_pin, SecretBytes& pin) {
  spec::Call<CallId::C_Login> login;
  login.session.value = session;
  login.user_type.value = CKU_SO;
  SetPinBytes(login.pin, so_pin);
  RETURN_IF_ERROR(daemon.Do(login));
  spec::Call<CallId::C_InitPIN> init;
  init.session.value = session;
  SetPinBytes(init.pin, pin);
  RETURN_IF_ERROR(daemon.Do(init));
  return OnSession<CallId::C_Logout>(daemon, session);
}

}  // namespace

Outcome<void> InitialiseToken(Administrator& daemon, CK_SLOT_ID slot, std::string_view label, SecretBytes& so_pin,
                              SecretBytes& pin) {
  std::array<unsigned char, kTokenLabelBytesMax> padded{};
  std::memset(padded.data(), ' ', padded.size());
  std::memcpy(padded.data(), label.data(), std::min(label.size(), padded.size()));
  spec::Call<CallId::C_InitToken> init;
  init.slot.value = slot;
  SetPinBytes(init.so_pin, so_pin);
  init.label.text = padded.data();
  RETURN_IF_ERROR(daemon.Do(init));

  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  spec::Call<CallId::C_OpenSession> open;
  open.slot.value = slot;
  open.flags.value = CKF_SERIAL_SESSION | CKF_RW_SESSION;
  open.session.value = &session;
  RETURN_IF_ERROR(daemon.Do(open));
  RETURN_IF_ERROR(SetUserPin(daemon, session, so_pin, pin));
  return OnSession<CallId::C_CloseSession>(daemon, session);
}

Outcome<std::vector<CK_SLOT_ID>> SlotsWithToken(Administrator& daemon) {
  std::vector<CK_SLOT_ID> slots(kSlotsMax);
  CK_ULONG count = slots.size();
  spec::Call<CallId::C_GetSlotList> list;
  list.token_present.value = CK_TRUE;
  list.slots.list = slots.data();
  list.slots.count = &count;
  RETURN_IF_ERROR(daemon.Do(list));
  slots.resize(count);
  return slots;
}

Outcome<CK_SLOT_ID> FirstSlot(Administrator& daemon) {
  ASSIGN_OR_RETURN(const std::vector<CK_SLOT_ID> slots, SlotsWithToken(daemon));
  if (slots.empty()) return Refused("CKR_TOKEN_NOT_PRESENT", "There is no slot with a token.");
  return slots.front();
}

}  // namespace cmkd::tools

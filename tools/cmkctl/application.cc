// Sessions, searches, and refusals in words.
#include "tools/cmkctl/application.h"

#include <array>

#include "keystore/cmk/state.h"
#include "pkcs11/spec/vendor.h"
#include "tools/cmkctl/token_setup.h"

namespace cmkd::tools {

namespace {

using spec::CallId;

std::string LabelOf(const CK_TOKEN_INFO& info) {
  std::string label(reinterpret_cast<const char*>(info.label), sizeof info.label);
  label.erase(label.find_last_not_of(' ') + 1);
  return label;
}

// The token of that label; without one, the only one.
Outcome<CK_SLOT_ID> FindSlot(Administrator& daemon, const std::string& token) {
  ASSIGN_OR_RETURN(const std::vector<CK_SLOT_ID> slots, SlotsWithToken(daemon));
  std::vector<CK_SLOT_ID> found;
  for (const CK_SLOT_ID slot : slots) {
    CK_TOKEN_INFO info{};
    spec::Call<CallId::C_GetTokenInfo> ask;
    ask.slot.value = slot;
    ask.info.value = &info;
    RETURN_IF_ERROR(daemon.Do(ask));
    const bool initialised = (info.flags & CKF_TOKEN_INITIALIZED) != 0;
    if (initialised && (token.empty() || LabelOf(info) == token)) found.push_back(slot);
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) return Refused("NOT_FOUND", "There is no token " + token + ".", {}, "cmkctl token list");
  return UsageProblem(token.empty() ? "There are several tokens." : "Several tokens are called " + token + ".",
                      "Say which: TOKEN/NAME, or --token.");
}

}  // namespace

KeyPath SplitKey(const std::string& key) {
  const std::size_t slash = key.find('/');
  if (slash == std::string::npos) return {{}, key};
  return {key.substr(0, slash), key.substr(slash + 1)};
}

Outcome<void> Application::Open(const std::string& token) {
  ASSIGN_OR_RETURN(const CK_SLOT_ID slot, FindSlot(daemon_, token));
  spec::Call<CallId::C_OpenSession> open;
  open.slot.value = slot;
  open.flags.value = CKF_SERIAL_SESSION | CKF_RW_SESSION;
  open.session.value = &session_;
  return daemon_.Do(open);
}

Outcome<void> Application::Login(SecretBytes& pin) {
  spec::Call<CallId::C_Login> login;
  login.user_type.value = CKU_USER;
  login.pin.data = pin.bytes().data();
  login.pin.length = pin.size();
  return Do(login);
}

Outcome<std::vector<CK_OBJECT_HANDLE>> Application::Find(CK_ATTRIBUTE_TYPE type, const std::string& text) {
  CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &secret, sizeof secret}, {type, const_cast<char*>(text.data()), text.size()}};
  spec::Call<CallId::C_FindObjectsInit> init;
  init.attributes = {wanted, std::size(wanted)};
  RETURN_IF_ERROR(Do(init));
  std::array<CK_OBJECT_HANDLE, 2> handles{};
  CK_ULONG count = 0;
  spec::Call<CallId::C_FindObjects> find;
  find.objects = {handles.data(), handles.size(), &count};
  RETURN_IF_ERROR(Do(find));
  spec::Call<CallId::C_FindObjectsFinal> final;
  RETURN_IF_ERROR(Do(final));
  return std::vector<CK_OBJECT_HANDLE>(handles.begin(), handles.begin() + static_cast<std::ptrdiff_t>(count));
}

Outcome<CK_OBJECT_HANDLE> Application::FindKey(const std::string& name) {
  for (const CK_ATTRIBUTE_TYPE type : {CKA_LABEL, CKA_UNIQUE_ID}) {
    ASSIGN_OR_RETURN(const std::vector<CK_OBJECT_HANDLE> found, Find(type, name));
    if (found.size() > 1) return UsageProblem("Several keys are called " + name + ".", "Name it by its id.");
    if (found.size() == 1) return found.front();
  }
  return Refused("NOT_FOUND", "The token has no secret key " + name + " that this user may use.");
}

Outcome<void> Application::Explained(const Problem& problem) {
  CK_SESSION_INFO info{};
  spec::Call<CallId::C_GetSessionInfo> ask;
  ask.session.value = session_;
  ask.info.value = &info;
  if (problem.status != ExitStatus::kRefused || session_ == CK_INVALID_HANDLE || !daemon_.Do(ask))
    return Failure{problem};
  for (const cmk::RefusalRow& row : cmk::Refusals()) {
    if (static_cast<CK_ULONG>(row.refusal) == info.ulDeviceError && info.ulDeviceError != 0)
      return Refused(std::string(row.name), std::string(row.state), std::string(row.rule), std::string(row.remedy));
  }
  const spec::DetailRow* row = spec::FindDetail(info.ulDeviceError);
  if (row == nullptr || info.ulDeviceError == 0) return Failure{problem};
  return Refused(std::string(row->name), std::string(row->sentence), {}, problem.code);
}

}  // namespace cmkd::tools
